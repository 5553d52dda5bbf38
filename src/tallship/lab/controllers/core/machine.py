"""The Machine controller: bootstrap data, infrastructure and Node of one Machine, its phase and conditions."""

from __future__ import annotations

import contextlib

from tallship.lab.controllers.conditions import Conditions, find
from tallship.lab.controllers.core import machine_conditions, nodes, revisions
from tallship.lab.controllers.core.cluster import is_initialized, pause
from tallship.lab.controllers.core.machine_deletion import Deletion
from tallship.lab.controllers.core.references import DEPLOYMENT_LABEL, MACHINE_FINALIZER, referenced
from tallship.lab.controllers.core.remote import Remote, Remotes
from tallship.lab.controllers.informer import CachedApi
from tallship.lab.controllers.ownership import (
    CLUSTER_LABEL,
    add_finalizer,
    add_owner,
    drop_owner,
    is_deleting,
    owner_name,
    set_label,
)
from tallship.lab.controllers.patch import copy_json
from tallship.lab.controllers.reconciler import UNREACHABLE, Again, Outcome
from tallship.lab.kubeclient import KubeRefused, Object

SOURCE = "machine-controller"

_WAITING_FOR_DATA = {"status": "False", "reason": "WaitingForDataSecret", "severity": "Info"}
_WAITING_FOR_INFRASTRUCTURE = {"status": "False", "reason": "WaitingForInfrastructure", "severity": "Info"}


class Machines:
    """Reconciles Machines."""

    def __init__(self, api: CachedApi, remotes: Remotes) -> None:
        self._api = api
        self._remotes = remotes
        self._deletion = Deletion(api, remotes)

    async def reconcile(self, namespace: str, name: str) -> Outcome:
        """Bring one Machine a step further."""
        before = self._api.get("Machine", name, namespace)
        if before is None:
            return None
        cluster = self._api.get("Cluster", before["spec"]["clusterName"], namespace)
        if cluster is None:
            return Again()
        after = copy_json(before)
        if not is_deleting(after) and add_finalizer(after, MACHINE_FINALIZER):
            await self._api.save(before, after)
            return None
        if await pause(self._api, before, after, cluster):
            return None
        bootstrap = await self._adopt(after, after["spec"]["bootstrap"].get("configRef"))
        infrastructure = await self._adopt(after, after["spec"]["infrastructureRef"])
        self._take(after, bootstrap, infrastructure)
        if is_deleting(after):
            return await self._deletion.step(cluster, before, after, bootstrap, infrastructure)
        await self._find_node(cluster, after)
        machine_conditions.update(self._api, self._remotes, cluster, after)
        await self._finish(before, after)
        return None

    async def _adopt(self, machine: Object, ref: Object | None) -> Object | None:
        """Make an object that the Machine refers to its own, and return it."""
        found = referenced(self._api, machine, ref)
        if found is None or is_deleting(machine):
            return found
        owned = copy_json(found)
        for kind in ("TalosControlPlane", "MachineSet"):  # it held the object only until its Machine existed
            drop_owner(owned, kind)
        add_owner(owned, machine, controller=True)
        set_label(owned, CLUSTER_LABEL, machine["spec"]["clusterName"])
        return await self._api.save(found, owned)

    def _take(self, machine: Object, bootstrap: Object | None, infrastructure: Object | None) -> None:
        conditions = Conditions(machine, self._api.now())
        status = machine.setdefault("status", {})
        if bootstrap is not None:
            conditions.copy("BootstrapReady", find(bootstrap, "Ready"), _WAITING_FOR_DATA)
            known = bootstrap.get("status", {})
            if known.get("ready") and known.get("dataSecretName"):
                machine["spec"]["bootstrap"]["dataSecretName"] = known["dataSecretName"]
        if machine["spec"]["bootstrap"].get("dataSecretName"):
            status["bootstrapReady"] = True
        if infrastructure is not None:
            conditions.copy("InfrastructureReady", find(infrastructure, "Ready"), _WAITING_FOR_INFRASTRUCTURE)
            self._take_infrastructure(machine, infrastructure)

    @staticmethod
    def _take_infrastructure(machine: Object, infrastructure: Object) -> None:
        known = infrastructure.get("status", {})
        if not known.get("ready") or not infrastructure["spec"].get("providerID"):
            return
        machine["spec"]["providerID"] = infrastructure["spec"]["providerID"]
        machine["status"]["addresses"] = known.get("addresses", [])
        machine["status"]["infrastructureReady"] = True

    async def _find_node(self, cluster: Object, machine: Object) -> None:
        """Look the Machine's Node up, once the cluster answers; without an answer everything stays as it was."""
        conditions = Conditions(machine, self._api.now())
        provider_id = machine["spec"].get("providerID")
        if not provider_id or not is_initialized(cluster):
            if find(machine, "NodeHealthy") is None:
                conditions.false("NodeHealthy", "WaitingForNodeRef", "Info")
            return
        remote = self._remotes.of((machine["metadata"]["namespace"], cluster["metadata"]["name"]))
        if not remote.connected:
            return
        node = nodes.find(remote.list_nodes(), provider_id)
        status = machine["status"]
        if node is not None and "nodeRef" not in status:
            status["nodeRef"] = nodes.reference(node)
            await self._api.event(machine, "SuccessfulSetNodeRef", node["metadata"]["name"], SOURCE)
        if node is not None:
            status["nodeInfo"] = nodes.info(node)
            await self._mark(remote, node, machine)
        nodes.judge(conditions, node, known="nodeRef" in status)

    async def _mark(self, remote: Remote, node: Object, machine: Object) -> None:
        """Tell the Node of its Machine; where that is refused, the Node has changed and is looked at again."""
        change = nodes.marks(node, machine, self._is_outdated(machine))
        if not change or remote.client is None:
            return
        with contextlib.suppress(KubeRefused, *UNREACHABLE):
            await remote.client.patch({"apiVersion": "v1", "kind": "Node", "metadata": node["metadata"]}, change)

    def _is_outdated(self, machine: Object) -> bool | None:
        """True for a Machine of an older revision of its MachineDeployment; None when that cannot be told."""
        meta = machine["metadata"]
        name = meta.get("labels", {}).get(DEPLOYMENT_LABEL)
        if name is None:
            return False
        owner = self._api.get("MachineSet", owner_name(machine, "MachineSet"), meta["namespace"])
        deployment = self._api.get("MachineDeployment", name, meta["namespace"])
        if owner is None or deployment is None:
            return None
        return int(revisions.of(owner) or 0) < int(revisions.of(deployment) or 0)

    async def _finish(self, before: Object, after: Object) -> None:
        status = after["status"]
        status["phase"] = _phase(after)
        if before.get("status", {}).get("phase") != status["phase"]:
            status["lastUpdated"] = self._api.now()
        status["observedGeneration"] = after["metadata"].get("generation", 1)
        await self._api.save(before, after)


def _phase(machine: Object) -> str:
    status, provider_id = machine["status"], machine["spec"].get("providerID")
    if status.get("nodeRef") and status.get("infrastructureReady"):
        return "Running"
    if status.get("infrastructureReady") and provider_id:
        return "Provisioned"
    return "Provisioning" if status.get("bootstrapReady") else "Pending"
