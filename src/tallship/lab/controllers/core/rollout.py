"""PURE: how many replicas each MachineSet of a MachineDeployment should have next.

Cluster API v1.10, strategies RollingUpdate and OnDelete. What is left out: the proportional scaling of a deployment
that is paused in the middle of a rolling update.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from tallship.lab.controllers.ownership import is_deleting
from tallship.lab.kubeclient import Object

DISABLE_CREATE = "cluster.x-k8s.io/disable-machine-create"

Step = tuple[Object, int, bool]
"""A MachineSet, its replicas, and whether it makes no Machines any more."""

Machines = Callable[[Object], list[Object]]


def surge(deployment: Object) -> int:
    """Return how many Machines more than wanted there may be."""
    return _limits(deployment)[0]


def max_unavailable(deployment: Object) -> int:
    """Return how many Machines fewer than wanted may be available."""
    replicas = int(deployment["spec"]["replicas"])
    return min(_limits(deployment)[1], replicas) if replicas else 0


def first_replicas(deployment: Object, others: list[Object]) -> int:
    """Return how many replicas a MachineSet begins with."""
    return _grown(deployment, others, 0)


def is_complete(deployment: Object, machine_sets: list[Object]) -> bool:
    """True when all replicas are there and available, and none of them in an old MachineSet."""
    wanted, counts = deployment["spec"]["replicas"], [each.get("status", {}) for each in machine_sets]
    current = counts[-1].get("replicas", 0) if counts else 0
    there = sum(each.get("replicas", 0) for each in counts)
    return bool(current == there == wanted == sum(each.get("availableReplicas", 0) for each in counts))


def steps(deployment: Object, current: Object | None, others: list[Object], machines: Machines) -> Iterator[Step]:
    """Yield the changes of one pass; a MachineSet that stays as it is may be among them."""
    if deployment["spec"].get("paused"):
        yield from _paused(deployment, current, others)
        return
    if current is None:
        return
    target = _current_replicas(deployment, current, others)
    yield current, target, False
    if deployment["spec"]["strategy"]["type"] == "OnDelete":
        yield from _on_delete(deployment, others, target, machines)
    else:
        yield from _rolling(deployment, current, others, target)


def _paused(deployment: Object, current: Object | None, others: list[Object]) -> Iterator[Step]:
    known = [*others, *([current] if current is not None else [])]
    active = [each for each in known if each["spec"]["replicas"]]
    if len(active) <= 1 and known:
        yield (active or known)[-1], deployment["spec"]["replicas"], False


def _current_replicas(deployment: Object, current: Object, others: list[Object]) -> int:
    there, wanted = int(current["spec"]["replicas"]), int(deployment["spec"]["replicas"])
    return wanted if there >= wanted else _grown(deployment, [*others, current], there)


def _grown(deployment: Object, machine_sets: list[Object], there: int) -> int:
    """Return how many replicas a MachineSet that has `there` may have, with all these beside it."""
    wanted = int(deployment["spec"]["replicas"])
    total = sum(max(int(each["spec"]["replicas"]), _replicas(each)) for each in machine_sets)
    return there + max(min(wanted + surge(deployment) - total, wanted - there), 0)


def _rolling(deployment: Object, current: Object, others: list[Object], target: int) -> Iterator[Step]:
    """Take from the old MachineSets what the new one can spare: first what is not available, then the oldest."""
    least = deployment["spec"]["replicas"] - max_unavailable(deployment)
    left = {each["metadata"]["uid"]: int(each["spec"]["replicas"]) for each in others}
    if not any(left.values()):
        return
    spare = sum(left.values()) + target - least - (target - _available(current))
    if spare <= 0:
        return
    for each in others:
        key = each["metadata"]["uid"]
        broken = min(left[key] - min(_available(each), left[key]), spare)
        left[key], spare = left[key] - broken, spare - broken
    spare = sum(_available(each) for each in (*others, current)) - least
    for each in others:
        key = each["metadata"]["uid"]
        fewer = min(left[key], max(spare, 0))
        left[key], spare = left[key] - fewer, spare - fewer
    for each in others:
        yield each, left[each["metadata"]["uid"]], False


def _on_delete(deployment: Object, others: list[Object], target: int, machines: Machines) -> Iterator[Step]:
    """Let the old MachineSets shrink with the Machines that somebody deletes, and below that only when there are
    more Machines than wanted."""
    active = [each for each in others if each["spec"]["replicas"]]
    too_many = sum(each["spec"]["replicas"] for each in active) + target - deployment["spec"]["replicas"]
    left = {}
    for each in active:
        alive = sum(not is_deleting(machine) for machine in machines(each))
        too_many -= each["spec"]["replicas"] - alive
        left[each["metadata"]["uid"]] = alive
    for each in active:
        fewer = min(left[each["metadata"]["uid"]], max(too_many, 0))
        too_many -= fewer
        yield each, left[each["metadata"]["uid"]] - fewer, True


def _replicas(machine_set: Object) -> int:
    return int(machine_set.get("status", {}).get("replicas", 0))


def _available(machine_set: Object) -> int:
    return int(machine_set.get("status", {}).get("availableReplicas", 0))


def _limits(deployment: Object) -> tuple[int, int]:
    """Return (surge, unavailable); where both come to nothing, one may be unavailable."""
    strategy, replicas = deployment["spec"].get("strategy") or {}, deployment["spec"]["replicas"]
    if strategy.get("type") != "RollingUpdate":
        return 0, 0
    rolling = strategy.get("rollingUpdate") or {}
    more = _share(rolling.get("maxSurge", 1), replicas, math.ceil)
    fewer = _share(rolling.get("maxUnavailable", 0), replicas, math.floor)
    return (more, fewer) if more or fewer else (0, 1)


def _share(limit: int | str, replicas: int, rounded: Callable[[float], int]) -> int:
    if isinstance(limit, str) and limit.endswith("%"):
        return rounded(int(limit.rstrip("%")) * replicas / 100)
    return int(limit)
