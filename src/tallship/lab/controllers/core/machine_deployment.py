"""The MachineDeployment controller: a MachineSet for each template, and the way from one to the next."""

from __future__ import annotations

from dataclasses import dataclass, field

from tallship.lab.controllers.core import machine_deployment_status, revisions, rollout
from tallship.lab.controllers.core.cloning import Applied, own_templates
from tallship.lab.controllers.core.cluster import pause
from tallship.lab.controllers.core.machine_set import IN_PLACE
from tallship.lab.controllers.core.references import DEPLOYMENT_LABEL, MACHINE_DEPLOYMENT_FINALIZER
from tallship.lab.controllers.informer import CachedApi
from tallship.lab.controllers.ownership import (
    CLUSTER_LABEL,
    add_finalizer,
    add_owner,
    controller_of,
    drop_finalizer,
    generated,
    is_deleting,
    reference,
    set_label,
)
from tallship.lab.controllers.patch import copy_json
from tallship.lab.controllers.reconciler import Again, Outcome, ReconcileFailed
from tallship.lab.kubeclient import Object

SOURCE = "machinedeployment-controller"
MANAGER = "capi-machinedeployment"

_LONGEST_PREFIX = 57
"""Kubernetes: a name of 63 characters, less a dash and five random ones."""


@dataclass
class Work:
    """One pass over one MachineDeployment."""

    cluster: Object
    item: Object
    current: Object | None = None
    others: list[Object] = field(default_factory=list)
    """The MachineSets of older templates, oldest first."""
    missing: list[str] = field(default_factory=list)
    """The kinds of templates that are not there."""

    @property
    def machine_sets(self) -> list[Object]:
        """All its MachineSets."""
        return [*self.others, *([self.current] if self.current is not None else [])]


