"""When a server whose node stays not ready is rebooted, or replaced if it is a worker.

Applied last: nodes without a network are not ready either.
"""

from __future__ import annotations

from typing import Any

from tallship.manifests.cluster import CLUSTER_API, INFRASTRUCTURE_API
from tallship.manifests.workers import DEPLOYMENT_LABEL
from tallship.manifests.yaml_text import Annotated, Comments
from tallship.spec import Spec
from tallship.spec.names import CLUSTER_LABEL, CONTROL_PLANE_LABEL, NAMESPACE

MOVE_LABEL = "clusterctl.cluster.x-k8s.io/move"
"""`clusterctl move` takes along what carries it, also where nothing owns it."""


def documents(spec: Spec) -> list[dict[str, Any]]:
    """Return the HCloudRemediationTemplate and the MachineHealthChecks; none where servers are to be left alone."""
    if not spec.health_checks.enabled:
        return []
    return [remediation(spec), health_check(spec), *([workers(spec)] if spec.workers else [])]


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
    """Return which control planes it is done to."""
    most = max(1, (spec.control_plane.replicas - 1) // 2)
    check = _check(spec, spec.names.health_check, most, {"matchLabels": {**_cluster(spec), CONTROL_PLANE_LABEL: ""}})
    check["spec"]["remediationTemplate"] = {
        "apiVersion": INFRASTRUCTURE_API,
        "kind": "HCloudRemediationTemplate",
        "name": spec.names.health_check,
        "namespace": NAMESPACE,
    }
    return check


def workers(spec: Spec) -> dict[str, Any]:
    """Return which workers are replaced: without a template Cluster API deletes the Machine, and its set makes another.

    One for all pools: what makes many nodes unready at once, such as a network that fails, is no matter of one pool,
    and a pool of one server has no share of itself to lose.
    """
    most = max(1, sum(pool.replicas for pool in spec.workers) // 3)
    expressions = [{"key": DEPLOYMENT_LABEL, "operator": "Exists"}]
    selector = {"matchLabels": _cluster(spec), "matchExpressions": expressions}
    return _check(spec, spec.names.workers_health_check, most, selector)


def _cluster(spec: Spec) -> dict[str, str]:
    return {CLUSTER_LABEL: spec.names.cluster}


def _check(spec: Spec, name: str, most: int, selector: dict[str, Any]) -> dict[str, Any]:
    checks = spec.health_checks
    timeout = f"{checks.unhealthy_seconds}s"
    return {
        "apiVersion": CLUSTER_API,
        "kind": "MachineHealthCheck",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "clusterName": spec.names.cluster,
            "maxUnhealthy": most,
            "nodeStartupTimeout": f"{checks.startup_seconds}s",
            "selector": selector,
            "unhealthyConditions": [
                {"type": "Ready", "status": "Unknown", "timeout": timeout},
                {"type": "Ready", "status": "False", "timeout": timeout},
            ],
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


_WORKERS_COMMENTS: Comments = {
    (): "Without a remediationTemplate Cluster API deletes the Machine of a worker, and its set makes another.",
    (
        "spec",
        "maxUnhealthy",
    ): "With more than these not ready something else is wrong, and new servers do not help.",
}


def annotated(spec: Spec) -> list[Annotated]:
    """Return the documents with comments for their reader."""
    comments = [_REMEDIATION_COMMENTS, _CHECK_COMMENTS, _WORKERS_COMMENTS]
    return [Annotated(document, notes) for document, notes in zip(documents(spec), comments, strict=False)]
