"""Which Machine is deleted, and when none is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from tallship.manifests.deadlock import stuck_machine


@dataclass(frozen=True)
class Member:
    hostname: str
    is_learner: bool = False


@dataclass(frozen=True)
class Service:
    state: str
    id: str = "etcd"

    @property
    def is_healthy(self) -> bool:
        return self.state == "Running"


def machine(number: int, **metadata: Any) -> dict[str, Any]:
    address = {"type": "InternalIP", "address": f"10.0.0.{number}"}
    status = {"nodeRef": {"name": f"node-{number}"}, "addresses": [address]}
    return {"metadata": {"name": f"machine-{number}", **metadata}, "status": status}


MACHINES = [machine(number) for number in range(1, 5)]
MEMBERS = [Member(f"node-{number}") for number in range(2, 5)]
STATES: dict[str, Any] = {"10.0.0.1": [Service("Finished")]} | {
    f"10.0.0.{number}": [Service("Running")] for number in range(2, 5)
}


def test_the_machine_that_left_is_named() -> None:
    assert stuck_machine(MACHINES, MEMBERS, STATES) == "machine-1"


@pytest.mark.parametrize(
    ("machines", "members", "states"),
    [
        (MACHINES, [*MEMBERS, Member("node-1")], STATES),
        (MACHINES, MEMBERS[:2], STATES),
        (MACHINES[:3], MEMBERS, STATES),
        ([machine(1, deletionTimestamp="2026-01-01T00:00:00Z"), *MACHINES[1:]], MEMBERS, STATES),
        ([*MACHINES[:3], machine(4, deletionTimestamp="2026-01-01T00:00:00Z")], MEMBERS, STATES),
        (MACHINES, [*MEMBERS[:2], Member("node-4", is_learner=True)], STATES),
        (MACHINES, MEMBERS, {**STATES, "10.0.0.1": [Service("Running")]}),
        (MACHINES, MEMBERS, {**STATES, "10.0.0.1": [Service("Preparing")]}),
        (MACHINES, MEMBERS, {**STATES, "10.0.0.3": [Service("Failed")]}),
        (MACHINES, MEMBERS, {**STATES, "10.0.0.3": OSError("silent")}),
        (MACHINES, MEMBERS, {key: value for key, value in STATES.items() if key != "10.0.0.1"}),
        ([{**MACHINES[0], "status": {}}, *MACHINES[1:]], MEMBERS, STATES),
        ([], [], {}),
    ],
    ids=[
        "it is a member",
        "two members are gone",
        "as many machines as members",
        "it is being deleted",
        "another is being deleted",
        "a member learns",
        "its etcd runs",
        "its etcd prepares",
        "another member is sick",
        "another node is silent",
        "it is silent itself",
        "it never became a node",
        "nothing is there",
    ],
)
def test_with_any_doubt_none_is_named(machines: Any, members: Any, states: Any) -> None:
    assert stuck_machine(machines, members, states) is None
