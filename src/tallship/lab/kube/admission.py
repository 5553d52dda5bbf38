"""What the providers' webhooks do to their objects: defaults and refusals, as plug-ins of the API server.

Sources: the webhooks of Cluster API v1.10.10, CAPH v1.0.7, CABPT v0.6.11 and CACPPT v0.5.12.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Any

from tallship.lab.kube.errors import RefusedRequest, invalid
from tallship.lab.kube.metadata import is_label_value

Document = dict[str, Any]
PlugIn = Callable[[Document, Document | None], None]

CLUSTER_NAME = "cluster.x-k8s.io/cluster-name"
DEPLOYMENT_NAME = "cluster.x-k8s.io/deployment-name"
TOPOLOGY_DRY_RUN = "topology.cluster.x-k8s.io/dry-run"
NO_ADDRESS_YET = "capi.syself.com/allow-empty-control-plane-address"
NODE_DELETION_TIMEOUT = "10s"
IMMUTABLE = "Invalid value: field is immutable"
REGIONS = {"fsn1": "eu-central", "nbg1": "eu-central", "hel1": "eu-central", "ash": "us-east", "hil": "us-west"}
"""Network zone by region, where several regions share one; any other is a zone of its own."""


def admit(new: Document, old: Document | None, dry_run: bool = False) -> None:
    """Fill in what the kind's webhook fills in. Raises RefusedRequest for what it refuses."""
    plug_in = PLUG_INS.get(new["kind"])
    if plug_in is None or "deletionTimestamp" in new["metadata"]:
        return
    if dry_run and TOPOLOGY_DRY_RUN in new["metadata"].get("annotations", {}):
        return
    new.setdefault("spec", {})  # a webhook answers with the whole object, whose spec is never absent
    plug_in(new, old)


def _cluster(new: Document, old: Document | None) -> None:
    spec, name = new.setdefault("spec", {}), new["metadata"]["name"]
    for field in ("infrastructureRef", "controlPlaneRef"):
        ref = spec.get(field)
        if isinstance(ref, dict):
            _default_namespace(new, ref)
            if ref["namespace"] != new["metadata"]["namespace"]:
                text = f'Invalid value: "{ref["namespace"]}": must match metadata.namespace'
                _refuse(new, f"spec.{field}.namespace", text)
        elif old is not None and (old.get("spec") or {}).get(field):
            _refuse(new, f"spec.{field}", "Forbidden: cannot be removed")
    if not is_label_value(name):
        _refuse(new, "metadata.name", f'Invalid value: "{name}": must be no more than 63 characters')
    if "topology" in spec:
        _refuse(new, "spec.topology", "Forbidden: can be set only if the ClusterTopology feature flag is enabled")
    network = spec.get("clusterNetwork") or {}
    for field in ("pods", "services"):
        for number, block in enumerate((network.get(field) or {}).get("cidrBlocks") or []):
            if not _is_network(block):
                where = f"spec.clusterNetwork.{field}.cidrBlocks[{number}]"
                _refuse(new, where, f'Invalid value: "{block}": invalid CIDR address: {block}')


def _machine(new: Document, old: Document | None) -> None:
    spec = new["spec"]
    _label_cluster(new, spec)
    _default_machine(new, spec)
    _keep(new, old, "clusterName")


def _machine_set(new: Document, old: Document | None) -> None:
    spec = new["spec"]
    _label_cluster(new, spec)
    spec.setdefault("replicas", 1)
    spec.setdefault("deletePolicy", "Random")
    _default_machine(new, spec.get("template", {}).get("spec", {}))
    _keep(new, old, "clusterName")


