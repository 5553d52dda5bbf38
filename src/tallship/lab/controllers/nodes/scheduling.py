"""PURE: which node a Pod may run on, and what its template asks of a node."""

from __future__ import annotations

import hashlib
import json

from tallship.lab.controllers.nodes.mirror import condition
from tallship.lab.kubeclient import Object

_DAEMON_TOLERATIONS: list[Object] = [
    {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute"},
    {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute"},
    {"key": "node.kubernetes.io/disk-pressure", "operator": "Exists", "effect": "NoSchedule"},
    {"key": "node.kubernetes.io/memory-pressure", "operator": "Exists", "effect": "NoSchedule"},
    {"key": "node.kubernetes.io/pid-pressure", "operator": "Exists", "effect": "NoSchedule"},
    {"key": "node.kubernetes.io/unschedulable", "operator": "Exists", "effect": "NoSchedule"},
]
"""What the DaemonSet controller adds to every Pod's tolerations (Kubernetes: DaemonSet, taints and tolerations)."""

_CORDON: Object = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
"""What the scheduler takes a cordon for."""


def template_hash(workload: Object) -> str:
    """Return the hash that tells Pods of one revision of a template from another's."""
    text = json.dumps(workload["spec"]["template"], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def tolerations(workload: Object) -> list[Object]:
    """Return the tolerations of a workload's Pods."""
    written: list[Object] = workload["spec"]["template"]["spec"].get("tolerations", [])
    return [*written, *_DAEMON_TOLERATIONS] if workload["kind"] == "DaemonSet" else written


def obstacle(pod_spec: Object, node: Object) -> str:
    """Return why a Pod may not be scheduled on a node, in the scheduler's words; empty when it may."""
    for taint in node.get("spec", {}).get("taints", []):
        tolerated = any(_tolerates(each, taint) for each in pod_spec.get("tolerations", []))
        if taint["effect"] in ("NoSchedule", "NoExecute") and not tolerated:
            return f"node(s) had untolerated taint {{{taint['key']}: {taint.get('value', '')}}}"
    if node.get("spec", {}).get("unschedulable") and not any(
        _tolerates(each, _CORDON) for each in pod_spec.get("tolerations", [])
    ):
        return "node(s) were unschedulable"
    labels = node["metadata"].get("labels", {})
    if any(labels.get(key) != value for key, value in pod_spec.get("nodeSelector", {}).items()):
        return "node(s) didn't match Pod's node affinity/selector"
    return ""


def choose(pod_spec: Object, nodes: list[Object], load: dict[str, int]) -> tuple[str, str]:
    """Return (node with the fewest Pods that fits, "") or ("", the scheduler's message)."""
    obstacles = {node["metadata"]["name"]: obstacle(pod_spec, node) for node in nodes}
    fitting = [name for name, text in obstacles.items() if not text]
    if fitting:
        return min(fitting, key=lambda name: (load.get(name, 0), name)), ""
    counts: dict[str, int] = {}
    for text in obstacles.values():
        counts[text] = counts.get(text, 0) + 1
    reasons = ", ".join(f"{count} {text}" for text, count in sorted(counts.items()))
    return "", f"0/{len(nodes)} nodes are available: {reasons}." if nodes else "no nodes available to schedule pods"


def is_ready(pod: Object) -> bool:
    """True for a Pod that is ready."""
    return condition(pod, "Ready").get("status") == "True"


def missing_volume(pod_spec: Object, secrets: set[str], config_maps: set[str]) -> str:
    """Return what keeps the Pod's volumes from being mounted, in kubelet's words; empty when nothing does."""
    for volume in pod_spec.get("volumes", []):
        secret, config = volume.get("secret"), volume.get("configMap")
        if secret and not secret.get("optional") and secret["secretName"] not in secrets:
            return f'MountVolume.SetUp failed for volume "{volume["name"]}" : secret "{secret["secretName"]}" not found'
        if config and not config.get("optional") and config["name"] not in config_maps:
            return f'MountVolume.SetUp failed for volume "{volume["name"]}" : configmap "{config["name"]}" not found'
    return ""


def missing_value(pod_spec: Object, namespace: str, values: dict[tuple[str, str], Object]) -> str:
    """Return what keeps the containers' environment from being made, in kubelet's words; empty when nothing does.

    `values` holds the `data` of Secrets and ConfigMaps by (kind, name).
    """
    for container in pod_spec["containers"]:
        for variable in container.get("env", []):
            found = variable.get("valueFrom", {})
            for field, kind, word in (
                ("secretKeyRef", "Secret", "Secret"),
                ("configMapKeyRef", "ConfigMap", "ConfigMap"),
            ):
                reference = found.get(field)
                if not reference or reference.get("optional"):
                    continue
                data = values.get((kind, reference["name"]))
                if data is None:
                    return f'{kind.lower()} "{reference["name"]}" not found'
                if reference["key"] not in data:
                    return f"couldn't find key {reference['key']} in {word} {namespace}/{reference['name']}"
    return ""


def _tolerates(toleration: Object, taint: Object) -> bool:
    if toleration.get("effect") not in (None, "", taint["effect"]):
        return False
    if toleration.get("operator") == "Exists":
        return toleration.get("key") in (None, "", taint["key"])
    return bool(toleration.get("key") == taint["key"] and toleration.get("value", "") == taint.get("value", ""))


def runs(pod: Object, container: str) -> bool:
    """True for a ready Pod that has a container of that name."""
    return is_ready(pod) and any(each["name"] == container for each in pod["spec"]["containers"])
