"""The TalosControlPlane controller: every pass runs every phase; none waits for another."""

from __future__ import annotations

from tallship.lab.controllers.cacppt.access import Access
from tallship.lab.controllers.cacppt.bootstrapping import bootstrap
from tallship.lab.controllers.cacppt.health import Health
from tallship.lab.controllers.cacppt.kubeconfig import put_kubeconfig
from tallship.lab.controllers.cacppt.machines import ControlPlaneMachines
from tallship.lab.controllers.cacppt.scaling import Scaling
from tallship.lab.controllers.cacppt.status import update_status
from tallship.lab.controllers.cacppt.talos import Connections, TalosFailed
from tallship.lab.controllers.conditions import Conditions, find
from tallship.lab.controllers.informer import CachedApi
from tallship.lab.controllers.ownership import (
    add_finalizer,
    add_owner,
    drop_finalizer,
    is_deleting,
    is_paused,
    owner_name,
)
from tallship.lab.controllers.patch import copy_json
from tallship.lab.controllers.reconciler import UNREACHABLE, Again, Outcome, ReconcileFailed, soonest
from tallship.lab.controllers.workload import WorkloadClients
from tallship.lab.kubeclient import KubeRefused, Object

FINALIZER = "talos.controlplane.cluster.x-k8s.io"
WHILE_NOT_READY = 20.0
BOOTSTRAP_RETRY = 10.0
DELETION_RETRY = 30.0

_SUMMARY = ("MachinesCreated", "Resized", "MachinesReady", "Available", "MachinesBootstrapped")


class TalosControlPlanes:
    """Reconciles TalosControlPlanes."""

    def __init__(self, api: CachedApi, connections: Connections, clients: WorkloadClients) -> None:
        self._api = api
        self._connections = connections
        self._clients = clients

    async def reconcile(self, namespace: str, name: str) -> Outcome:
        """Bring one control plane a step further."""
        before = self._api.get("TalosControlPlane", name, namespace)
        if before is None:
            return None
        cluster = self._api.get("Cluster", owner_name(before, "Cluster"), namespace)
        if cluster is None:
            return None if is_deleting(before) else Again(WHILE_NOT_READY)
        if is_paused(cluster, before) or not cluster.get("status", {}).get("infrastructureReady"):
            return Again()
        after = copy_json(before)
        if not is_deleting(after) and add_finalizer(after, FINALIZER):
            _observe(after)
            await self._api.save(before, after)
            return None
        if is_deleting(after):
            return await self._delete(cluster, before, after)
        return await self._converge(cluster, before, after)

    async def _converge(self, cluster: Object, before: Object, after: Object) -> Outcome:
        failure: Exception | None = None
        outcome: Outcome = None
        try:
            outcome = await self._run_phases(cluster, after)
        except (KubeRefused, ReconcileFailed, *UNREACHABLE) as met:
            failure = met
        machines = ControlPlaneMachines(self._api, cluster, after).list_now()
        await update_status(self._api, self._clients, cluster, after, machines)
        _observe(after)
        Conditions(after, self._api.now()).summarize(_SUMMARY)
        await self._api.save(before, after)
        if failure is not None:
            raise failure
        status = after["status"]
        if outcome is None and (not status.get("ready") or status.get("unavailableReplicas")):
            return Again(WHILE_NOT_READY)
        return outcome

    async def _run_phases(self, cluster: Object, plane: Object) -> Outcome:
        await self._own_template(cluster, plane)
        endpoint = cluster["spec"].get("controlPlaneEndpoint") or {}
        if not endpoint.get("host") or not endpoint.get("port"):
            return None
        access = Access(self._api, self._connections, cluster)
        machines = ControlPlaneMachines(self._api, cluster, plane)
        conditions = Conditions(plane, self._api.now())
        conditions.aggregate("MachinesReady", machines.all)
        outcome = await Health(access, plane, machines.all, conditions).check()
        self._note_boot(plane)
        outcome = soonest(outcome, await put_kubeconfig(self._api, cluster, plane))
        return soonest(outcome, await self._scale_or_bootstrap(cluster, plane, access, machines))

    def _note_boot(self, plane: Object) -> None:
        conditions = Conditions(plane, self._api.now())
        if not plane.get("status", {}).get("initialized"):
            conditions.false("Available", "WaitingForTalosBoot", "Info")
        if find(plane, "MachinesBootstrapped") is None:
            conditions.false("MachinesBootstrapped", "WaitingForMachines", "Info")

    async def _scale_or_bootstrap(
        self, cluster: Object, plane: Object, access: Access, machines: ControlPlaneMachines
    ) -> Outcome:
        meta = cluster["metadata"]
        workload = self._clients.find(meta["namespace"], meta["name"])
        outcome = await Scaling(self._api, access, machines, plane, workload).step()
        if outcome is not True:
            return outcome if isinstance(outcome, Again) else None
        conditions, status = Conditions(plane, self._api.now()), plane.setdefault("status", {})
        if not status.get("bootstrapped"):
            try:
                await bootstrap(access, machines.all)
            except TalosFailed as failure:
                conditions.false("MachinesBootstrapped", "WaitingForTalosBoot", "Info", str(failure))
                return Again(BOOTSTRAP_RETRY)
            conditions.true("MachinesBootstrapped")
            status["bootstrapped"] = True
        conditions.true("Resized")
        conditions.true("MachinesCreated")
        return None

    async def _own_template(self, cluster: Object, plane: Object) -> None:
        ref = plane["spec"]["infrastructureTemplate"]
        template = self._api.get(ref["kind"], ref["name"], plane["metadata"]["namespace"])
        if template is None:
            raise ReconcileFailed(f"{ref['kind']} {ref['name']} not found")
        owned = copy_json(template)
        add_owner(owned, cluster)
        await self._api.save(template, owned)

    async def _delete(self, cluster: Object, before: Object, after: Object) -> Outcome:
        machines = ControlPlaneMachines(self._api, cluster, after).all
        if not machines:
            drop_finalizer(after, FINALIZER)
            await self._api.save(before, after)
            return None
        for machine in machines:
            if not is_deleting(machine):
                await self._api.delete(machine)
        conditions, status = Conditions(after, self._api.now()), after.setdefault("status", {})
        conditions.false("Resized", "Deleting", "Info")
        status |= {"ready": False, "replicas": len(machines), "unavailableReplicas": len(machines)}
        status.pop("readyReplicas", None)
        _observe(after)
        conditions.summarize(_SUMMARY)
        await self._api.save(before, after)
        return Again(DELETION_RETRY)


def _observe(plane: Object) -> None:
    plane.setdefault("status", {})["observedGeneration"] = plane["metadata"].get("generation", 1)