def _machine_deployment(new: Document, old: Document | None) -> None:
    spec, name = new["spec"], new["metadata"]["name"]
    _label_cluster(new, spec)
    for key, value in (("minReadySeconds", 0), ("revisionHistoryLimit", 1), ("progressDeadlineSeconds", 600)):
        spec.setdefault(key, value)
    spec.setdefault("replicas", 1)
    strategy = spec.setdefault("strategy", {})
    if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxSurge", 1)
        rolling.setdefault("maxUnavailable", 0)
    template = spec.setdefault("template", {})
    own = {DEPLOYMENT_NAME: name, CLUSTER_NAME: spec.get("clusterName", "")}
    selected = spec.setdefault("selector", {}).setdefault("matchLabels", {})
    labels = template.setdefault("metadata", {}).setdefault("labels", {})
    selected.update({key: value for key, value in own.items() if key not in selected})
    labels.update({key: value for key, value in own.items() if key not in labels})
    template.setdefault("spec", {"clusterName": ""})  # the webhook writes a machine out in full, also an empty one
    _default_machine(new, template["spec"])
    if not selected.items() <= labels.items():
        text = f"Invalid value: {labels}: must match spec.selector"
        _refuse(new, "spec.template.metadata.labels", text)
    _keep(new, old, "clusterName")


def _machine_health_check(new: Document, old: Document | None) -> None:
    spec = new["spec"]
    _label_cluster(new, spec)
    spec.setdefault("maxUnhealthy", "100%")
    spec.setdefault("nodeStartupTimeout", "10m0s")
    if isinstance(spec.get("remediationTemplate"), dict):
        _default_namespace(new, spec["remediationTemplate"])
    if not spec.get("selector"):
        _refuse(new, "spec.selector", "Required value: selector must not be empty")
    _keep(new, old, "clusterName")


def _hetzner_cluster(new: Document, old: Document | None) -> None:
    spec = new["spec"]
    balancer = spec.get("controlPlaneLoadBalancer") or {}
    _check_zones(new, spec)
    if balancer.get("enabled"):
        if not balancer.get("region"):
            text = 'Invalid value: "": region should not be empty if load balancer is enabled'
            _refuse(new, "spec.controlPlaneLoadBalancer.region", text)
    elif NO_ADDRESS_YET not in new["metadata"].get("annotations", {}):
        endpoint = spec.get("controlPlaneEndpoint") or {}
        if not endpoint.get("host") or not endpoint.get("port"):
            text = "Invalid value: controlPlaneEndpoint has to be specified if controlPlaneLoadBalancer is not enabled"
            _refuse(new, "spec.controlPlaneEndpoint", text)
    if old is None:
        return
    _keep(new, old, "hcloudNetwork")
    before = old["spec"].get("controlPlaneLoadBalancer") or {}
    for name in ("enabled", "port", "region"):
        if before.get(name) != balancer.get(name):
            _refuse(new, f"spec.controlPlaneLoadBalancer.{name}", IMMUTABLE)


def _check_zones(new: Document, spec: Document) -> None:
    regions = spec.get("controlPlaneRegions") or []
    zones = {REGIONS.get(region, region) for region in regions}
    if len(zones) > 1:
        _refuse(new, "spec.controlPlaneRegions", f"Invalid value: {regions}: regions are not in one network zone")


def _hcloud_machine(new: Document, old: Document | None) -> None:
    new["spec"].setdefault("publicNetwork", {"enableIPv4": True, "enableIPv6": True})
    _keep(new, old, "type", "imageName", "sshKeys", "placementGroupName")


def _talos_control_plane(new: Document, old: Document | None) -> None:
    spec = new["spec"]
    spec.setdefault("replicas", 1)
    if isinstance(spec.get("version"), str) and not spec["version"].startswith("v"):
        spec["version"] = "v" + spec["version"]
    if isinstance(spec.get("infrastructureTemplate"), dict):
        _default_namespace(new, spec["infrastructureTemplate"])
    strategy = spec.setdefault("rolloutStrategy", {})
    if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
        strategy.setdefault("rollingUpdate", {}).setdefault("maxSurge", 1)
    elif strategy["type"] != "OnDelete":
        text = f'Unsupported value: "{strategy["type"]}": supported values: "RollingUpdate", "OnDelete"'
        _refuse(new, "spec.rolloutStrategy.type", text)


def _talos_config(new: Document, old: Document | None) -> None:
    source = ((new.get("spec") or {}).get("hostname") or {}).get("source", "")
    if source not in ("", "MachineName", "InfrastructureName"):
        text = f'Invalid value: "{source}": hostname source must be one of: MachineName, InfrastructureName'
        _refuse(new, "spec.hostname.source", text)
    _immutable_spec(new, old)


