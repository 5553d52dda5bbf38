"""The v1beta2 conditions of a Cluster, as Cluster API v1.10 words them."""

from __future__ import annotations

from datetime import timedelta

from tallship.lab.clock import created, wall
from tallship.lab.controllers.conditions import (
    Condition,
    Conditions,
    aggregate_new,
    find,
    find_new,
    summarize_new,
)
from tallship.lab.controllers.core.references import control_plane_machines, referenced, worker_machines
from tallship.lab.controllers.core.remote import Remote
from tallship.lab.controllers.informer import CachedApi
from tallship.lab.controllers.ownership import CLUSTER_LABEL, is_deleting
from tallship.lab.kubeclient import Object

ORDER = (
    "Available",
    "RemoteConnectionProbe",
    "InfrastructureReady",
    "ControlPlaneInitialized",
    "ControlPlaneAvailable",
    "WorkersAvailable",
    "RollingOut",
    "Remediating",
    "ScalingDown",
    "ScalingUp",
    "ControlPlaneMachinesReady",
    "WorkerMachinesReady",
    "ControlPlaneMachinesUpToDate",
    "WorkerMachinesUpToDate",
    "Paused",
    "Deleting",
)

# CACPPT v0.5.12 reports none of these in the v1beta2 form, so they tell of MachineDeployments alone.
_OPERATIONS = ("RollingOut", "Remediating", "ScalingDown", "ScalingUp")
_AVAILABLE_FROM = (
    "Deleting",
    "RemoteConnectionProbe",
    "InfrastructureReady",
    "ControlPlaneAvailable",
    "WorkersAvailable",
)
_COUNTERS = ("readyReplicas", "availableReplicas", "upToDateReplicas")
_UP_TO_DATE_GRACE = timedelta(seconds=10)
"""A Machine this young may still report UpToDate."""


def update(api: CachedApi, remote: Remote, cluster: Object, deleting: tuple[str, str] | None = None) -> None:
    """Set all v1beta2 conditions of a Cluster; `deleting` is (reason, message) of its deletion."""
    conditions = Conditions(cluster, api.now())
    _remote_connection(conditions, remote)
    _mirrored(api, conditions, cluster)
    meta = cluster["metadata"]
    deployments = api.list("MachineDeployment", meta["namespace"], {CLUSTER_LABEL: meta["name"]})
    _deployments(conditions, deployments)
    _machines(api, conditions, "ControlPlane", control_plane_machines(api, meta["namespace"], meta["name"]))
    _machines(api, conditions, "Worker", worker_machines(api, meta["namespace"], meta["name"]))
    conditions.new("Deleting", *(("True", *deleting) if deleting else ("False", "NotDeleting")))
    _available(conditions, cluster)
    conditions.sort_new(ORDER)
    _replicas(api, cluster, deployments)


def _remote_connection(conditions: Conditions, remote: Remote) -> None:
    if remote.connected:
        conditions.new("RemoteConnectionProbe", "True", "ProbeSucceeded")
        return
    since = f", probe last succeeded at {remote.last_success}" if remote.last_success else ""
    conditions.new("RemoteConnectionProbe", "False", "ProbeFailed", f"Remote connection probe failed{since}")


def _mirrored(api: CachedApi, conditions: Conditions, cluster: Object) -> None:
    infrastructure = referenced(api, cluster, cluster["spec"].get("infrastructureRef"))
    conditions.new("InfrastructureReady", *mirror(infrastructure, cluster, "infrastructureRef", "Ready", "NotReady"))
    initialized = find(cluster, "ControlPlaneInitialized")
    if initialized is not None and initialized["status"] == "True":
        conditions.new("ControlPlaneInitialized", "True", "Initialized")
    else:
        conditions.new("ControlPlaneInitialized", "False", "NotInitialized", "Control plane not yet initialized")
    plane = referenced(api, cluster, cluster["spec"].get("controlPlaneRef"))
    wanted = mirror(plane, cluster, "controlPlaneRef", "Available", "NotAvailable")
    conditions.new("ControlPlaneAvailable", *wanted)


