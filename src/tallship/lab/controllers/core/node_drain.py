"""Draining a Node before its Machine goes: no new Pods, and those that are there are evicted.

Cluster API v1.10. What is left out: MachineDrainRules, Pods that are waited for until they have completed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from tallship.lab.clock import wall
from tallship.lab.controllers.conditions import Conditions, find, some
from tallship.lab.controllers.core import nodes
from tallship.lab.controllers.core.remote import Remotes
from tallship.lab.controllers.durations import seconds
from tallship.lab.controllers.informer import CachedApi
from tallship.lab.controllers.ownership import controller_of, is_deleting
from tallship.lab.controllers.patch import copy_json
from tallship.lab.controllers.reconciler import UNREACHABLE
from tallship.lab.kubeclient import KubeClient, KubeRefused, Object

DRAIN_RETRY = 20.0
"""Cluster API v1.10: from one look at the Pods of a Node that is drained to the next."""

EXCLUDE = "machine.cluster.x-k8s.io/exclude-node-draining"
SOURCE = "machine-controller"

_SKIP_LABEL = "cluster.x-k8s.io/drain"
_MIRROR = "kubernetes.io/config.mirror"
Stage = tuple[str, str]
"""Reason and message of what a deletion waits for."""


class DrainFailed(Exception):
    """The Node could not be drained now; the text is in the condition."""


@dataclass
class Left:
    """What still runs on a Node."""

    ending: list[Object] = field(default_factory=list)
    refused: dict[str, list[Object]] = field(default_factory=dict)

    @property
    def none(self) -> bool:
        """True when the drain is complete."""
        return not self.ending and not self.refused

    def message(self, since: str) -> str:
        """Return what is told of a drain that began at a time."""
        lines = [f"Drain not completed yet (started at {since}):"]
        if self.ending:
            lines.append(f"* {_pods(self.ending)}: deletionTimestamp set, but still not removed from the Node")
        for text, pods in sorted(self.refused.items()):
            shown = text.replace("Cannot evict pod as", "cannot evict pod as")
            shown = shown if shown.startswith("cannot evict pod as") else f"failed to evict Pod, {shown}"
            lines.append(f"* {_pods(pods)}: {shown}")
        return "\n".join(lines)


class Drains:
    """Steps of the drains of Machines' Nodes."""

    def __init__(self, api: CachedApi, remotes: Remotes) -> None:
        self._api = api
        self._remotes = remotes

    async def step(self, before: Object, after: Object) -> tuple[Object, Object, Stage | None]:
        """Bring a drain a step further; returns the Machine as stored and as it is to be, and what is waited for."""
        if find(after, "VolumeDetachSucceeded") is not None:
            return before, after, None
        stage = None
        if self._allowed(after):
            before, after, stage = await self._drain(before, after)
        if stage is not None:
            return before, after, stage
        text = f'success waiting for node volumes detaching Machine\'s node "{after["status"]["nodeRef"]["name"]}"'
        await self._api.event(after, "NodeVolumesDetached", text, SOURCE)
        Conditions(after, self._api.now()).true("VolumeDetachSucceeded")
        after["status"].setdefault("deletion", {})["waitForNodeVolumeDetachStartTime"] = self._api.now()
        return before, after, None

    def _allowed(self, machine: Object) -> bool:
        """False where an annotation forbids it, or when it has taken longer than the Machine gives it."""
        if EXCLUDE in machine["metadata"].get("annotations", {}):
            return False
        began = machine["status"].get("deletion", {}).get("nodeDrainStartTime")
        limit = seconds(machine["spec"].get("nodeDrainTimeout", "0s"))
        if not began or not limit:
            return True
        return wall(self._api.clock) < datetime.fromisoformat(began) + timedelta(seconds=limit)

    async def _drain(self, before: Object, after: Object) -> tuple[Object, Object, Stage | None]:
        after["status"].setdefault("deletion", {}).setdefault("nodeDrainStartTime", self._api.now())
        since, conditions = after["status"]["deletion"]["nodeDrainStartTime"], Conditions(after, self._api.now())
        if find(after, "DrainingSucceeded") is None:
            conditions.false("DrainingSucceeded", "Draining", "Info", "Draining the node before deletion")
        conditions.summarize(("InfrastructureReady", "BootstrapReady", "DrainingSucceeded"))
        before = await self._api.save(before, after)
        after = copy_json(before)
        conditions, node = Conditions(after, self._api.now()), after["status"]["nodeRef"]["name"]
        try:
            left = await self._empty(after, node)
        except DrainFailed as failure:
            conditions.false("DrainingSucceeded", "DrainingFailed", "Warning", str(failure))
            text = f'error draining Machine\'s node "{node}": {failure}'
            await self._api.event(after, "FailedDrainNode", text, SOURCE, "Warning")
            return before, after, ("DrainingNode", "Error draining Node, please check controller logs for errors")
        if not left.none:
            conditions.false("DrainingSucceeded", "Draining", "Info", left.message(since))
            return before, after, ("DrainingNode", left.message(since))
        conditions.true("DrainingSucceeded")
        await self._api.event(after, "SuccessfulDrainNode", f'success draining Machine\'s node "{node}"', SOURCE)
        return before, after, None

    async def _empty(self, machine: Object, name: str) -> Left:
        """Keep new Pods from a Node and evict those that are there. Raises DrainFailed."""
        remote = self._remotes.of((machine["metadata"]["namespace"], machine["spec"]["clusterName"]))
        if remote.client is None:
            raise DrainFailed(f"failed to drain Node {name}: connection to the workload cluster is down")
        try:
            node = await remote.client.get("Node", name)
            if node is None:
                return Left()
            if not node["spec"].get("unschedulable"):
                await remote.client.patch(node, {"spec": {"unschedulable": True}})
            pods = [each for each in await remote.client.list("Pod") if each["spec"].get("nodeName") == name]
            return await _evict(remote.client, _to_drain(pods, nodes.ready_status(node)[0] == "Unknown"))
        except (KubeRefused, *UNREACHABLE) as error:
            raise DrainFailed(f"failed to drain Node {name}: {error}") from error


async def _evict(client: KubeClient, pods: list[Object]) -> Left:
    left = Left([each for each in pods if is_deleting(each)])
    for pod in pods:
        if is_deleting(pod):
            continue
        try:
            await client.evict(pod)
            left.ending.append(pod)
        except KubeRefused as refused:
            if refused.code != 429:
                raise
            left.refused.setdefault(str(refused), []).append(pod)
    return left


def _to_drain(pods: list[Object], is_unreachable: bool) -> list[Object]:
    """Return the Pods that have to go; on a Node that nobody reaches, those that are going already are gone."""
    return [each for each in pods if not _stays(each) and not (is_unreachable and is_deleting(each))]


def _stays(pod: Object) -> bool:
    meta, controller = pod["metadata"], controller_of(pod)
    is_finished = pod.get("status", {}).get("phase") in ("Succeeded", "Failed")
    is_daemon = controller is not None and controller["kind"] == "DaemonSet" and not is_finished
    is_static = _MIRROR in meta.get("annotations", {})
    return is_daemon or is_static or meta.get("labels", {}).get(_SKIP_LABEL, "").lower() == "skip"


def _pods(pods: list[Object]) -> str:
    names = [f"{each['metadata']['namespace']}/{each['metadata']['name']}" for each in pods]
    return f"{'Pod' if len(names) == 1 else 'Pods'} {some(names)}"