def _immutable_spec(new: Document, old: Document | None) -> None:
    if old is not None and old.get("spec") != new.get("spec"):
        _refuse(new, "spec", f"Invalid value: {new['kind']}.Spec is immutable")


def _keep(new: Document, old: Document | None, *fields: str) -> None:
    for field in fields:
        if old is not None and old["spec"].get(field) != new["spec"].get(field):
            _refuse(new, f"spec.{field}", IMMUTABLE)


def _label_cluster(new: Document, spec: Document) -> None:
    new["metadata"].setdefault("labels", {})[CLUSTER_NAME] = spec.get("clusterName", "")


def _default_machine(new: Document, spec: Document) -> None:
    config = (spec.get("bootstrap") or {}).get("configRef")
    for ref in (config, spec.get("infrastructureRef")):
        if isinstance(ref, dict):
            _default_namespace(new, ref)
    if isinstance(spec.get("version"), str) and not spec["version"].startswith("v"):
        spec["version"] = "v" + spec["version"]
    if new["kind"] == "Machine":
        spec.setdefault("nodeDeletionTimeout", NODE_DELETION_TIMEOUT)


def _default_namespace(new: Document, ref: Document) -> None:
    ref.setdefault("namespace", new["metadata"].get("namespace", ""))


def _is_network(text: Any) -> bool:
    try:
        return "/" in str(text) and bool(ipaddress.ip_network(str(text), strict=False))
    except ValueError:
        return False


def _refuse(new: Document, field: str, message: str) -> None:
    group = new["apiVersion"].partition("/")[0]
    reason = "FieldValueForbidden" if message.startswith("Forbidden") else "FieldValueInvalid"
    cause = {"reason": reason, "message": message, "field": field}
    refusal = invalid(new["kind"], group, new["metadata"].get("name", ""), [cause])
    raise RefusedRequest("Invalid", denial(new["kind"]) + refusal.message, [cause], refusal.details)


def denial(kind: str) -> str:
    """Return what an API server puts before what a kind's webhook says."""
    return f'admission webhook "{WEBHOOKS[kind]}" denied the request: '


PLUG_INS: dict[str, PlugIn] = {
    "Cluster": _cluster,
    "Machine": _machine,
    "MachineSet": _machine_set,
    "MachineDeployment": _machine_deployment,
    "MachineHealthCheck": _machine_health_check,
    "HetznerCluster": _hetzner_cluster,
    "HCloudMachine": _hcloud_machine,
    "HCloudMachineTemplate": _immutable_spec,
    "HCloudRemediationTemplate": _immutable_spec,
    "TalosControlPlane": _talos_control_plane,
    "TalosConfig": _talos_config,
    "TalosConfigTemplate": _immutable_spec,
}
WEBHOOKS = {
    "Cluster": "validation.cluster.cluster.x-k8s.io",
    "Machine": "validation.machine.cluster.x-k8s.io",
    "MachineSet": "validation.machineset.cluster.x-k8s.io",
    "MachineDeployment": "validation.machinedeployment.cluster.x-k8s.io",
    "MachineHealthCheck": "validation.machinehealthcheck.cluster.x-k8s.io",
    "HetznerCluster": "validation.hetznercluster.infrastructure.cluster.x-k8s.io",
    "HCloudMachine": "validation.hcloudmachine.infrastructure.cluster.x-k8s.io",
    "HCloudMachineTemplate": "validation.hcloudmachinetemplate.infrastructure.x-k8s.io",
    "HCloudRemediationTemplate": "vhcloudremediationtemplate.kb.io",
    "TalosControlPlane": "validate.taloscontrolplane.controlplane.cluster.x-k8s.io",
    "TalosConfig": "vtalosconfig.cluster.x-k8s.io",
    "TalosConfigTemplate": "vtalosconfigtemplate.cluster.x-k8s.io",
}
"""The validating webhooks, as a refusal names them."""
