"""Every fault of the lab meets the flow: it passes, or it ends in a verdict and the next run goes on from there."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest
from _pytest.mark.structures import ParameterSet
from adversity import ADVERSITIES
from lab_world import LabWorld
from ship import Ship
from trouble import Trouble

from tallship.engine import select
from tallship.errors import TallshipError
from tallship.flows import UP
from tallship.lab.faults import KINDS
from tallship.ops.management import ProvidersInstalled

CAPH = "cluster-api-provider-hetzner"


@dataclass(frozen=True)
class Set:
    """One fault that a test sets."""

    name: str
    match: dict[str, str] = field(default_factory=dict)
    times: int = 1
    values: dict[str, Any] = field(default_factory=dict)


PASSING = {
    "hetzner": (
        Set("slow", {"route": "GET /servers"}, 2),
        Set("reset", {"route": "POST /networks"}),
        Set("reset", {"route": "GET /images"}),
        Set("lost-answer", {"route": "POST /servers", "agent": "tallship"}),
        Set("lost-answer", {"route": "POST /firewalls"}),
        Set("server-error", {"api": "hetzner", "route": "GET /locations"}, 2),
        Set("rate-limit", {"route": "POST /ssh_keys"}),
        Set("rate-limit", {"route": "GET /server_types"}, values={"bare": True}),
        Set("locked", {"route": "POST /servers/{id}/actions/poweron"}, 2),
        Set("other-address", {}, 0, {"address": "203.0.113.77"}),
    ),
    "factory": (
        Set("slow", {"api": "factory"}),
        Set("reset", {"api": "factory"}),
        Set("server-error", {"api": "factory"}),
        Set("cut-image"),
        Set("ssh-refused"),
    ),
    "kubernetes": (
        Set("slow", {"api": "kubernetes", "agent": "tallship"}, 2),
        Set("slow", {"route": "PATCH machines"}, 2),
        Set("reset", {"route": "PATCH clusters"}),
        Set("lost-answer", {"route": "PATCH hetznerclusters"}),
        Set("lost-answer", {"route": "PATCH secrets", "agent": "tallship"}),
        Set("server-error", {"route": "GET machines"}, 3),
        Set("conflict", {"route": "PATCH machines"}, 3),
        Set("watch-cut", {}, 5),
    ),
    "talos": (
        Set("slow", {"api": "talos"}, 2),
        Set("reset", {"api": "talos"}, 2),
        Set("server-error", {"rpc": "EtcdMemberList"}, 2),
        Set("etcd-member-unhealthy", {}, 3),
        Set("image-pull", {}, 0),
    ),
    "programs": (Set("program-slow", {"program": "helm"}, 2), Set("program-slow", {"program": "kind"})),
}


@dataclass(frozen=True)
class End:
    """How a run ends that meets a fault it cannot pass."""

    fault: Set
    until: str
    """The step at which it ends."""
    says: str
    exit_code: int = 1
    with_image: bool = True
    goes_on: bool = True
    """False when somebody must mend something by hand first."""


ALWAYS = ("token refused", "kubernetes refuses", "kind fails", "helm is killed")
ENDS = {
    "token refused": End(Set("unauthorized", {"api": "hetzner"}, 0), "preflight", "token", 2),
    "token loses its rights": End(
        Set("unauthorized", {"route": "POST /servers"}, 0), "image", "token", with_image=False
    ),
    "hetzner down": End(Set("server-error", {"api": "hetzner"}, 0), "preflight", "Hetzner"),
    "hetzner out of requests": End(Set("rate-limit", {"api": "hetzner"}, 0), "preflight", "Hetzner"),
    "sold out for the builder": End(
        Set("no-capacity", {"agent": "tallship"}, 0), "image", "no server", with_image=False
    ),
    "sold out for the nodes": End(Set("no-capacity", {"agent": CAPH}, 0), "wait-cp", "resource_unavailable", 3),
    "project is full": End(Set("quota", {"route": "POST /load_balancers"}, 0), "apply", "limit", 3),
    "builder fails": End(Set("action-error", {"command": "create_server"}), "image", "builder", with_image=False),
    "builder without rescue": End(Set("no-rescue", {}, 0), "image", "rescue system", 3, with_image=False),
    "builder's disk too small": End(Set("disk-too-small"), "image", "does not fit", with_image=False),
    "token may only read": End(
        Set("token-readonly", {"route": "POST /ssh_keys"}, 0), "image", "read", with_image=False
    ),
    "no such image": End(Set("no-image"), "image", "404", with_image=False),
    "half an image": End(Set("short-image", {}, 0), "image", "image", with_image=False),
    "nodes stay dark": End(Set("machine-never-boots", {}, 0), "wait-cp", "connection refused", 3, goes_on=False),
    "kubernetes refuses": End(Set("unauthorized", {"api": "kubernetes", "agent": "tallship"}, 0), "secret", "refuse"),
    "talos refuses": End(Set("unauthorized", {"api": "talos"}, 0), "wait-cp", "not authorized", 3),
    "etcd sick": End(Set("etcd-member-unhealthy", {}, 0), "wait-nodes", "not healthy", 3),
    "no container engine": End(Set("docker-down", {}, 0), "preflight", "daemon", 2),
    "kind fails": End(Set("program-fails", {"program": "kind", "command": "create"}), "kind-create", "kind"),
    "clusterctl hangs": End(
        Set("program-hangs", {"program": "clusterctl", "command": "init"}), "capi-init", "clusterctl"
    ),
    "helm is killed": End(
        Set("program-killed", {"program": "helm", "command": "upgrade"}, values={"seconds": 1}), "cilium", "helm"
    ),
}


def often(cases: Iterable[str], always: Iterable[str]) -> list[ParameterSet]:
    """Return the cases as parameters; those that are not tried always are `long`."""
    return [pytest.param(case, marks=() if case in always else pytest.mark.long) for case in cases]


@pytest.mark.parametrize("group", often(PASSING, ("hetzner",)))
def test_faults_that_pass_are_passed(world: LabWorld, group: str) -> None:
    trouble = Trouble(Ship(world, with_image=False))
    for each in PASSING[group]:
        world.fault(each.name, each.match, each.times, **each.values)
    trouble.ship.make()
    left = [fault.name for fault in world.do(world.lab.faults.list) if fault.times]
    assert left == []
    trouble.is_whole()


@pytest.mark.parametrize("case", often(ENDS, ALWAYS))
def test_a_fault_ends_the_run_with_a_verdict(world: LabWorld, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    end = ENDS[case]
    if end.fault.name == "program-hangs":
        monkeypatch.setattr(ProvidersInstalled, "timeout", 0.5)  # real seconds: how long a program may take
    trouble = Trouble(Ship(world, with_image=end.with_image))
    world.fault(end.fault.name, end.fault.match, end.fault.times, **end.fault.values)
    flow = select(UP, last=end.until)
    found: TallshipError = trouble.verdict(flow)
    text = f"{found.message}\n{found.detail}\n{found.hint}"
    assert (found.exit_code, end.says in text) == (end.exit_code, True), text
    monkeypatch.undo()
    if end.goes_on:
        trouble.ship.make(flow)
        trouble.keeps()


ELSEWHERE = {"upgrade-fails", "kubelet-fails"}
"""Faults of upgrades: `test_upgrade_in_place.py` meets them."""


def test_every_fault_meets_the_flow() -> None:
    met = (
        ELSEWHERE
        | {each.fault for each in ADVERSITIES}
        | {each.name for group in PASSING.values() for each in group}
        | {end.fault.name for end in ENDS.values()}
    )
    assert met == set(KINDS)
