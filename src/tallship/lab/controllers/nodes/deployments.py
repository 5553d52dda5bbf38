"""Deployments and DaemonSets: Pods for their templates, and their status from the Pods.

ReplicaSets are left out: a Deployment owns its Pods.
"""

from __future__ import annotations

import random

from tallship.lab.controllers.nodes import scheduling
from tallship.lab.controllers.nodes.mirror import Mirror, with_condition
from tallship.lab.controllers.patch import copy_json
from tallship.lab.kubeclient import Object

_HASH_LABEL = {"Deployment": "pod-template-hash", "DaemonSet": "controller-revision-hash"}
_NAME_LETTERS = "bcdfghjklmnpqrstvwxz2456789"  # Kubernetes: apimachinery's names, no vowels


class Deployments:
    """Runs once for each Kubernetes API of the lab."""

    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror
        self._client = mirror.client

    async def run(self) -> None:
        """Keep at it until cancelled."""
        await self._mirror.keep(self._look)

    async def _look(self) -> float | None:
        for workload in (*self._mirror.list("DaemonSet"), *self._mirror.list("Deployment")):
            if not workload["metadata"].get("deletionTimestamp"):
                await self._converge(workload)
        return None

    async def _converge(self, workload: Object) -> None:
        pods = [pod for pod in self._mirror.list("Pod") if _owned(pod, workload)]
        current = scheduling.template_hash(workload)
        label = _HASH_LABEL[workload["kind"]]
        fresh = [pod for pod in pods if pod["metadata"]["labels"].get(label) == current]
        stale = [pod for pod in pods if pod not in fresh]
        if workload["kind"] == "DaemonSet":
            stale = await self._replace_daemons(fresh, stale)
            nodes = self._nodes_wanted(workload)
            fresh = await self._place_daemons(workload, fresh, stale, nodes)
            await self._report(workload, _daemon_set_status(workload, fresh, stale, len(nodes)))
        else:
            fresh = await self._scale(workload, fresh)
            stale = await self._replace_replicas(workload, fresh, stale)
            await self._report(workload, self._deployment_status(workload, fresh, stale))

    def _nodes_wanted(self, workload: Object) -> list[str]:
        spec = {**workload["spec"]["template"]["spec"], "tolerations": scheduling.tolerations(workload)}
        return [node["metadata"]["name"] for node in self._mirror.list("Node") if not scheduling.obstacle(spec, node)]

    async def _replace_daemons(self, fresh: list[Object], stale: list[Object]) -> list[Object]:
        """Delete old Pods: broken ones at once, the others one at a time, each when the new ones are ready."""
        for pod in stale:
            if not scheduling.is_ready(pod) or all(scheduling.is_ready(each) for each in fresh):
                await self._delete(pod)
                return [each for each in stale if each is not pod]
        return stale

    async def _place_daemons(
        self, workload: Object, fresh: list[Object], stale: list[Object], nodes: list[str]
    ) -> list[Object]:
        covered = {pod["spec"].get("nodeName") for pod in (*fresh, *stale)}
        made = [await self._create(workload, node) for node in nodes if node not in covered]
        for pod in fresh:
            if pod["spec"].get("nodeName") not in nodes and not scheduling.is_ready(pod):
                await self._delete(pod)
        return [*fresh, *made]

    async def _scale(self, workload: Object, fresh: list[Object]) -> list[Object]:
        replicas = workload["spec"].get("replicas", 1)
        for pod in fresh[replicas:]:
            await self._delete(pod)
        made = [await self._create(workload, "") for _ in range(replicas - len(fresh))]
        return [*fresh[:replicas], *made]

    async def _replace_replicas(self, workload: Object, fresh: list[Object], stale: list[Object]) -> list[Object]:
        """Delete old Pods: broken ones at once, the others when every new one is ready."""
        done = all(scheduling.is_ready(pod) for pod in fresh)
        gone = [pod for pod in stale if done or not scheduling.is_ready(pod)]
        for pod in gone:
            await self._delete(pod)
        return [pod for pod in stale if pod not in gone]

    async def _create(self, workload: Object, node: str) -> Object:
        meta, template = workload["metadata"], workload["spec"]["template"]
        current = scheduling.template_hash(workload)
        middle = f"-{current}" if workload["kind"] == "Deployment" else ""
        suffix = "".join(random.choices(_NAME_LETTERS, k=5))  # noqa: S311 - a name, no secret
        labels = {**template["metadata"].get("labels", {}), _HASH_LABEL[workload["kind"]]: current}
        pod: Object = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": f"{meta['name']}{middle}-{suffix}",
                "namespace": meta["namespace"],
                "labels": labels,
                "annotations": template["metadata"].get("annotations", {}),
                "ownerReferences": [_owner(workload)],
            },
            "spec": {**template["spec"], "tolerations": scheduling.tolerations(workload)},
        }
        if node:
            pod["spec"]["nodeName"] = node
        return self._mirror.put(await self._client.create(pod))

    async def _delete(self, pod: Object) -> None:
        await self._client.delete("Pod", pod["metadata"]["name"], pod["metadata"]["namespace"])
        self._mirror.drop(pod)

    async def _report(self, workload: Object, status: Object) -> None:
        if workload.get("status") != status:
            changed = {**workload, "status": status}
            self._mirror.put(await self._client.update(changed, "status"))

    def _deployment_status(self, workload: Object, fresh: list[Object], stale: list[Object]) -> Object:
        replicas = workload["spec"].get("replicas", 1)
        ready = sum(scheduling.is_ready(pod) for pod in (*fresh, *stale))
        complete = len(fresh) == replicas and not stale and ready == replicas
        conditions = copy_json(workload.get("status", {}).get("conditions", []))
        available = ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
        if ready < max(replicas - _allowed_down(workload, replicas), 0):
            missing = "Deployment does not have minimum availability."
            available = ("False", "MinimumReplicasUnavailable", missing)
        conditions = with_condition(self._mirror.clock, conditions, "Available", *available)
        reason = "NewReplicaSetAvailable" if complete else "ReplicaSetUpdated"
        conditions = with_condition(self._mirror.clock, conditions, "Progressing", "True", reason)
        numbers = {
            "replicas": len(fresh) + len(stale),
            "updatedReplicas": len(fresh),
            "readyReplicas": ready,
            "availableReplicas": ready,
            "unavailableReplicas": max(replicas - ready, 0),
        }
        counted = {key: number for key, number in numbers.items() if number}
        return {"observedGeneration": _generation(workload), **counted, "conditions": conditions}


