"""Taking a Machine down: its Node drained, its infrastructure, its bootstrap configuration, its Node."""

from __future__ import annotations

from tallship.lab.controllers.conditions import Conditions, find
from tallship.lab.controllers.core import machine_conditions
from tallship.lab.controllers.core.node_drain import DRAIN_RETRY, Drains, Stage
from tallship.lab.controllers.core.references import MACHINE_FINALIZER, control_plane_machines, referenced
from tallship.lab.controllers.core.remote import Remotes
from tallship.lab.controllers.informer import CachedApi
from tallship.lab.controllers.ownership import drop_finalizer, is_deleting
from tallship.lab.controllers.reconciler import UNREACHABLE, Again, Key, Outcome
from tallship.lab.kubeclient import KubeRefused, Object

FASTEST = 1.0
"""Cluster API v1.10: a Machine that is being deleted is looked at no more than once a second."""

_DELETED = {"status": "False", "reason": "Deleted", "severity": "Info"}
_BEFORE_DRAIN, _BEFORE_END = "PreDrainDeleteHookSucceeded", "PreTerminateDeleteHookSucceeded"


class Deletion:
    """Steps of Machines' deletions."""

    def __init__(self, api: CachedApi, remotes: Remotes) -> None:
        self._api = api
        self._remotes = remotes
        self._drains = Drains(api, remotes)
        self._last: dict[Key, float] = {}

    async def step(
        self, cluster: Object, before: Object, after: Object, bootstrap: Object | None, infrastructure: Object | None
    ) -> Outcome:
        """Bring the deletion of a Machine a step further."""
        key = (after["metadata"]["namespace"], after["metadata"]["name"])
        wait = self._last.get(key, -FASTEST) + FASTEST - self._api.clock.now()
        if wait > 0:
            return Again(wait)
        self._last[key] = self._api.clock.now()
        if self._drained(cluster, after):
            Conditions(after, self._api.now()).true(_BEFORE_DRAIN)
            before, after, held = await self._drains.step(before, after)
            if held is not None:
                return await self._hold(cluster, before, after, held)
        stage = await self._next_stage(bootstrap, infrastructure)
        conditions = Conditions(after, self._api.now())
        conditions.true(_BEFORE_END)
        if infrastructure is None:
            conditions.copy("InfrastructureReady", _DELETED)
        if bootstrap is None and infrastructure is None:
            conditions.copy("BootstrapReady", _DELETED)
        self._report(cluster, after, stage)
        if stage[0] == "DeletionCompleted":
            await self._delete_node(cluster, after)
            drop_finalizer(after, MACHINE_FINALIZER)
            self._last.pop(key, None)
        await self._api.save(before, after)
        return None

    async def _hold(self, cluster: Object, before: Object, after: Object, stage: Stage) -> Outcome:
        """Wait for what still runs on the Node."""
        key = (after["metadata"]["namespace"], after["metadata"]["name"])
        self._report(cluster, after, stage)
        await self._api.save(before, after)
        if (find(after, "DrainingSucceeded") or {}).get("reason") == "DrainingFailed":
            return Again()
        self._last[key] = self._api.clock.now() + DRAIN_RETRY - FASTEST
        return Again(DRAIN_RETRY)

    def _report(self, cluster: Object, machine: Object, stage: Stage) -> None:
        conditions, status = Conditions(machine, self._api.now()), machine["status"]
        if is_deleting(cluster) and find(machine, "NodeHealthy") is not None:
            conditions.false("NodeHealthy", "Deleting", "Info")
        machine_conditions.update(self._api, self._remotes, cluster, machine, stage)
        if status.get("phase") != "Deleting":
            status |= {"phase": "Deleting", "lastUpdated": self._api.now()}
        status["observedGeneration"] = machine["metadata"].get("generation", 1)

    async def _next_stage(self, bootstrap: Object | None, infrastructure: Object | None) -> Stage:
        """Ask for the next deletion and return (reason, message) of what is waited for."""
        for item, reason in ((infrastructure, "Infrastructure"), (bootstrap, "Bootstrap")):
            if item is None:
                continue
            if not is_deleting(item):
                await self._api.delete(item)
            return f"WaitingFor{reason}Deletion", f"Waiting for {item['kind']} to be deleted"
        return "DeletionCompleted", "Deletion completed"

    def _drained(self, cluster: Object, machine: Object) -> bool:
        """True when the Node is to be drained and deleted: never with the last control plane, or the whole cluster."""
        plane = referenced(self._api, cluster, cluster["spec"].get("controlPlaneRef"))
        if is_deleting(cluster) or "nodeRef" not in machine["status"] or (plane is not None and is_deleting(plane)):
            return False
        meta = machine["metadata"]
        machines = control_plane_machines(self._api, meta["namespace"], cluster["metadata"]["name"])
        return any(not is_deleting(each) for each in machines)

    async def _delete_node(self, cluster: Object, machine: Object) -> None:
        remote = self._remotes.of((machine["metadata"]["namespace"], cluster["metadata"]["name"]))
        if remote.client is None or not self._drained(cluster, machine):
            return
        try:
            await remote.client.delete("Node", machine["status"]["nodeRef"]["name"])
        except (KubeRefused, *UNREACHABLE):
            return
