"""What Cluster API makes of a Machine's Node."""

from __future__ import annotations

from tallship.lab.controllers.conditions import Conditions
from tallship.lab.controllers.ownership import controller_of
from tallship.lab.kubeclient import Object

OUTDATED: Object = {"key": "node.cluster.x-k8s.io/outdated-revision", "effect": "PreferNoSchedule"}
"""On the Nodes of an older revision of a MachineDeployment, so that what is evicted does not go there."""

_PREFIX = "cluster.x-k8s.io"
_LABELS_TOLD = f"{_PREFIX}/labels-from-machine"
_ROLE, _MANAGED = "node-role.kubernetes.io", ("node-restriction.kubernetes.io", f"node.{_PREFIX}")

_INFO = (
    "architecture",
    "bootID",
    "containerRuntimeVersion",
    "kernelVersion",
    "kubeProxyVersion",
    "kubeletVersion",
    "machineID",
    "operatingSystem",
    "osImage",
    "systemUUID",
)
_PRESSURES = ("MemoryPressure", "DiskPressure", "PIDPressure")


def find(nodes: list[Object], provider_id: str) -> Object | None:
    """Return the Node with this providerID, or None."""
    return next((node for node in nodes if node["spec"].get("providerID") == provider_id), None)


def reference(node: Object) -> Object:
    """Return the reference that a Machine keeps of its Node."""
    meta = node["metadata"]
    return {"apiVersion": "v1", "kind": "Node", "name": meta["name"], "uid": meta["uid"]}


def info(node: Object) -> Object:
    """Return what a Machine repeats of its Node; Go writes every field, empty ones too."""
    found = node.get("status", {}).get("nodeInfo", {})
    return {**dict.fromkeys(_INFO, ""), **found}


def judge(conditions: Conditions, node: Object | None, known: bool) -> None:
    """Set the Machine's NodeHealthy (v1beta1 form) from its Node; `known` says that it once had one."""
    if node is None and known:
        message = "could not find node referenced in Machine status"
        conditions.false("NodeHealthy", "NodeNotFound", "Error", message)
    elif node is None:
        message = "Waiting for a node with matching ProviderID to exist"
        conditions.false("NodeHealthy", "NodeProvisioning", "Warning", message)
    elif troubles := _troubles(node):
        conditions.false("NodeHealthy", "NodeConditionsFailed", "Warning", ". ".join(troubles))
    else:
        conditions.true("NodeHealthy")


def ready_status(node: Object) -> tuple[str, str]:
    """Return (status, message) of a Node's Ready condition."""
    found = condition(node, "Ready")
    return found.get("status", "Unknown"), found.get("message") or "Condition not yet reported"


def unhealthy_lines(node: Object) -> list[str]:
    """Return a line for each condition of a Node that is not as it should be."""
    status, message = ready_status(node)
    lines = [] if status == "True" else [f"* Node.Ready: {message}"]
    for kind in _PRESSURES:
        pressure = condition(node, kind)
        if pressure.get("status") == "True":
            lines.append(f"* Node.{kind}: {pressure.get('message', '')}")
    return lines


def _troubles(node: Object) -> list[str]:
    troubles = []
    for kind, good in (("Ready", "True"), *((each, "False") for each in _PRESSURES)):
        status = condition(node, kind).get("status")
        if status is not None and status != good:
            troubles.append(f"Node condition {kind} is {status}")
    return troubles


def condition(node: Object, kind: str) -> dict[str, str]:
    """Return a condition of a Node; empty when it has none of that type."""
    listed: list[dict[str, str]] = node.get("status", {}).get("conditions", [])
    return next((each for each in listed if each["type"] == kind), {})


def marks(node: Object, machine: Object, outdated: bool | None) -> Object:
    """Return the merge patch that tells a Node of its Machine; empty when it knows.

    Cluster API v1.10: annotations that name the Machine and its owner, the labels of the Machine that are for Nodes
    (roles among them, which a kubelet may not give itself), and a taint on what is `outdated` (None: not known).
    """
    meta, labels = node["metadata"], _labels_for_node(machine)
    notes = {**_notes(machine), _LABELS_TOLD: ",".join(sorted(labels)), f"{_PREFIX}/annotations-from-machine": ""}
    known, there = meta.get("annotations", {}), meta.get("labels", {})
    told = [each for each in known.get(_LABELS_TOLD, "").split(",") if each]
    new: Object = {key: value for key, value in labels.items() if there.get(key) != value}
    new |= {key: None for key in told if key not in labels}
    changed = {key: value for key, value in notes.items() if known.get(key) != value}
    patch: Object = {}
    if new or changed:
        patch["metadata"] = {"labels": new, "annotations": changed}
    taints = node["spec"].get("taints", [])
    wanted = [each for each in taints if each["key"] != OUTDATED["key"]] + ([OUTDATED] if outdated else [])
    if outdated is not None and len(wanted) != len(taints):
        patch["spec"] = {"taints": wanted}
        patch.setdefault("metadata", {})["resourceVersion"] = meta["resourceVersion"]
    return patch


def _notes(machine: Object) -> dict[str, str]:
    meta, owner = machine["metadata"], controller_of(machine)
    notes = {
        f"{_PREFIX}/cluster-name": machine["spec"]["clusterName"],
        f"{_PREFIX}/cluster-namespace": meta["namespace"],
        f"{_PREFIX}/machine": meta["name"],
    }
    if owner is not None:
        notes |= {f"{_PREFIX}/owner-kind": owner["kind"], f"{_PREFIX}/owner-name": owner["name"]}
    return notes


def _labels_for_node(machine: Object) -> dict[str, str]:
    found = {}
    for key, value in machine["metadata"].get("labels", {}).items():
        domain = key.partition("/")[0]
        if domain == _ROLE or any(domain == each or domain.endswith(f".{each}") for each in _MANAGED):
            found[key] = value
    return found
