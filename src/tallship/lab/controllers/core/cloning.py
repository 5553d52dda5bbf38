"""Objects made of the templates that a MachineSet or MachineDeployment names, and what is applied to them later."""

from __future__ import annotations

import json

from tallship.lab.controllers.core.references import referenced
from tallship.lab.controllers.informer import CachedApi
from tallship.lab.controllers.ownership import CLUSTER_LABEL, add_owner, reference
from tallship.lab.controllers.patch import copy_json
from tallship.lab.controllers.reconciler import ReconcileFailed
from tallship.lab.kubeclient import Object

CLONED_FROM = "cluster.x-k8s.io/cloned-from-name"
CLONED_FROM_KIND = "cluster.x-k8s.io/cloned-from-groupkind"


def template_refs(owner: Object) -> list[Object]:
    """Return the references to templates in a MachineSet or MachineDeployment: bootstrap first, if there is one."""
    spec = owner["spec"]["template"]["spec"]
    config: Object | None = spec["bootstrap"].get("configRef")
    return [*([config] if config else []), spec["infrastructureRef"]]


async def own_templates(api: CachedApi, cluster: Object, owner: Object) -> list[str]:
    """Make the Cluster own the templates that are there; returns the kinds of those that are not."""
    missing = []
    for ref in template_refs(owner):
        found = referenced(api, owner, ref)
        if found is None:
            missing.append(str(ref["kind"]))
            continue
        owned = copy_json(found)
        add_owner(owned, cluster)
        if owned != found:
            await api.save(found, owned)
    return missing


async def clone(api: CachedApi, machine_set: Object, ref: Object, machine: Object) -> Object:
    """Create an object from a template, under the Machine's name and with its labels; returns a reference to it.

    Raises ReconcileFailed when there is no such template.
    """
    template = referenced(api, machine_set, ref)
    if template is None:
        raise ReconcileFailed(f"failed to retrieve {ref['kind']} {ref['namespace']}/{ref['name']}")
    inner, meta = copy_json(template["spec"]["template"]), machine["metadata"]
    own = inner.get("metadata", {})
    notes = {CLONED_FROM: ref["name"], CLONED_FROM_KIND: _group_kind(ref)}
    metadata = {
        "name": meta["name"],
        "namespace": meta["namespace"],
        "labels": {
            **own.get("labels", {}),
            **meta["labels"],
            CLUSTER_LABEL: machine["spec"]["clusterName"],
        },
        "annotations": {**own.get("annotations", {}), **meta.get("annotations", {}), **notes},
        "ownerReferences": [reference(machine_set)],
    }
    kind = ref["kind"].removesuffix("Template")
    made = await api.create(
        {"apiVersion": ref["apiVersion"], "kind": kind, "metadata": metadata, "spec": inner.get("spec", {})}
    )
    return object_reference(made)


def object_reference(item: Object) -> Object:
    """Return how a Machine names one of its parts."""
    meta = item["metadata"]
    named = {"name": meta["name"], "namespace": meta["namespace"], "uid": meta["uid"]}
    return {"apiVersion": item["apiVersion"], "kind": item["kind"], **named}


class Applied:
    """Server-side apply that is not repeated while neither the wish nor the object has changed.

    Cluster API v1.10: its cache of applied objects. It is only a saving: what is forgotten is applied once more.
    """

    def __init__(self, api: CachedApi, manager: str) -> None:
        self._api = api
        self._manager = manager
        self._known: dict[str, tuple[str, str]] = {}

    async def put(self, there: Object, wanted: Object) -> Object:
        """Apply what is wanted to an object that is there; returns it as stored."""
        uid, wish = there["metadata"]["uid"], json.dumps(wanted, sort_keys=True)
        if self._known.get(uid) == (wish, _main(there)):
            return there
        stored = await self._api.apply(wanted, self._manager)
        self._known[uid] = (wish, _main(stored))
        return stored

    def forget(self, uid: str) -> None:
        """Forget an object that is gone."""
        self._known.pop(uid, None)


def _main(item: Object) -> str:
    meta = {key: item["metadata"].get(key) for key in ("labels", "annotations", "finalizers", "ownerReferences")}
    return json.dumps([meta, item.get("spec")], sort_keys=True)


def _group_kind(ref: Object) -> str:
    return f"{ref['kind']}.{ref['apiVersion'].split('/')[0]}"
