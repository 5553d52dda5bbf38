"""Taking a Cluster down: its workers, its control plane, then its infrastructure, then itself."""

from __future__ import annotations

from tallship.lab.controllers.conditions import Conditions, find, some
from tallship.lab.controllers.core import cluster_conditions
from tallship.lab.controllers.core.references import CLUSTER_FINALIZER, referenced, worker_machines
from tallship.lab.controllers.core.remote import Remotes
from tallship.lab.controllers.informer import CachedApi
from tallship.lab.controllers.ownership import CLUSTER_LABEL, drop_finalizer, is_deleting, owner_name
from tallship.lab.controllers.reconciler import Again, Outcome
from tallship.lab.kubeclient import Object

_DESCENDANTS = {
    "MachineDeployment": "MachineDeployments",
    "MachineSet": "MachineSets",
    "Machine": "Worker Machines",
}
_DELETED = {"status": "False", "reason": "Deleted", "severity": "Info"}


async def delete_cluster(api: CachedApi, remotes: Remotes, before: Object, after: Object) -> Outcome:
    """Bring the deletion of a Cluster a step further."""
    meta = after["metadata"]
    if after.get("status", {}).get("phase") != "Deleting":
        await api.event(after, "Deleting", f"Cluster {meta['name']} is Deleting", "cluster-controller")
    stage = await _next_stage(api, after)
    conditions = Conditions(after, api.now())
    for kind, field in (("ControlPlaneReady", "controlPlaneRef"), ("InfrastructureReady", "infrastructureRef")):
        source = referenced(api, after, after["spec"].get(field))
        ready = None if source is None else find(source, "Ready")
        conditions.copy(kind, ready, None if source else _DELETED)
    conditions.summarize(("ControlPlaneReady", "InfrastructureReady"))
    cluster_conditions.update(api, remotes.of((meta["namespace"], meta["name"])), after, stage)
    after["status"] |= {"phase": "Deleting", "observedGeneration": meta.get("generation", 1)}
    if stage[0] == "DeletionCompleted":
        await api.event(after, "Deleted", f"Cluster {meta['name']} has been deleted", "cluster-controller")
        drop_finalizer(after, CLUSTER_FINALIZER)
    await api.save(before, after)
    return None if stage[0] == "DeletionCompleted" else Again(5)


async def _next_stage(api: CachedApi, cluster: Object) -> tuple[str, str]:
    """Ask for the next deletion and return (reason, message) of what is waited for."""
    workers = await _delete_workers(api, cluster)
    if workers:
        return "WaitingForWorkersDeletion", workers
    plane = referenced(api, cluster, cluster["spec"].get("controlPlaneRef"))
    if plane is not None:
        await _delete(api, plane)
        return "WaitingForControlPlaneDeletion", f"Waiting for {plane['kind']} to be deleted"
    infrastructure = referenced(api, cluster, cluster["spec"].get("infrastructureRef"))
    if infrastructure is not None:
        await _delete(api, infrastructure)
        return "WaitingForInfrastructureDeletion", f"Waiting for {infrastructure['kind']} to be deleted"
    return "DeletionCompleted", "Deletion completed"


async def _delete_workers(api: CachedApi, cluster: Object) -> str:
    """Ask for the deletion of what the Cluster itself owns; returns what is still there, a line for each kind."""
    meta, lines = cluster["metadata"], []
    for kind, title in _DESCENDANTS.items():
        found = api.list(kind, meta["namespace"], {CLUSTER_LABEL: meta["name"]})
        if kind == "Machine" and "controlPlaneRef" in cluster["spec"]:
            found = worker_machines(api, meta["namespace"], meta["name"])
        for each in found:
            if owner_name(each, "Cluster"):
                await _delete(api, each)
        if found:
            lines.append(f"* {title}: {some((each['metadata']['name'] for each in found), 5)}")
    return "\n".join(lines)


async def _delete(api: CachedApi, item: Object) -> None:
    if not is_deleting(item):
        await api.delete(item)