def mirror(source: Object | None, item: Object, field: str, kind: str, otherwise: str) -> tuple[str, str, str]:
    """Return (status, reason, message) for a condition that repeats one of a provider's object."""
    name = (item["spec"].get(field) or {}).get("kind", "object")
    if source is None and is_deleting(item):
        return "False", "ObjectDeleted", f"{name} has been deleted"
    if source is None:
        return "False", "ObjectDoesNotExist", f"{name} does not exist"
    condition = find(source, kind)
    if condition is None:
        ready = bool(source.get("status", {}).get("ready"))
        message = "" if ready else f"{name} status.ready is false"
        return str(ready), kind if ready else otherwise, message
    reason = condition.get("reason") or (kind if condition["status"] == "True" else otherwise)
    return condition["status"], reason, condition.get("message", "")


def _deployments(conditions: Conditions, deployments: list[Object]) -> None:
    if deployments:
        status, message = aggregate_new(deployments, "Available", noun="MachineDeployment")
        reasons = {"True": "Available", "False": "NotAvailable", "Unknown": "AvailableUnknown"}
        conditions.new("WorkersAvailable", status, reasons[status], message)
    else:
        conditions.new("WorkersAvailable", "True", "NoWorkers")
    for kind in _OPERATIONS:
        status, message = aggregate_new(deployments, kind, "False", "MachineDeployment")
        reasons = {"True": kind, "False": f"Not{kind}", "Unknown": f"{kind}Unknown"}
        conditions.new(kind, status, reasons[status], message)


def _machines(api: CachedApi, conditions: Conditions, whose: str, machines: list[Object]) -> None:
    reasons = {"True": "Ready", "False": "NotReady", "Unknown": "ReadyUnknown"}
    _over_machines(conditions, f"{whose}MachinesReady", "Ready", machines, reasons)
    old_enough = [each for each in machines if find_new(each, "UpToDate") or _age(api, each) > _UP_TO_DATE_GRACE]
    reasons = {"True": "UpToDate", "False": "NotUpToDate", "Unknown": "UpToDateUnknown"}
    _over_machines(conditions, f"{whose}MachinesUpToDate", "UpToDate", old_enough, reasons)


def _over_machines(
    conditions: Conditions, kind: str, source: str, machines: list[Object], reasons: dict[str, str]
) -> None:
    if not machines:
        conditions.new(kind, "True", "NoReplicas")
        return
    status, message = aggregate_new(machines, source)
    conditions.new(kind, status, reasons[status], message)


def _available(conditions: Conditions, cluster: Object) -> None:
    deleting = is_deleting(cluster)

    def message(condition: Condition) -> str | None:
        if deleting and condition["type"] != "Deleting":
            return None
        return str(condition["message"] or condition["reason"])

    status, text = summarize_new(cluster, _AVAILABLE_FROM, message)
    reasons = {"True": "Available", "False": "NotAvailable", "Unknown": "AvailableUnknown"}
    conditions.new("Available", status, reasons[status], text)


def _replicas(api: CachedApi, cluster: Object, deployments: list[Object]) -> None:
    plane = referenced(api, cluster, cluster["spec"].get("controlPlaneRef"))
    counts = {}
    if plane is not None:
        status = plane.get("status", {})
        found = {
            "desiredReplicas": plane["spec"].get("replicas"),
            "replicas": status.get("replicas"),
            "readyReplicas": status.get("readyReplicas"),
        }
        counts = {key: value for key, value in found.items() if value is not None}
    cluster["status"]["v1beta2"] |= {"controlPlane": counts, "workers": _workers(deployments)}


def _workers(deployments: list[Object]) -> Object:
    if not deployments:
        return {}
    counts = {
        "desiredReplicas": sum(each["spec"].get("replicas", 0) for each in deployments),
        "replicas": sum(each.get("status", {}).get("replicas", 0) for each in deployments),
    }
    told = [each.get("status", {}).get("v1beta2", {}) for each in deployments]
    for field in _COUNTERS:
        known = [each[field] for each in told if field in each]
        counts |= {field: sum(known)} if known else {}
    return counts


def _age(api: CachedApi, machine: Object) -> timedelta:
    return wall(api.clock) - created(api.clock, machine)
