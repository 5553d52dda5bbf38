"""The conditions of a Machine in both forms, as Cluster API v1.10 words them."""

from __future__ import annotations

from tallship.lab.controllers.conditions import Condition, Conditions, find_new, summarize_new
from tallship.lab.controllers.core import nodes
from tallship.lab.controllers.core.cluster import is_initialized
from tallship.lab.controllers.core.cluster_conditions import mirror
from tallship.lab.controllers.core.references import referenced
from tallship.lab.controllers.core.remote import Remotes
from tallship.lab.controllers.informer import CachedApi
from tallship.lab.controllers.ownership import is_deleting
from tallship.lab.kubeclient import Object

ORDER = (
    "Available",
    "Ready",
    "UpToDate",
    "BootstrapConfigReady",
    "InfrastructureReady",
    "NodeHealthy",
    "NodeReady",
    "HealthCheckSucceeded",
    "OwnerRemediated",
    "Paused",
    "Deleting",
)
_READY_FROM = (
    "InfrastructureReady",
    "BootstrapReady",
    "HealthCheckSucceeded",
    "OwnerRemediated",
    "DrainingSucceeded",
)
_NEW_READY_FROM = ("Deleting", "BootstrapConfigReady", "InfrastructureReady", "NodeHealthy", "HealthCheckSucceeded")
_GONE = ("ObjectDeleted", "NodeDeleted")


def update(
    api: CachedApi, remotes: Remotes, cluster: Object, machine: Object, deleting: tuple[str, str] | None = None
) -> None:
    """Set the conditions of a Machine; `deleting` is (reason, message) of its deletion."""
    conditions = Conditions(machine, api.now())
    counting = not is_deleting(machine) and not _had_provider_id(api, machine)
    conditions.summarize(_READY_FROM, ("BootstrapReady", "InfrastructureReady") if counting else ())
    bootstrap = referenced(api, machine, machine["spec"]["bootstrap"].get("configRef"))
    _mirror(conditions, machine, "BootstrapConfigReady", bootstrap, machine["spec"]["bootstrap"].get("configRef"))
    infrastructure = referenced(api, machine, machine["spec"]["infrastructureRef"])
    _mirror(conditions, machine, "InfrastructureReady", infrastructure, machine["spec"]["infrastructureRef"])
    _node(remotes, conditions, cluster, machine)
    conditions.new("Deleting", *(("True", *deleting) if deleting else ("False", "NotDeleting")))
    _ready(conditions, machine)
    conditions.sort_new(ORDER)


def _had_provider_id(api: CachedApi, machine: Object) -> bool:
    """True when the Machine had its providerID before this pass: steps are counted until then."""
    meta = machine["metadata"]
    stored = api.get("Machine", meta["name"], meta["namespace"])
    return stored is not None and bool(stored["spec"].get("providerID"))


def _mirror(conditions: Conditions, machine: Object, kind: str, source: Object | None, ref: Object | None) -> None:
    carrier = {"metadata": machine["metadata"], "spec": {"ref": ref}}
    status, reason, message = mirror(source, carrier, "ref", "Ready", "NotReady")
    conditions.new(kind, status, reason, message)


def _node(remotes: Remotes, conditions: Conditions, cluster: Object, machine: Object) -> None:
    """Set NodeHealthy and NodeReady; while the cluster does not answer they stay as they were."""
    if not cluster.get("status", {}).get("infrastructureReady"):
        return _uninspected(conditions, "Waiting for Cluster status.infrastructureReady to be true")
    remote = remotes.of((machine["metadata"]["namespace"], cluster["metadata"]["name"]))
    if not is_initialized(cluster) or (not remote.connected and find_new(machine, "NodeHealthy") is None):
        return _uninspected(conditions, "Waiting for Cluster control plane to be initialized")
    if not remote.connected:
        return None
    provider_id = machine["spec"].get("providerID")
    if not provider_id:
        kind = machine["spec"]["infrastructureRef"]["kind"]
        return _uninspected(conditions, f"Waiting for {kind} to report spec.providerID")
    node = nodes.find(remote.list_nodes(), provider_id)
    if node is not None:
        return _inspected(conditions, node)
    name = machine.get("status", {}).get("nodeRef", {}).get("name")
    if not name:
        return _uninspected(conditions, f"Waiting for a Node with spec.providerID {provider_id} to exist")
    gone = "has been deleted" if is_deleting(machine) else "has been deleted while the Machine still exists"
    for kind in ("NodeHealthy", "NodeReady"):
        conditions.new(kind, "False", "NodeDeleted", f"Node {name} {gone}")
    return None


def _uninspected(conditions: Conditions, message: str) -> None:
    for kind in ("NodeHealthy", "NodeReady"):
        conditions.new(kind, "Unknown", "InspectionFailed", message)


def _inspected(conditions: Conditions, node: Object) -> None:
    lines = nodes.unhealthy_lines(node)
    if lines:
        conditions.new("NodeHealthy", "False", "NodeNotHealthy", "\n".join(lines))
    else:
        conditions.new("NodeHealthy", "True", "NodeHealthy")
    status, message = nodes.ready_status(node)
    if status == "True":
        conditions.new("NodeReady", "True", "NodeReady")
    else:
        conditions.new("NodeReady", status, "NodeNotReady", f"* Node.Ready: {message}")


def _ready(conditions: Conditions, machine: Object) -> None:
    deleting = is_deleting(machine)

    def message(condition: Condition) -> str | None:
        if condition["type"] == "Deleting":
            return f"Machine deletion in progress, stage: {condition['reason']}"
        if deleting and condition["reason"] in _GONE:
            return None
        return str(condition["message"] or condition["reason"])

    status, text = summarize_new(machine, _NEW_READY_FROM, message)
    reasons = {"True": "Ready", "False": "NotReady", "Unknown": "ReadyUnknown"}
    conditions.new("Ready", status, reasons[status], text)
    available = ("True", "Available") if status == "True" else ("False", "NotReady")
    conditions.new("Available", *available)
