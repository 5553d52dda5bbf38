"""The status of a MachineSet in both forms, as Cluster API v1.10 writes it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Protocol

from tallship.lab.clock import LabClock, created, wall
from tallship.lab.controllers.conditions import Conditions, aggregate_new, find_new, some
from tallship.lab.controllers.core import nodes, revisions
from tallship.lab.controllers.core.machine_remediation import is_asked_for, is_sick
from tallship.lab.controllers.core.remote import Remote
from tallship.lab.controllers.informer import CachedApi
from tallship.lab.controllers.ownership import is_deleting
from tallship.lab.kubeclient import Object

ORDER = (
    "Available",
    "RollingOut",
    "Remediating",
    "ScalingDown",
    "ScalingUp",
    "MachinesReady",
    "MachinesUpToDate",
    "Paused",
    "Deleting",
)
_UP_TO_DATE_GRACE = timedelta(seconds=10)
"""A Machine this young may still report UpToDate."""


class Pass(Protocol):
    """What one pass over a MachineSet has found."""

    item: Object
    machines: list[Object]
    missing: list[str]
    obstacles: list[str]


def update(api: CachedApi, remote: Remote, work: Pass) -> None:
    """Set the status of a MachineSet from its Machines and their Nodes."""
    _count(api.clock, remote, work)
    conditions = Conditions(work.item, api.now())
    _resized(conditions, work)
    conditions.aggregate("MachinesReady", work.machines)
    conditions.summarize(("MachinesCreated", "Resized", "MachinesReady"))
    item, desired = work.item, desired_replicas(work.item)
    up = list(work.obstacles) + ([_missing(work.missing)] if work.missing else [])
    blocked = " is blocked because:\n" + "\n".join(f"* {each}" for each in up) if up else ""
    unwanted = f"Scaling up would be blocked because {_missing(work.missing)}" if work.missing else ""
    scaling(conditions, len(work.machines), desired, blocked, "" if is_deleting(item) else unwanted)
    over_machines(api.clock, conditions, work.machines)
    remediating(conditions, work.machines, "MachineSet")
    deleting(conditions, item, len(work.machines))
    conditions.sort_new(ORDER)
    item["status"]["v1beta2"] |= counts(work.machines)


def up_to_date(machine_set: Object, deployment: Object | None, clock: LabClock) -> tuple[str, str, str] | None:
    """Return (status, reason, message) of its Machines' UpToDate; None for a MachineSet without a deployment."""
    if deployment is None:
        return None
    lines = revisions.differences(machine_set["spec"]["template"], deployment["spec"]["template"])
    if revisions.is_expired(deployment, machine_set, clock):
        lines.append("MachineDeployment spec.rolloutAfter expired")
    if lines:
        return "False", "NotUpToDate", "\n".join(f"* {each}" for each in lines)
    return "True", "UpToDate", ""


def desired_replicas(item: Object) -> int:
    """Return how many replicas there should be: none of what is being deleted."""
    return 0 if is_deleting(item) else int(item["spec"]["replicas"])


def selector_text(selector: Object) -> str:
    """Return a selector of labels as the scale subresource tells it."""
    return ",".join(f"{key}={value}" for key, value in sorted(selector.get("matchLabels", {}).items()))


def counts(machines: list[Object]) -> Object:
    """Return the counters of the v1beta2 status."""
    kinds = {"readyReplicas": "Ready", "availableReplicas": "Available", "upToDateReplicas": "UpToDate"}
    return {
        field: sum((find_new(each, kind) or {}).get("status") == "True" for each in machines)
        for field, kind in kinds.items()
    }


def scaling(conditions: Conditions, actual: int, desired: int, blocked: str, unwanted: str) -> None:
    """Set ScalingUp and ScalingDown; `blocked` is what stands in the way, `unwanted` what would."""
    if actual < desired:
        text = f"Scaling up from {actual} to {desired} replicas{blocked}"
        conditions.new("ScalingUp", "True", "ScalingUp", text)
    else:
        conditions.new("ScalingUp", "False", "NotScalingUp", unwanted)
    if actual > desired:
        conditions.new("ScalingDown", "True", "ScalingDown", f"Scaling down from {actual} to {desired} replicas")
    else:
        conditions.new("ScalingDown", "False", "NotScalingDown")


