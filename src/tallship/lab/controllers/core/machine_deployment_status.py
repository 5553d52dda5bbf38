"""The status of a MachineDeployment in both forms, as Cluster API v1.10 writes it."""

from __future__ import annotations

from typing import Protocol

from tallship.lab.controllers.conditions import Conditions, find, find_new
from tallship.lab.controllers.core import machine_set_status, rollout
from tallship.lab.controllers.informer import CachedApi
from tallship.lab.controllers.ownership import is_deleting
from tallship.lab.kubeclient import Object

_WAITING = {"status": "False", "reason": "WaitingForMachineSet", "severity": "Info"}
_COUNTERS = ("readyReplicas", "availableReplicas", "upToDateReplicas")


class Pass(Protocol):
    """What one pass over a MachineDeployment has found."""

    item: Object
    current: Object | None
    missing: list[str]

    @property
    def machine_sets(self) -> list[Object]:
        """All its MachineSets."""


def update(api: CachedApi, work: Pass) -> None:
    """Set the status of a MachineDeployment from its MachineSets and their Machines."""
    item, meta = work.item, work.item["metadata"]
    if not is_deleting(item):
        _count(work)
    conditions = Conditions(item, api.now())
    if not is_deleting(item):
        _available(conditions, work)
    conditions.summarize(("Available",))
    machines = api.list("Machine", meta["namespace"], item["spec"]["selector"].get("matchLabels", {}))
    _new_available(conditions, work)
    _rolling_out(conditions, machines)
    desired = machine_set_status.desired_replicas(item)
    actual = sum(each.get("status", {}).get("replicas", 0) for each in work.machine_sets)
    why = _missing(work.missing)
    unwanted = f"Scaling up would be blocked {why}" if why and not is_deleting(item) else ""
    machine_set_status.scaling(conditions, actual, desired, f" is blocked {why}" if why else "", unwanted)
    machine_set_status.over_machines(api.clock, conditions, machines)
    machine_set_status.remediating(conditions, machines, "MachineDeployment/MachineSet")
    machine_set_status.deleting(conditions, item, len(machines))
    conditions.sort_new(machine_set_status.ORDER)
    item["status"]["observedGeneration"] = meta.get("generation", 1)


def _count(work: Pass) -> None:
    """Set the counters and the phase."""
    status, spec, machine_sets = work.item.setdefault("status", {}), work.item["spec"], work.machine_sets
    total = sum(each["spec"]["replicas"] for each in machine_sets)
    told = [each.get("status", {}) for each in machine_sets]
    ready, available = (sum(each.get(key, 0) for each in told) for key in ("readyReplicas", "availableReplicas"))
    status |= {
        "selector": machine_set_status.selector_text(spec["selector"]),
        "replicas": sum(each.get("replicas", 0) for each in told),
        "updatedReplicas": (work.current or {}).get("status", {}).get("replicas", 0),
        "readyReplicas": ready,
        "availableReplicas": available,
        "unavailableReplicas": max(total - available, 0),
    }
    if total < available:
        status["phase"] = "ScalingDown"
    elif spec["replicas"] > ready:
        status["phase"] = "ScalingUp"
    elif spec["replicas"] == ready:
        status["phase"] = "Running"
    else:
        status.pop("phase", None)
    new = [each["v1beta2"] for each in told if "readyReplicas" in each.get("v1beta2", {})]
    if new:
        status.setdefault("v1beta2", {}).update({key: sum(each.get(key, 0) for each in new) for key in _COUNTERS})


def _available(conditions: Conditions, work: Pass) -> None:
    least, available = _least(work.item), work.item["status"]["availableReplicas"]
    if available >= least:
        conditions.true("Available")
    else:
        text = f"Minimum availability requires {least} replicas, current {available} available"
        conditions.false("Available", "WaitingForAvailableMachines", "Warning", text)
    if work.current is None:
        conditions.false("MachineSetReady", "WaitingForMachineSet", "Info", "MachineSet not found")
    else:
        conditions.copy("MachineSetReady", find(work.current, "Ready"), _WAITING)


def _new_available(conditions: Conditions, work: Pass) -> None:
    item = work.item
    available = item.get("status", {}).get("v1beta2", {}).get("availableReplicas")
    least = _least(item)
    if available is None:
        text = "Waiting for status.v1beta2.availableReplicas set"
        conditions.new("Available", "Unknown", "WaitingForAvailableReplicasSet", text)
        return
    if available >= least:
        conditions.new("Available", "True", "Available")
        return
    text = f"{available} available replicas, at least {least} required"
    rolling = (item["spec"].get("strategy") or {}).get("rollingUpdate")
    if rolling:
        limit, replicas = rolling.get("maxUnavailable", 0), item["spec"]["replicas"]
        text += f" (spec.strategy.rollout.maxUnavailable is {limit}, spec.replicas is {replicas})"
    conditions.new("Available", "False", "NotAvailable", "Deletion in progress" if is_deleting(item) else text)


def _rolling_out(conditions: Conditions, machines: list[Object]) -> None:
    old = [found for each in machines if (found := find_new(each, "UpToDate")) and found["status"] == "False"]
    if not old:
        conditions.new("RollingOut", "False", "NotRollingOut")
        return
    reasons = {line for each in old for line in each["message"].split("\n") if line}
    ordered = sorted(reasons, key=lambda line: (not line.startswith("* Version"), line))
    text = "\n".join((f"Rolling out {len(old)} not up-to-date replicas", *ordered))
    conditions.new("RollingOut", "True", "RollingOut", text)


def _least(item: Object) -> int:
    return int(item["spec"]["replicas"]) - rollout.max_unavailable(item)


def _missing(kinds: list[str]) -> str:
    return f"because {' and '.join(kinds)} {'does' if len(kinds) == 1 else 'do'} not exist" if kinds else ""
