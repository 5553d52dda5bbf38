"""What a MachineSet does for Machines whose health check leaves their remediation to it: it deletes them.

Cluster API v1.10: only in the current revision of a MachineDeployment, the newest first, no more at once than
`strategy.remediation.maxInFlight`, and not while the preflight checks fail.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

from tallship.lab.controllers.conditions import Conditions, find, is_true
from tallship.lab.controllers.core.preflight import PREFLIGHT_RETRY, obstacles
from tallship.lab.controllers.informer import CachedApi
from tallship.lab.controllers.ownership import is_deleting
from tallship.lab.controllers.patch import copy_json
from tallship.lab.controllers.reconciler import Again, Outcome
from tallship.lab.kubeclient import Object

CONDITION = "OwnerRemediated"


class Pass(Protocol):
    """What one pass over a MachineSet has found."""

    cluster: Object
    item: Object
    deployment: Object | None
    machines: list[Object]

    @property
    def is_current(self) -> bool:
        """True unless the MachineSet belongs to an older revision of a MachineDeployment."""


def is_asked_for(machine: Object) -> bool:
    """True for a sick Machine whose health check waits for its owner."""
    asked = find(machine, CONDITION)
    return is_sick(machine) and asked is not None and asked["status"] == "False"


def is_sick(machine: Object) -> bool:
    """True for a Machine whose health check failed."""
    found = find(machine, "HealthCheckSucceeded")
    return found is not None and found["status"] == "False"


async def remediate(api: CachedApi, work: Pass) -> Outcome:
    """Delete the Machines whose remediation is asked for, as many as may be deleted at once."""
    for machine in work.machines:
        if is_true(machine, "HealthCheckSucceeded") and find(machine, CONDITION) is not None:
            await _change(api, machine, _forget)
    asked = [each for each in work.machines if is_asked_for(each) and not is_deleting(each)]
    if not asked:
        return None
    if not work.is_current:
        text = "Machine won't be remediated because it is pending removal due to rollout"
        await _tell(api, asked, "CannotBeRemediated", text)
        return None
    asked.sort(key=lambda each: each["metadata"]["name"])
    asked.sort(key=lambda each: str(each["metadata"]["creationTimestamp"]), reverse=True)
    limit, room = _room(work)
    text = "Waiting because there are already too many remediations in progress"
    await _tell(api, asked[room:], "RemediationDeferred", f"{text} (spec.strategy.remediation.maxInFlight is {limit})")
    return await _delete(api, work, asked[:room])


async def _delete(api: CachedApi, work: Pass, machines: list[Object]) -> Outcome:
    held = obstacles(api, work.cluster, work.item) if machines else []
    if held:
        await _tell(api, machines, "RemediationDeferred", "\n".join(f"* {each}" for each in held), "; ".join(held))
        return Again(PREFLIGHT_RETRY)
    for machine in machines:

        def begun(conditions: Conditions, _item: Object) -> None:
            conditions.true(CONDITION)
            conditions.new(CONDITION, "False", "MachineDeleting", "Machine is deleting")

        await _change(api, machine, begun)
        await api.delete(machine)
    return None


async def _tell(api: CachedApi, machines: list[Object], reason: str, message: str, waiting: str = "") -> None:
    """Say on Machines why they are not remediated now."""

    def told(conditions: Conditions, _item: Object) -> None:
        conditions.new(CONDITION, "False", reason, message)
        if waiting:
            conditions.false(CONDITION, "WaitingForRemediation", "Warning", waiting)

    for machine in machines:
        await _change(api, machine, told)


def _room(work: Pass) -> tuple[int | str, int]:
    """Return (the limit as written, how many more Machines may be deleted now)."""
    strategy = (work.deployment or {"spec": {}})["spec"].get("strategy") or {}
    limit = (strategy.get("remediation") or {}).get("maxInFlight")
    if limit is None:
        return "", len(work.machines)
    replicas, most = work.deployment["spec"]["replicas"] if work.deployment else 0, limit
    if isinstance(limit, str) and limit.endswith("%"):
        most = math.ceil(int(limit.rstrip("%")) * replicas / 100)
    begun = sum(is_deleting(each) and is_true(each, CONDITION) for each in work.machines)
    return limit, max(int(most) - begun, 0)


def _forget(_conditions: Conditions, item: Object) -> None:
    """Take back that a Machine which is healthy again was to be remediated."""
    status = item["status"]
    status["conditions"] = [each for each in status["conditions"] if each["type"] != CONDITION]
    new = status.get("v1beta2", {})
    if "conditions" in new:
        new["conditions"] = [each for each in new["conditions"] if each["type"] != CONDITION]


async def _change(api: CachedApi, machine: Object, change: Callable[[Conditions, Object], None]) -> None:
    after = copy_json(machine)
    change(Conditions(after, api.now()), after)
    if after != machine:
        await api.save(machine, after)
