"""Machines of a control plane: which are outdated, and how one more is made."""

from __future__ import annotations

import random

from tallship.lab.controllers.conditions import Conditions
from tallship.lab.controllers.informer import CachedApi
from tallship.lab.controllers.ownership import (
    CLUSTER_LABEL,
    CONTROL_PLANE_LABEL,
    generated,
    is_deleting,
    reference,
)
from tallship.lab.controllers.reconciler import ReconcileFailed
from tallship.lab.kubeclient import KubeRefused, Object

_CLONED_FROM = "cluster.x-k8s.io/cloned-from-name"
_CLONED_FROM_KIND = "cluster.x-k8s.io/cloned-from-groupkind"
_SCALARS = ("generateType", "talosVersion", "data")
_LISTS = ("configPatches", "strategicPatches")


class ControlPlaneMachines:
    """The Machines of one control plane, as they were at the beginning of this pass."""

    def __init__(self, api: CachedApi, cluster: Object, plane: Object) -> None:
        self._api = api
        self._cluster = cluster
        self._plane = plane
        self._namespace = plane["metadata"]["namespace"]
        self.all = self.list_now()

    def list_now(self) -> list[Object]:
        """Return the Machines that there are now, by name."""
        labels = {CLUSTER_LABEL: self._cluster["metadata"]["name"], CONTROL_PLANE_LABEL: ""}
        return self._api.list("Machine", self._namespace, labels)

    def outdated(self) -> list[Object]:
        """Return the Machines to replace: another version, another template, or another configuration."""
        if self._plane["spec"].get("rolloutStrategy", {}).get("type") == "OnDelete":
            return []
        return [each for each in self.all if not is_deleting(each) and not self._is_current(each)]

    def _is_current(self, machine: Object) -> bool:
        spec = self._plane["spec"]
        return bool(
            machine["spec"].get("version") == spec["version"]
            and self._is_from_template(machine, spec["infrastructureTemplate"])
            and self._has_configuration(machine, spec["controlPlaneConfig"]["controlplane"])
        )

    def _is_from_template(self, machine: Object, template: Object) -> bool:
        name = machine["spec"]["infrastructureRef"]["name"]
        item = self._api.get("HCloudMachine", name, self._namespace)
        if item is None:
            return True
        notes = item["metadata"].get("annotations", {})
        return bool(notes.get(_CLONED_FROM) == template["name"]) and notes.get(_CLONED_FROM_KIND) == _group_kind(
            template
        )

    def _has_configuration(self, machine: Object, wanted: Object) -> bool:
        name = machine["spec"]["bootstrap"]["configRef"]["name"]
        config = self._api.get("TalosConfig", name, self._namespace)
        return config is None or _as_struct(config["spec"]) == _as_struct(wanted)

    async def create(self, conditions: Conditions) -> None:
        """Make one more: its infrastructure, its configuration, then the Machine."""
        try:
            infrastructure = await self._api.create(self._new_infrastructure())
            config = await self._api.create(self._new_config())
            await self._api.create(self._new_machine(infrastructure, config))
        except KubeRefused as refused:
            conditions.false("MachinesCreated", "MachineGenerationFailed", "Error", str(refused))
            raise

    def _new_infrastructure(self) -> Object:
        ref = self._plane["spec"]["infrastructureTemplate"]
        template = self._api.get(ref["kind"], ref["name"], self._namespace)
        if template is None:
            raise ReconcileFailed(f"{ref['kind']} {ref['name']} not found")
        item = self._owned("infrastructure.cluster.x-k8s.io/v1beta1", "HCloudMachine", ref["name"])
        item["metadata"]["labels"] = self._labels()
        item["metadata"]["annotations"] = {_CLONED_FROM: ref["name"], _CLONED_FROM_KIND: _group_kind(ref)}
        return {**item, "spec": template["spec"]["template"]["spec"]}

    def _new_config(self) -> Object:
        wanted = self._plane["spec"]["controlPlaneConfig"]["controlplane"]
        item = self._owned("bootstrap.cluster.x-k8s.io/v1alpha3", "TalosConfig", self._plane["metadata"]["name"])
        # Go leaves empty values out when it writes, so an empty list comes back as none at all.
        return {**item, "spec": {key: value for key, value in wanted.items() if value not in ([], {}, "")}}

    def _new_machine(self, infrastructure: Object, config: Object) -> Object:
        domains = sorted(self._cluster.get("status", {}).get("failureDomains", {}))
        item = self._owned("cluster.x-k8s.io/v1beta1", "Machine", self._plane["metadata"]["name"])
        item["metadata"] |= {"labels": self._labels(), "ownerReferences": [reference(self._plane, controller=True)]}
        spec = {
            "clusterName": self._cluster["metadata"]["name"],
            "version": self._plane["spec"]["version"],
            "infrastructureRef": _object_reference(infrastructure),
            "bootstrap": {"configRef": _object_reference(config)},
            "nodeDeletionTimeout": "10s",  # the default of Cluster API's webhook
        }
        if domains:
            spec["failureDomain"] = random.choice(domains)  # noqa: S311 - as CACPPT chooses
        return {**item, "spec": spec}

    def _labels(self) -> dict[str, str]:
        return {CLUSTER_LABEL: self._cluster["metadata"]["name"], CONTROL_PLANE_LABEL: ""}

    def _owned(self, api_version: str, kind: str, prefix: str) -> Object:
        metadata = {
            "name": generated(prefix),
            "namespace": self._namespace,
            "ownerReferences": [reference(self._plane)],
        }
        return {"apiVersion": api_version, "kind": kind, "metadata": metadata}


def _as_struct(spec: Object) -> Object:
    """Return a configuration as Go's reflect.DeepEqual sees it: an empty list is not the same as none."""
    scalars = {key: spec.get(key, "") for key in _SCALARS}
    source = (spec.get("hostname") or {}).get("source", "")
    return scalars | {key: spec.get(key) for key in _LISTS} | {"hostname": source}


def _object_reference(item: Object) -> Object:
    meta = item["metadata"]
    named = {"name": meta["name"], "namespace": meta["namespace"], "uid": meta["uid"]}
    return {"apiVersion": item["apiVersion"], "kind": item["kind"], **named}


def _group_kind(ref: Object) -> str:
    return f"{ref['kind']}.{ref['apiVersion'].split('/')[0]}"
