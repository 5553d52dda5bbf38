"""More Machines, fewer Machines, other Machines."""

from __future__ import annotations

from tallship.lab.controllers.cacppt.access import Access
from tallship.lab.controllers.cacppt.machines import ControlPlaneMachines
from tallship.lab.controllers.cacppt.talos import TalosFailed
from tallship.lab.controllers.conditions import Conditions, find, is_true
from tallship.lab.controllers.informer import CachedApi
from tallship.lab.controllers.ownership import is_deleting
from tallship.lab.controllers.reconciler import UNREACHABLE, Again, Outcome, ReconcileFailed
from tallship.lab.kubeclient import KubeClient, KubeRefused, Object

RETRY = 10.0
RETRY_DELETION = 20.0
_DELETE_MACHINE = "cluster.x-k8s.io/delete-machine"


class Scaling:
    """Brings one control plane towards its number of Machines, and their specification."""

    def __init__(
        self,
        api: CachedApi,
        access: Access,
        machines: ControlPlaneMachines,
        plane: Object,
        workload: KubeClient | None,
    ) -> None:
        self._api = api
        self._access = access
        self._machines = machines
        self._plane = plane
        self._workload = workload
        self._wanted = plane["spec"].get("replicas", 1)
        self._conditions = Conditions(plane, api.now())

    async def step(self) -> Outcome | bool:
        """Do the next thing that must be done to the number of Machines; True when nothing must."""
        outdated, actual = self._machines.outdated(), len(self._machines.all)
        if outdated:
            return await self._roll(outdated, actual)
        if find(self._plane, "MachinesSpecUpToDate") is not None:
            self._conditions.true("MachinesSpecUpToDate")
        if actual == 0:
            return await self._create()
        if actual < self._wanted:
            return await self._up(actual)
        if actual > self._wanted:
            return await self._down([], actual)
        return True

    async def _roll(self, outdated: list[Object], actual: int) -> Outcome:
        text = f"Rolling {len(outdated)} replicas with outdated spec ({actual - len(outdated)} replicas up to date)"
        self._conditions.false("MachinesSpecUpToDate", "RollingUpdateInProgress", "Warning", text)
        strategy = self._plane["spec"].get("rolloutStrategy", {}).get("rollingUpdate") or {}
        if actual < self._wanted + int(strategy.get("maxSurge", 1)):
            return await self._up(actual)
        return await self._down(outdated, actual)

    async def _create(self) -> Outcome:
        await self._machines.create(self._conditions)
        return Again()

    async def _up(self, actual: int) -> Outcome:
        text = f"Scaling up control plane to {self._wanted} replicas (actual {actual})"
        self._conditions.false("Resized", "ScalingUp", "Warning", text)
        return await self._create()

    async def _down(self, outdated: list[Object], actual: int) -> Outcome:
        text = f"Scaling down control plane to {self._wanted} replicas (actual {actual})"
        self._conditions.false("Resized", "ScalingDown", "Warning", text)
        if actual == 1:
            text = "Cannot scale down control plane nodes to 0"
            self._conditions.false("Resized", "ScalingDown", "Error", text)
            return None
        try:
            await self._access.client(self._machines.all).listen()
        except TalosFailed:
            return Again(RETRY)
        if not is_true(self._plane, "EtcdClusterHealthyCondition"):
            return Again(RETRY)
        if self._workload is None:
            raise ReconcileFailed("the workload cluster does not answer")
        for machine in self._machines.all:
            if is_deleting(machine):
                await self._delete_node(machine)
                return Again(RETRY_DELETION)
            if "nodeRef" not in machine.get("status", {}):
                return Again(RETRY)
        return await self._delete(self._choose(outdated))

    def _choose(self, outdated: list[Object]) -> Object:
        """Return the Machine to delete: one that is marked, else the oldest outdated one, else the oldest."""
        marked = [each for each in self._machines.all if _is_marked(each)]
        old_marked = [each for each in outdated if _is_marked(each)]
        candidates = old_marked or marked or outdated or self._machines.all
        return min(candidates, key=lambda each: each["metadata"]["creationTimestamp"])

    async def _delete(self, machine: Object) -> Outcome:
        """Take a Machine out of etcd, delete it, and delete its Node without draining.

        Between leaving and the deletion lies a known defect (CACPPT #237): a process that dies there never comes
        back to this Machine, since etcd then has one member less than there are Machines.
        """
        client = self._access.client([machine])
        try:
            if any(each.id == "etcd" and each.state != "Finished" for each in await client.services()):
                await client.leave()
        except TalosFailed as failure:
            raise ReconcileFailed(str(failure)) from failure
        await self._api.delete(machine)
        await self._delete_node(machine)
        return Again()

    async def _delete_node(self, machine: Object) -> None:
        name = machine.get("status", {}).get("nodeRef", {}).get("name")
        if self._workload is None or name is None:
            return
        try:
            await self._workload.delete("Node", name)
        except (KubeRefused, *UNREACHABLE) as error:
            raise ReconcileFailed(f"deleting node {name}: {error}") from error


def _is_marked(machine: Object) -> bool:
    return _DELETE_MACHINE in machine["metadata"].get("annotations", {})