def over_machines(clock: LabClock, conditions: Conditions, machines: list[Object]) -> None:
    """Set MachinesReady and MachinesUpToDate (v1beta2 form)."""
    known = [each for each in machines if find_new(each, "UpToDate") or _age(clock, each) > _UP_TO_DATE_GRACE]
    for kind, source, chosen in (("MachinesReady", "Ready", machines), ("MachinesUpToDate", "UpToDate", known)):
        if not chosen:
            conditions.new(kind, "True", "NoReplicas")
            continue
        status, text = aggregate_new(chosen, source)
        reasons = {"True": source, "False": f"Not{source}", "Unknown": f"{source}Unknown"}
        conditions.new(kind, status, reasons[status], text)


def remediating(conditions: Conditions, machines: list[Object], owner: str) -> None:
    """Set Remediating, from the Machines whose health check leaves it to their owner; others are named."""
    asked = [each for each in machines if is_asked_for(each)]
    if asked:
        conditions.new("Remediating", "True", "Remediating", aggregate_new(asked, "OwnerRemediated")[1])
        return
    sick, text = [each["metadata"]["name"] for each in machines if is_sick(each)], ""
    if sick:
        who = f"Machine {some(sick)} is" if len(sick) == 1 else f"Machines {some(sick)} are"
        text = f"{who} not healthy (not to be remediated by {owner})"
    conditions.new("Remediating", "False", "NotRemediating", text)


def deleting(conditions: Conditions, item: Object, left: int) -> None:
    """Set Deleting; `left` Machines are still there."""
    if not is_deleting(item):
        conditions.new("Deleting", "False", "NotDeleting")
        return
    noun = "Machine" if left == 1 else "Machines"
    conditions.new("Deleting", "True", "Deleting", f"Deleting {left} {noun}" if left else "Deletion completed")


def _count(clock: LabClock, remote: Remote, work: Pass) -> None:
    spec, template = work.item["spec"], work.item["spec"]["template"].get("metadata", {}).get("labels", {})
    wait = timedelta(seconds=spec.get("minReadySeconds", 0))
    since = [_ready_since(remote, each) for each in work.machines]
    ready = [each for each in since if each is not None]
    work.item.setdefault("status", {}).update(
        {
            "selector": selector_text(spec["selector"]),
            "replicas": len(work.machines),
            "fullyLabeledReplicas": sum(
                template.items() <= each["metadata"].get("labels", {}).items() for each in work.machines
            ),
            "readyReplicas": len(ready),
            "availableReplicas": sum(not wait or each + wait <= wall(clock) for each in ready),
            "observedGeneration": work.item["metadata"].get("generation", 1),
        }
    )


def _ready_since(remote: Remote, machine: Object) -> datetime | None:
    """Return since when a Machine's Node is Ready; None when it is not, or nobody answers."""
    name = machine.get("status", {}).get("nodeRef", {}).get("name")
    node = next((each for each in remote.list_nodes() if each["metadata"]["name"] == name), None)
    if node is None or nodes.ready_status(node)[0] != "True":
        return None
    return datetime.fromisoformat(nodes.condition(node, "Ready")["lastTransitionTime"])


def _resized(conditions: Conditions, work: Pass) -> None:
    status, desired = work.item["status"], desired_replicas(work.item)
    actual = status["replicas"]
    if actual != desired:
        direction = "up" if actual < desired else "down"
        text = f"Scaling {direction} MachineSet to {desired} replicas (actual {actual})"
        conditions.false("Resized", f"Scaling{direction.title()}", "Warning", text)
    elif status["readyReplicas"] == actual:
        conditions.true("Resized")
    if actual >= desired:
        conditions.true("MachinesCreated")


def _missing(kinds: list[str]) -> str:
    return f"{' and '.join(kinds)} {'does' if len(kinds) == 1 else 'do'} not exist"


def _age(clock: LabClock, machine: Object) -> timedelta:
    return wall(clock) - created(clock, machine)
