"""The status of a TalosControlPlane, from its Machines and the Nodes of the cluster."""

from __future__ import annotations

from tallship.lab.controllers.conditions import Conditions
from tallship.lab.controllers.informer import CachedApi
from tallship.lab.controllers.ownership import CLUSTER_LABEL, CONTROL_PLANE_LABEL
from tallship.lab.controllers.workload import WorkloadClients
from tallship.lab.kubeclient import Object

_ROLE = "node-role.kubernetes.io/control-plane"


async def update_status(
    api: CachedApi, clients: WorkloadClients, cluster: Object, plane: Object, machines: list[Object]
) -> None:
    """Count Machines and ready Nodes; the first answer of the cluster's API makes the control plane initialized."""
    meta, status = cluster["metadata"], plane.setdefault("status", {})
    status["selector"] = f"{CLUSTER_LABEL}={meta['name']},{CONTROL_PLANE_LABEL}="
    status["replicas"] = len(machines)
    versions = sorted(each["spec"].get("version", "") for each in machines)
    if versions:
        status["version"] = versions[0]
    nodes = await clients.list_nodes(meta["namespace"], meta["name"])
    ready = 0
    if nodes is not None:
        status["initialized"] = True
        Conditions(plane, api.now()).true("Available")
        ready = sum(_is_ready(node) for node in nodes if _ROLE in node["metadata"].get("labels", {}))
    _put(status, "readyReplicas", ready)
    _put(status, "unavailableReplicas", max(len(machines) - ready, 0))
    if ready or "ready" in status:
        status["ready"] = ready > 0


def _put(status: Object, key: str, count: int) -> None:
    """Set a count; Go leaves a zero out when it writes."""
    if count:
        status[key] = count
    else:
        status.pop(key, None)


def _is_ready(node: Object) -> bool:
    listed = node.get("status", {}).get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in listed)
