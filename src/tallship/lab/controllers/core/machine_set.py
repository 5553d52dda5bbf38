"""The MachineSet controller: as many Machines as it should have, each cloned from its templates."""

from __future__ import annotations

from dataclasses import dataclass, field

from tallship.lab.clock import created, wall
from tallship.lab.controllers.conditions import Conditions
from tallship.lab.controllers.core import machine_set_status, revisions
from tallship.lab.controllers.core.cloning import Applied, clone, own_templates
from tallship.lab.controllers.core.cluster import pause
from tallship.lab.controllers.core.machine_choice import to_delete
from tallship.lab.controllers.core.machine_remediation import remediate
from tallship.lab.controllers.core.preflight import PREFLIGHT_RETRY, obstacles
from tallship.lab.controllers.core.references import (
    DEPLOYMENT_LABEL,
    MACHINE_FINALIZER,
    MACHINE_SET_FINALIZER,
    SET_LABEL,
    referenced,
)
from tallship.lab.controllers.core.remote import Remotes
from tallship.lab.controllers.core.rollout import DISABLE_CREATE
from tallship.lab.controllers.informer import CachedApi
from tallship.lab.controllers.ownership import (
    CLUSTER_LABEL,
    add_finalizer,
    add_owner,
    controller_of,
    drop_finalizer,
    generated,
    is_deleting,
    owner_name,
    reference,
    set_label,
)
from tallship.lab.controllers.patch import copy_json
from tallship.lab.controllers.reconciler import Again, Outcome, ReconcileFailed, soonest
from tallship.lab.kubeclient import KubeRefused, Object

SOURCE = "machineset-controller"
MANAGER = "capi-machineset"

NOT_READY_YET = 15.0
"""Cluster API v1.10: until a MachineSet whose Nodes are not all Ready is looked at again."""

IN_PLACE = ("readinessGates", "nodeDrainTimeout", "nodeDeletionTimeout", "nodeVolumeDetachTimeout")
"""What changes on the Machines that are there; anything else needs new ones."""


@dataclass
class Work:
    """One pass over one MachineSet."""

    cluster: Object
    item: Object
    deployment: Object | None
    machines: list[Object] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    """The kinds of templates that are not there."""
    obstacles: list[str] = field(default_factory=list)
    """Why no Machine may be made now."""

    @property
    def namespace(self) -> str:
        """The namespace of everything."""
        return str(self.item["metadata"]["namespace"])

    @property
    def is_current(self) -> bool:
        """True unless the MachineSet belongs to an older revision of a MachineDeployment."""
        return self.deployment is None or revisions.of(self.deployment) == revisions.of(self.item)


