"""PURE: which Machines a MachineSet deletes first when it has too many."""

from __future__ import annotations

import math
from collections.abc import Callable

from tallship.lab.controllers.conditions import find
from tallship.lab.controllers.ownership import is_deleting
from tallship.lab.kubeclient import Object

Age = Callable[[Object], float]
"""Returns how old a Machine is, in seconds."""

DELETE_MACHINE = "cluster.x-k8s.io/delete-machine"

# Cluster API v1.10: priorities of deletion.
_MUST, _SHOULD, _BETTER, _COULD = 100.0, 75.0, 50.0, 20.0
_TEN_DAYS = 864000.0


def to_delete(machines: list[Object], number: int, policy: str, age: Age) -> list[Object]:
    """Return the Machines to delete; of those with equal priority the first by name."""
    if number >= len(machines):
        return machines
    priority = _POLICIES[policy or "Random"]
    return sorted(machines, key=lambda each: (-priority(each, age), each["metadata"]["name"]))[: max(number, 0)]


def is_healthy(machine: Object) -> bool:
    """True when the Machine has a Node and nothing says that it is sick."""
    status = machine.get("status", {})
    if "nodeRef" not in status or status.get("failureReason") or status.get("failureMessage"):
        return False
    found = (find(machine, kind) for kind in ("NodeHealthy", "HealthCheckSucceeded"))
    return all(each is None or each["status"] != "False" for each in found)


def _marked(machine: Object) -> float | None:
    if is_deleting(machine):
        return _MUST
    if DELETE_MACHINE in machine["metadata"].get("annotations", {}):
        return _SHOULD
    return None if is_healthy(machine) else _BETTER


def _random(machine: Object, _age: Age) -> float:
    marked = _marked(machine)
    return _COULD if marked is None else marked


def _oldest(machine: Object, age: Age) -> float:
    marked = _marked(machine)
    return _by_age(age(machine)) if marked is None else marked


def _newest(machine: Object, age: Age) -> float:
    marked = _marked(machine)
    return _BETTER - _by_age(age(machine)) if marked is None else marked


def _by_age(seconds: float) -> float:
    return _BETTER * (1.0 - math.exp(-max(seconds, 0.0) / _TEN_DAYS))


_POLICIES: dict[str, Callable[[Object, Age], float]] = {
    "Random": _random,
    "Newest": _newest,
    "Oldest": _oldest,
}