class MachineDeployments:
    """Reconciles MachineDeployments."""

    def __init__(self, api: CachedApi) -> None:
        self._api = api
        self._applied = Applied(api, MANAGER)

    async def reconcile(self, namespace: str, name: str) -> Outcome:
        """Bring one MachineDeployment a step further."""
        before = self._api.get("MachineDeployment", name, namespace)
        if before is None:
            return None
        after = copy_json(before)
        if not is_deleting(after) and add_finalizer(after, MACHINE_DEPLOYMENT_FINALIZER):
            await self._api.save(before, after)
            return None
        cluster = self._api.get("Cluster", before["spec"]["clusterName"], namespace)
        if cluster is None:
            return Again()
        if await pause(self._api, before, after, cluster):
            return None
        work = Work(cluster, after)
        try:
            await (self._delete(work) if is_deleting(after) else self._converge(work))
        finally:
            machine_deployment_status.update(self._api, work)
            await self._api.save(before, after)
        return None

    async def _converge(self, work: Work) -> None:
        item = work.item
        set_label(item, CLUSTER_LABEL, item["spec"]["clusterName"])
        add_owner(item, work.cluster)
        work.missing = await own_templates(self._api, work.cluster, item)
        await self._find_machine_sets(work)
        if work.current is not None:
            work.current = await self._applied.put(work.current, self._desired(work))
        elif not item["spec"].get("paused"):
            work.current = await self._make(work)
        if work.current is not None:
            revision = revisions.of(work.current)
            item["metadata"].setdefault("annotations", {})[revisions.REVISION] = revision
        steps = rollout.steps(item, work.current, work.others, self._machines)
        for machine_set, replicas, stops in steps:
            await self._scale(work, machine_set, replicas, stops)
        if work.current is not None and rollout.is_complete(item, work.machine_sets):
            await self._clean_up(work)

    async def _find_machine_sets(self, work: Work) -> None:
        """List what the selector finds and nobody else controls; an orphan is adopted."""
        meta, wanted, found = work.item["metadata"], work.item["spec"]["selector"].get("matchLabels", {}), []
        for each in self._api.list("MachineSet", meta["namespace"]):
            controller, fits = controller_of(each), wanted.items() <= each["metadata"].get("labels", {}).items()
            if controller is None and wanted and fits:
                after = copy_json(each)
                add_owner(after, work.item, controller=True)
                set_label(after, DEPLOYMENT_LABEL, meta["name"])
                found.append(await self._api.save(each, after))
                text = f'Adopted MachineSet "{each["metadata"]["name"]}"'
                await self._api.event(work.item, "SuccessfulAdopt", text, SOURCE)
            elif controller is not None and controller["uid"] == meta["uid"]:
                found.append(each)
        work.current, work.others = revisions.split(work.item, found, self._api.clock)

    async def _delete(self, work: Work) -> None:
        await self._find_machine_sets(work)
        for machine_set in work.machine_sets:
            if not is_deleting(machine_set):
                await self._api.delete(machine_set)
        if not work.machine_sets:
            drop_finalizer(work.item, MACHINE_DEPLOYMENT_FINALIZER)

    async def _make(self, work: Work) -> Object:
        if work.missing:
            raise ReconcileFailed("cannot create a new MachineSet when templates do not exist")
        made = await self._api.apply(self._desired(work), MANAGER)
        text = f"Created MachineSet {_named(made)}"
        await self._api.event(work.item, "SuccessfulCreate", text, SOURCE)
        return made

    def _desired(self, work: Work) -> Object:
        """Return the current MachineSet as it should be; what needs new Machines stays as it is."""
        item, there, template = work.item, work.current, work.item["spec"]["template"]
        name = generated(item["metadata"]["name"][:_LONGEST_PREFIX])
        identity = f"{revisions.template_hash(template)}-{name[-5:]}"
        replicas, machine = rollout.first_replicas(item, work.others), template["spec"]
        metadata: Object = {"name": name, "namespace": item["metadata"]["namespace"]}
        if there is not None:
            meta, identity = there["metadata"], there["metadata"]["labels"][revisions.TEMPLATE_HASH]
            metadata |= {"name": meta["name"], "uid": meta["uid"], "finalizers": meta.get("finalizers", [])}
            kept = {key: template["spec"].get(key) for key in IN_PLACE}
            replicas, machine = there["spec"]["replicas"], {**there["spec"]["template"]["spec"], **kept}
        labels = {**template.get("metadata", {}).get("labels", {}), revisions.TEMPLATE_HASH: identity}
        metadata |= {
            "labels": {**labels, DEPLOYMENT_LABEL: item["metadata"]["name"]},
            "annotations": revisions.notes(item, work.others, there, item["spec"]["replicas"] + rollout.surge(item)),
            "ownerReferences": [reference(item, controller=True)],
        }
        spec = _spec(item, replicas, identity)
        notes = template.get("metadata", {}).get("annotations", {})
        machine = {key: copy_json(value) for key, value in machine.items() if value is not None}
        own = {"labels": labels} | ({"annotations": notes} if notes else {})
        spec["template"] = {"metadata": own, "spec": machine}
        return {"apiVersion": item["apiVersion"], "kind": "MachineSet", "metadata": metadata, "spec": spec}

    async def _scale(self, work: Work, machine_set: Object, replicas: int, stops: bool) -> None:
        """Give a MachineSet this many replicas; one that `stops` makes no Machines any more."""
        after, spec = copy_json(machine_set), work.item["spec"]
        after["spec"]["replicas"] = replicas
        notes = after["metadata"].setdefault("annotations", {})
        notes[revisions.DESIRED_REPLICAS] = str(spec["replicas"])
        notes[revisions.MAX_REPLICAS] = str(spec["replicas"] + rollout.surge(work.item))
        if stops:
            notes[rollout.DISABLE_CREATE] = "true"
        else:
            notes.pop(rollout.DISABLE_CREATE, None)
        if after == machine_set:
            return
        stored = await self._api.save(machine_set, after)
        work.others = [stored if each is machine_set else each for each in work.others]
        work.current = stored if work.current is machine_set else work.current
        was = machine_set["spec"]["replicas"]
        if was != replicas:
            text = f"Scaled MachineSet {_named(stored)}: {was} -> {replicas}"
            await self._api.event(work.item, "SuccessfulScale", text, SOURCE)

    async def _clean_up(self, work: Work) -> None:
        """Delete the oldest MachineSets that are empty, beyond those that the history keeps."""
        alive = [each for each in work.others if not is_deleting(each)]
        extra = len(alive) - work.item["spec"].get("revisionHistoryLimit", 1)
        for each in alive[: max(extra, 0)]:
            if not each["spec"]["replicas"] and not each.get("status", {}).get("replicas"):
                await self._api.delete(each)
                text = f'Deleted MachineSet "{each["metadata"]["name"]}"'
                await self._api.event(work.item, "SuccessfulDelete", text, SOURCE)

    def _machines(self, machine_set: Object) -> list[Object]:
        meta = machine_set["metadata"]
        return self._api.list("Machine", meta["namespace"], machine_set["spec"]["selector"]["matchLabels"])


def _spec(item: Object, replicas: int, identity: str) -> Object:
    """Return the specification of a MachineSet, without its template."""
    spec = item["spec"]
    rolling = (spec.get("strategy") or {}).get("rollingUpdate") or {}
    optional = {
        "minReadySeconds": spec.get("minReadySeconds"),
        "deletePolicy": rolling.get("deletePolicy"),
        "machineNamingStrategy": spec.get("machineNamingStrategy"),
    }
    chosen = {**spec["selector"].get("matchLabels", {}), revisions.TEMPLATE_HASH: identity}
    return {
        "replicas": replicas,
        "clusterName": spec["clusterName"],
        "selector": {**spec["selector"], "matchLabels": chosen},
        **{key: value for key, value in optional.items() if value},
    }


def _named(item: Object) -> str:
    return f"{item['metadata']['namespace']}/{item['metadata']['name']}"
