"""When a server whose node stays not ready is rebooted. Applied last: nodes without a network are not ready either."""

from __future__ import annotations

from typing import Any

from tallship.manifests.cluster import CLUSTER_API, INFRASTRUCTURE_API
from tallship.manifests.yaml_text import Annotated, Comments
from tallship.spec import Spec
from tallship.spec.names import CONTROL_PLANE_LABEL, NAMESPACE

MOVE_LABEL = "clusterctl.cluster.x-k8s.io/move"
"""`clusterctl move` takes along what carries it, also where nothing owns it."""


def documents(spec: Spec) -> list[dict[str, Any]]:
    """Return the HCloudRemediationTemplate and the MachineHealthCheck; none where servers are not to be rebooted."""
    return [remediation(spec), health_check(spec)] if spec.health_checks.enabled else []


def remediation(spec: Spec) -> dict[str, Any]:
    """Return what is done to a server: reboots, as CACPPT v0.5.12 replaces none."""
    checks = spec.health_checks
    strategy = {"type": "Reboot", "retryLimit": checks.reboots, "timeout": f"{checks.reboot_seconds}s"}
    return {
        "apiVersion": INFRASTRUCTURE_API,
        "kind": "HCloudRemediationTemplate",
        "metadata": {"name": spec.names.health_check, "namespace": NAMESPACE, "labels": {MOVE_LABEL: ""}},
        "spec": {"template": {"spec": {"strategy": strategy}}},
    }


def health_check(spec: Spec) -> dict[str, Any]:
    """Return which servers it is done to."""
    checks = spec.health_checks
    timeout = f"{checks.unhealthy_seconds}s"
    return {
        "apiVersion": CLUSTER_API,
        "kind": "MachineHealthCheck",
        "metadata": {"name": spec.names.health_check, "namespace": NAMESPACE},
        "spec": {
            "clusterName": spec.names.cluster,
            "maxUnhealthy": max(1, (spec.control_plane.replicas - 1) // 2),
            "nodeStartupTimeout": f"{checks.startup_seconds}s",
            "selector": {"matchLabels": {"cluster.x-k8s.io/cluster-name": spec.names.cluster, CONTROL_PLANE_LABEL: ""}},
            "unhealthyConditions": [
                {"type": "Ready", "status": "Unknown", "timeout": timeout},
                {"type": "Ready", "status": "False", "timeout": timeout},
            ],
            "remediationTemplate": {
                "apiVersion": INFRASTRUCTURE_API,
                "kind": "HCloudRemediationTemplate",
                "name": spec.names.health_check,
                "namespace": NAMESPACE,
            },
        },
    }


_REMEDIATION_COMMENTS: Comments = {
    ("metadata", "labels"): "Nothing owns this object: without the label `clusterctl move` would leave it behind.",
}
_CHECK_COMMENTS: Comments = {
    (): "Applied when every node is ready: before that, servers that are only waiting for their network would reboot.",
    ("spec", "maxUnhealthy"): "With more than this many not ready etcd has no majority, and rebooting does not help.",
    ("spec", "unhealthyConditions"): "Longer than a boot takes.",
}


def annotated(spec: Spec) -> list[Annotated]:
    """Return the documents with comments for their reader."""
    comments = [_REMEDIATION_COMMENTS, _CHECK_COMMENTS]
    return [Annotated(document, notes) for document, notes in zip(documents(spec), comments, strict=False)]
