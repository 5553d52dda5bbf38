"""The Cluster controller: owners of what a Cluster refers to, its endpoint, phase and conditions."""

from __future__ import annotations

from tallship.lab.controllers.conditions import Conditions, find, find_new, is_true
from tallship.lab.controllers.core import cluster_conditions
from tallship.lab.controllers.core.cluster_deletion import delete_cluster
from tallship.lab.controllers.core.references import CLUSTER_FINALIZER, referenced
from tallship.lab.controllers.core.remote import Remotes
from tallship.lab.controllers.informer import CachedApi
from tallship.lab.controllers.ownership import (
    CLUSTER_LABEL,
    add_finalizer,
    add_owner,
    is_deleting,
    is_paused,
    set_label,
)
from tallship.lab.controllers.patch import copy_json
from tallship.lab.controllers.reconciler import Again, Outcome
from tallship.lab.kubeclient import Object

SOURCE = "cluster-controller"

_WAITING_FOR_INFRASTRUCTURE = {"status": "False", "reason": "WaitingForInfrastructure", "severity": "Info"}
_WAITING_FOR_CONTROL_PLANE = {"status": "False", "reason": "WaitingForControlPlane", "severity": "Info"}

EXTERNAL_READY_WAIT = 30.0
"""Cluster API v1.10: until a Cluster whose reference leads nowhere is looked at again."""


class Clusters:
    """Reconciles Clusters."""

    def __init__(self, api: CachedApi, remotes: Remotes) -> None:
        self._api = api
        self._remotes = remotes

    async def reconcile(self, namespace: str, name: str) -> Outcome:
        """Bring one Cluster a step further."""
        before = self._api.get("Cluster", name, namespace)
        if before is None:
            self._remotes.end((namespace, name))
            return None
        after = copy_json(before)
        if not is_deleting(after) and add_finalizer(after, CLUSTER_FINALIZER):
            await self._api.save(before, after)
            return None
        if await pause(self._api, before, after):
            return None
        if is_deleting(after):
            return await delete_cluster(self._api, self._remotes, before, after)
        outcome = await self._converge(after)
        cluster_conditions.update(self._api, self._remotes.of((namespace, name)), after)
        await self._finish(before, after)
        return outcome

    async def _converge(self, cluster: Object) -> Outcome:
        conditions = Conditions(cluster, self._api.now())
        if find(cluster, "ControlPlaneInitialized") is None:
            message = "Waiting for control plane provider to indicate the control plane has been initialized"
            conditions.false("ControlPlaneInitialized", "WaitingForControlPlaneProviderInitialized", "Info", message)
        infrastructure = await self._adopt(cluster, "infrastructureRef")
        if infrastructure is not None:
            conditions.copy("InfrastructureReady", find(infrastructure, "Ready"), _WAITING_FOR_INFRASTRUCTURE)
            self._take_infrastructure(cluster, infrastructure)
        control_plane = await self._adopt(cluster, "controlPlaneRef")
        if control_plane is not None:
            conditions.copy("ControlPlaneReady", find(control_plane, "Ready"), _WAITING_FOR_CONTROL_PLANE)
            self._take_control_plane(cluster, control_plane, conditions)
        conditions.summarize(("ControlPlaneReady", "InfrastructureReady"))
        if cluster.get("status", {}).get("infrastructureReady"):
            self._remotes.begin((cluster["metadata"]["namespace"], cluster["metadata"]["name"]))
        missing = [ref for ref in ("infrastructureRef", "controlPlaneRef") if self._is_missing(cluster, ref)]
        return Again(EXTERNAL_READY_WAIT) if missing else None

    def _is_missing(self, cluster: Object, field: str) -> bool:
        return field in cluster["spec"] and referenced(self._api, cluster, cluster["spec"][field]) is None

    async def _adopt(self, cluster: Object, field: str) -> Object | None:
        """Make the object that the Cluster refers to its own, and return it."""
        found = referenced(self._api, cluster, cluster["spec"].get(field))
        if found is None:
            return None
        owned = copy_json(found)
        add_owner(owned, cluster, controller=True)
        set_label(owned, CLUSTER_LABEL, cluster["metadata"]["name"])
        return await self._api.save(found, owned)

    @staticmethod
    def _take_infrastructure(cluster: Object, infrastructure: Object) -> None:
        known = infrastructure.get("status", {})
        if not known.get("ready"):
            return
        status = cluster.setdefault("status", {})
        status["infrastructureReady"] = True
        if not has_endpoint(cluster) and infrastructure["spec"].get("controlPlaneEndpoint"):
            cluster["spec"]["controlPlaneEndpoint"] = infrastructure["spec"]["controlPlaneEndpoint"]
        if known.get("failureDomains"):
            status["failureDomains"] = known["failureDomains"]

    @staticmethod
    def _take_control_plane(cluster: Object, control_plane: Object, conditions: Conditions) -> None:
        known = control_plane.get("status", {})
        if known.get("ready"):
            cluster.setdefault("status", {})["controlPlaneReady"] = True
        if known.get("initialized"):
            conditions.true("ControlPlaneInitialized")

    async def _finish(self, before: Object, after: Object) -> None:
        status = after.setdefault("status", {})
        status["phase"] = _phase(after)
        status["observedGeneration"] = after["metadata"].get("generation", 1)
        await self._api.save(before, after)
        await self._tell(before, after)

    async def _tell(self, before: Object, after: Object) -> None:
        name, was, now = after["metadata"]["name"], before.get("status", {}), after["status"]
        if was.get("phase") != now["phase"]:
            await self._api.event(after, now["phase"], f"Cluster {name} is {now['phase']}", SOURCE)
        for field, reason in (
            ("infrastructureReady", "InfrastructureReady"),
            ("controlPlaneReady", "ControlPlaneReady"),
        ):
            if now.get(field) and not was.get(field):
                await self._api.event(after, reason, f"Cluster {name} {reason} is now True", SOURCE)


async def pause(api: CachedApi, before: Object, after: Object, cluster: Object | None = None) -> bool:
    """Keep the Paused condition true to the facts; returns True when this pass must end here."""
    owner = cluster or after
    paused = is_paused(owner, after)
    known = find_new(before, "Paused")
    if paused:
        message = "Cluster spec.paused is set to true" if owner["spec"].get("paused") else ""
        message = message or f"{after['kind']} has the cluster.x-k8s.io/paused annotation"
        wanted = ("True", "Paused", message)
    else:
        wanted = ("False", "NotPaused", "")
    if known is None or (known["status"], known["reason"], known["message"]) != wanted:
        Conditions(after, api.now()).new("Paused", *wanted)
        await api.save(before, after)
        return True
    return paused


def has_endpoint(cluster: Object) -> bool:
    """True when the Cluster's control plane endpoint is complete."""
    endpoint = cluster["spec"].get("controlPlaneEndpoint") or {}
    return bool(endpoint.get("host")) and bool(endpoint.get("port"))


def is_initialized(cluster: Object) -> bool:
    """True when the control plane answered once."""
    return is_true(cluster, "ControlPlaneInitialized")


def _phase(cluster: Object) -> str:
    status = cluster["status"]
    if status.get("infrastructureReady") and has_endpoint(cluster):
        return "Provisioned"
    return "Provisioning" if cluster["spec"].get("infrastructureRef") else "Pending"
