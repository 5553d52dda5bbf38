"""What the providers' webhooks do to their objects: defaults and refusals, as plug-ins of the API server.

Sources: the webhooks of Cluster API v1.10.10, CAPH v1.0.7, CABPT v0.6.11 and CACPPT v0.5.12.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tallship.lab.kube.errors import RefusedRequest, invalid

Document = dict[str, Any]


def admit(new: Document, old: Document | None) -> None:
    """Fill in what the kind's webhook fills in. Raises RefusedRequest for what it refuses."""
    plug_in = PLUG_INS.get(new["kind"])
    if plug_in is not None and "deletionTimestamp" not in new["metadata"]:
        plug_in(new, old)


def _cluster(new: Document, old: Document | None) -> None:
    namespace = new["metadata"].get("namespace", "")
    spec = new.setdefault("spec", {})
    for name in ("infrastructureRef", "controlPlaneRef"):
        ref = spec.get(name)
        if ref is not None:
            ref.setdefault("namespace", namespace)
            if ref["namespace"] != namespace:
                _refuse(
                    new, f"spec.{name}.namespace", f'Invalid value: "{ref["namespace"]}": must match metadata.namespace'
                )
        elif old is not None and (old.get("spec") or {}).get(name):
            _refuse(new, f"spec.{name}", "Forbidden: cannot be removed")


def _hetzner_cluster(new: Document, old: Document | None) -> None:
    spec = new["spec"]
    balancer = spec.get("controlPlaneLoadBalancer") or {}
    if balancer.get("enabled"):
        if not balancer.get("region"):
            _refuse(
                new,
                "spec.controlPlaneLoadBalancer.region",
                'Invalid value: "": region should not be empty if load balancer is enabled',
            )
    elif not (spec.get("controlPlaneEndpoint") or {}).get("host"):
        _refuse(
            new,
            "spec.controlPlaneEndpoint",
            "Invalid value: null: controlPlaneEndpoint has to be specified if controlPlaneLoadBalancer is not enabled",
        )
    if old is None:
        return
    before = old["spec"]
    if before.get("hcloudNetwork") != spec.get("hcloudNetwork"):
        _refuse(new, "spec.hcloudNetwork", "Invalid value: field is immutable")
    was = before.get("controlPlaneLoadBalancer") or {}
    for name in ("enabled", "port", "region"):
        if was.get(name) != balancer.get(name):
            _refuse(new, f"spec.controlPlaneLoadBalancer.{name}", "Invalid value: field is immutable")


def _machine_template(new: Document, old: Document | None) -> None:
    if old is not None and old.get("spec") != new.get("spec"):
        _refuse(new, "spec", "Invalid value: HCloudMachineTemplate.Spec is immutable")


def _hcloud_machine(new: Document, old: Document | None) -> None:
    new["spec"].setdefault("publicNetwork", {"enableIPv4": True, "enableIPv6": True})
    for name in ("type", "imageName", "sshKeys", "placementGroupName"):
        if old is not None and old["spec"].get(name) != new["spec"].get(name):
            _refuse(new, f"spec.{name}", "Invalid value: field is immutable")


def _talos_control_plane(new: Document, old: Document | None) -> None:
    spec = new["spec"]
    spec.setdefault("replicas", 1)
    if isinstance(spec.get("version"), str) and not spec["version"].startswith("v"):
        spec["version"] = "v" + spec["version"]
    if isinstance(spec.get("infrastructureTemplate"), dict):
        spec["infrastructureTemplate"].setdefault("namespace", new["metadata"].get("namespace", ""))
    strategy = spec.setdefault("rolloutStrategy", {})
    strategy.setdefault("type", "RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        strategy.setdefault("rollingUpdate", {}).setdefault("maxSurge", 1)
    elif strategy["type"] != "OnDelete":
        text = f'Unsupported value: "{strategy["type"]}": supported values: "RollingUpdate", "OnDelete"'
        _refuse(new, "spec.rolloutStrategy.type", text)


def _talos_config(new: Document, old: Document | None) -> None:
    source = (new.get("spec", {}).get("hostname") or {}).get("source", "")
    if source not in ("", "MachineName", "InfrastructureName"):
        _refuse(
            new,
            "spec.hostname.source",
            f'Invalid value: "{source}": hostname source must be one of: MachineName, InfrastructureName',
        )
    if old is not None and old.get("spec") != new.get("spec"):
        _refuse(new, "spec", "Invalid value: TalosConfigSpec is immutable")


def _talos_config_template(new: Document, old: Document | None) -> None:
    if old is not None and old.get("spec") != new.get("spec"):
        _refuse(new, "spec", "Invalid value: TalosConfigTemplateSpec is immutable")


def _machine_health_check(new: Document, old: Document | None) -> None:
    spec = new["spec"]
    spec.setdefault("maxUnhealthy", "100%")
    spec.setdefault("nodeStartupTimeout", "10m0s")
    new["metadata"].setdefault("labels", {})["cluster.x-k8s.io/cluster-name"] = spec.get("clusterName", "")
    if not spec.get("selector"):
        _refuse(new, "spec.selector", "Required value: selector must not be empty")
    if isinstance(spec.get("remediationTemplate"), dict):
        spec["remediationTemplate"].setdefault("namespace", new["metadata"].get("namespace", ""))
    if old is not None and old["spec"].get("clusterName") != spec.get("clusterName"):
        _refuse(new, "spec.clusterName", "Invalid value: field is immutable")


def _remediation_template(new: Document, old: Document | None) -> None:
    if old is not None and old.get("spec") != new.get("spec"):
        _refuse(new, "spec", "Invalid value: HCloudRemediationTemplate.Spec is immutable")


PLUG_INS: dict[str, Callable[[Document, Document | None], None]] = {
    "Cluster": _cluster,
    "HetznerCluster": _hetzner_cluster,
    "HCloudMachineTemplate": _machine_template,
    "HCloudMachine": _hcloud_machine,
    "HCloudRemediationTemplate": _remediation_template,
    "TalosControlPlane": _talos_control_plane,
    "TalosConfig": _talos_config,
    "TalosConfigTemplate": _talos_config_template,
    "MachineHealthCheck": _machine_health_check,
}


def _refuse(new: Document, field: str, message: str) -> None:
    group = new["apiVersion"].partition("/")[0]
    cause = {"reason": "FieldValueInvalid", "message": message, "field": field}
    refusal = invalid(new["kind"], group, new["metadata"].get("name", ""), [cause])
    refusal.message = f"admission webhook denied the request: {refusal.message}"
    raise RefusedRequest("Invalid", refusal.message, [cause])