class MachineSets:
    """Reconciles MachineSets."""

    def __init__(self, api: CachedApi, remotes: Remotes) -> None:
        self._api = api
        self._remotes = remotes
        self._applied = Applied(api, MANAGER)

    async def reconcile(self, namespace: str, name: str) -> Outcome:
        """Bring one MachineSet a step further."""
        before = self._api.get("MachineSet", name, namespace)
        if before is None:
            return None
        after = copy_json(before)
        if not is_deleting(after) and add_finalizer(after, MACHINE_SET_FINALIZER):
            await self._api.save(before, after)
            return None
        cluster = self._api.get("Cluster", before["spec"]["clusterName"], namespace)
        if cluster is None:
            return Again()
        if await pause(self._api, before, after, cluster):
            return None
        deployment = before["metadata"].get("labels", {}).get(DEPLOYMENT_LABEL)
        work = Work(cluster, after, self._api.get("MachineDeployment", deployment, namespace) if deployment else None)
        if deployment and work.deployment is None:
            raise ReconcileFailed(f"no owner MachineDeployment found for MachineSet {namespace}/{name}")
        try:
            outcome = await self._converge(work)
        finally:
            await self._finish(work, before)
        return soonest(outcome, self._refresh(work))

    async def _converge(self, work: Work) -> Outcome:
        item = work.item
        set_label(item, CLUSTER_LABEL, item["spec"]["clusterName"])
        if work.deployment is None and not owner_name(item, "MachineDeployment"):
            add_owner(item, work.cluster)
        work.missing = await own_templates(self._api, work.cluster, item)
        await self._find_machines(work)
        if is_deleting(item):
            return await self._delete(work)
        if work.missing and work.is_current:
            raise ReconcileFailed(f"{' and '.join(work.missing)} of MachineSet {item['metadata']['name']} not found")
        outcome = await remediate(self._api, work)
        for machine in work.machines:
            await self._keep_up(work, self._fresh(machine))
        return soonest(outcome, await self._scale(work))

    def _fresh(self, machine: Object) -> Object:
        """Return a Machine as it was last seen."""
        meta = machine["metadata"]
        return self._api.get("Machine", meta["name"], meta["namespace"]) or machine

    async def _find_machines(self, work: Work) -> None:
        """List what the selector finds and nobody else controls; an orphan is adopted."""
        for found in self._api.list("Machine", work.namespace, work.item["spec"]["selector"]["matchLabels"]):
            controller = controller_of(found)
            if controller is None:
                adopted = copy_json(found)
                add_owner(adopted, work.item, controller=True)
                work.machines.append(await self._api.save(found, adopted))
                text = f'Adopted Machine "{found["metadata"]["name"]}"'
                await self._api.event(work.item, "SuccessfulAdopt", text, SOURCE)
            elif controller["uid"] == work.item["metadata"]["uid"]:
                work.machines.append(found)

    async def _delete(self, work: Work) -> Outcome:
        for machine in work.machines:
            if not is_deleting(machine):
                await self._api.delete(machine)
        if not work.machines:
            drop_finalizer(work.item, MACHINE_SET_FINALIZER)
            self._applied.forget(work.item["metadata"]["uid"])
        return None

    async def _keep_up(self, work: Work, machine: Object) -> None:
        """Bring to a Machine and its parts what changes in place."""
        after = copy_json(machine)
        condition = machine_set_status.up_to_date(work.item, work.deployment, self._api.clock)
        if condition is not None:
            Conditions(after, self._api.now()).new("UpToDate", *condition)
        if is_deleting(machine):
            wanted = {key: work.item["spec"]["template"]["spec"].get(key) for key in IN_PLACE}
            after["spec"] |= {key: value for key, value in wanted.items() if value is not None}
        if after != machine:
            machine = await self._api.save(machine, after)
        if is_deleting(machine):
            return
        meta = {key: machine["metadata"][key] for key in ("name", "namespace", "uid")}
        wanted = self._desired(work.item, machine["metadata"]["name"])
        wanted["metadata"] |= {**meta, "finalizers": machine["metadata"].get("finalizers") or [MACHINE_FINALIZER]}
        wanted["spec"]["infrastructureRef"] = machine["spec"]["infrastructureRef"]
        if "configRef" in machine["spec"]["bootstrap"]:
            wanted["spec"]["bootstrap"]["configRef"] = machine["spec"]["bootstrap"]["configRef"]
        await self._applied.put(machine, wanted)
        for ref in (machine["spec"]["infrastructureRef"], machine["spec"]["bootstrap"].get("configRef")):
            await self._label_part(referenced(self._api, machine, ref), wanted)

    async def _label_part(self, part: Object | None, machine: Object) -> None:
        if part is None or is_deleting(part):
            return
        meta = {key: part["metadata"][key] for key in ("name", "namespace", "uid")}
        meta |= {key: machine["metadata"][key] for key in ("labels", "annotations")}
        await self._applied.put(part, {"apiVersion": part["apiVersion"], "kind": part["kind"], "metadata": meta})

    async def _scale(self, work: Work) -> Outcome:
        spec = work.item["spec"]
        too_many = len(work.machines) - spec["replicas"]
        if too_many < 0 and DISABLE_CREATE not in work.item["metadata"].get("annotations", {}):
            return await self._make(work, -too_many)
        if too_many > 0:
            for machine in to_delete(work.machines, too_many, spec.get("deletePolicy", ""), self._age):
                await self._delete_one(work, machine)
        return None

    async def _delete_one(self, work: Work, machine: Object) -> None:
        if not is_deleting(machine):
            await self._api.delete(machine)
            text = f'Deleted machine "{machine["metadata"]["name"]}"'
            await self._api.event(work.item, "SuccessfulDelete", text, SOURCE)

    async def _make(self, work: Work, number: int) -> Outcome:
        work.obstacles = obstacles(self._api, work.cluster, work.item)
        conditions = Conditions(work.item, self._api.now())
        if work.obstacles:
            conditions.false("MachinesCreated", "PreflightCheckFailed", "Error", "; ".join(work.obstacles))
            return Again(PREFLIGHT_RETRY)
        for _ in range(number):
            await self._make_one(work.item, conditions)
        return None

    async def _make_one(self, item: Object, conditions: Conditions) -> None:
        """Make one more: its configuration, its infrastructure, then the Machine."""
        machine, spec = self._desired(item, generated(item["metadata"]["name"])), item["spec"]["template"]["spec"]
        machine["metadata"]["finalizers"] = [MACHINE_FINALIZER]
        made: list[Object] = []
        reason = "BootstrapTemplateCloningFailed"
        try:
            if spec["bootstrap"].get("configRef"):
                made.append(await clone(self._api, item, spec["bootstrap"]["configRef"], machine))
                machine["spec"]["bootstrap"]["configRef"] = made[-1]
            reason = "InfrastructureTemplateCloningFailed"
            made.append(await clone(self._api, item, spec["infrastructureRef"], machine))
            machine["spec"]["infrastructureRef"] = made[-1]
            reason = "MachineCreationFailed"
            await self._api.apply(machine, MANAGER)
        except (KubeRefused, ReconcileFailed) as failure:
            conditions.false("MachinesCreated", reason, "Error", str(failure))
            for ref in made:
                await self._api.client.delete(ref["kind"], ref["name"], ref["namespace"])
            raise
        name = machine["metadata"]["name"]
        await self._api.event(item, "SuccessfulCreate", f'Created machine "{name}"', SOURCE)

    @staticmethod
    def _desired(item: Object, name: str) -> Object:
        """Return a Machine of the set, without its references."""
        template = item["spec"]["template"]
        labels = {**template.get("metadata", {}).get("labels", {}), SET_LABEL: item["metadata"]["name"]}
        if DEPLOYMENT_LABEL in item["metadata"].get("labels", {}):
            labels[DEPLOYMENT_LABEL] = item["metadata"]["labels"][DEPLOYMENT_LABEL]
        bootstrap = {key: value for key, value in template["spec"]["bootstrap"].items() if key != "configRef"}
        spec = {key: value for key, value in template["spec"].items() if key != "infrastructureRef"}
        return {
            "apiVersion": item["apiVersion"],
            "kind": "Machine",
            "metadata": {
                "name": name,
                "namespace": item["metadata"]["namespace"],
                "labels": labels,
                "annotations": dict(template.get("metadata", {}).get("annotations", {})),
                "ownerReferences": [reference(item, controller=True)],
            },
            "spec": {**spec, "clusterName": item["spec"]["clusterName"], "bootstrap": bootstrap},
        }

    async def _finish(self, work: Work, before: Object) -> None:
        key = (work.namespace, work.cluster["metadata"]["name"])
        machine_set_status.update(self._api, self._remotes.of(key), work)
        await self._api.save(before, work.item)

    @staticmethod
    def _refresh(work: Work) -> Outcome:
        status, spec = work.item["status"], work.item["spec"]
        if is_deleting(work.item):
            return None
        if status["readyReplicas"] != spec["replicas"]:
            return Again(NOT_READY_YET)
        wait = spec.get("minReadySeconds", 0)
        return Again(float(wait)) if wait and status["availableReplicas"] != spec["replicas"] else None

    def _age(self, machine: Object) -> float:
        return (wall(self._api.clock) - created(self._api.clock, machine)).total_seconds()