def _allowed_down(workload: Object, replicas: int) -> int:
    """Return how many replicas may be away while the Deployment counts as available (default 25 %, rounded down)."""
    rolling = (workload["spec"].get("strategy") or {}).get("rollingUpdate") or {}
    allowed = rolling.get("maxUnavailable", "25%")
    return replicas * int(allowed.rstrip("%")) // 100 if isinstance(allowed, str) else int(allowed)


def _daemon_set_status(workload: Object, fresh: list[Object], stale: list[Object], wanted: int) -> Object:
    ready = sum(scheduling.is_ready(pod) for pod in (*fresh, *stale))
    status = {
        "currentNumberScheduled": len(fresh) + len(stale),
        "desiredNumberScheduled": wanted,
        "numberAvailable": ready,
        "numberMisscheduled": 0,
        "numberReady": ready,
        "numberUnavailable": max(wanted - ready, 0),
        "observedGeneration": _generation(workload),
        "updatedNumberScheduled": len(fresh),
    }
    return {key: number for key, number in status.items() if number or key in _ALWAYS_TOLD}


_ALWAYS_TOLD = ("currentNumberScheduled", "desiredNumberScheduled", "numberMisscheduled", "numberReady")
"""DaemonSetStatus: the counts that are not `omitempty`."""


def _generation(workload: Object) -> int:
    return int(workload["metadata"].get("generation", 1))


def _owned(pod: Object, workload: Object) -> bool:
    uid = workload["metadata"]["uid"]
    if "deletionTimestamp" in pod["metadata"]:
        return False  # it ends, and counts no more
    return any(owner.get("uid") == uid for owner in pod["metadata"].get("ownerReferences", []))


def _owner(workload: Object) -> Object:
    return {
        "apiVersion": workload["apiVersion"],
        "kind": workload["kind"],
        "name": workload["metadata"]["name"],
        "uid": workload["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
