"""What replaces machines, and what only looks different."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tallship.manifests import cluster
from tallship.manifests.rollout import replaces_machines, same_meaning, with_stored_patches
from tallship.spec import parse_spec

ADDRESS = "203.0.113.10"


def plane(text: str = "name: k8s") -> dict[str, Any]:
    spec = parse_spec(text).spec
    assert spec is not None
    return cluster.control_plane(spec, ADDRESS)


def stored(document: dict[str, Any], patches: list[str] | None = None) -> dict[str, Any]:
    """A control plane as the API gives it back, with what webhooks add."""
    live = copy.deepcopy(document)
    live["spec"]["controlPlaneConfig"]["init"] = {"generateType": "", "hostname": {}}
    live["metadata"] |= {"uid": "1", "generation": 1}
    if patches is not None:
        live["spec"]["controlPlaneConfig"]["controlplane"]["strategicPatches"] = patches
    return live


def patches(document: dict[str, Any]) -> list[str]:
    found: list[str] = document["spec"]["controlPlaneConfig"]["controlplane"]["strategicPatches"]
    return found


def test_what_is_stored_replaces_nothing() -> None:
    assert replaces_machines(stored(plane()), plane()) == []
    assert with_stored_patches(stored(plane()), plane()) == plane()


def test_another_wording_keeps_the_stored_bytes() -> None:
    reworded = ["# older\n" + patch for patch in patches(plane())]
    live = stored(plane(), reworded)
    assert same_meaning(live, plane())
    assert patches(with_stored_patches(live, plane())) == reworded
    assert replaces_machines(live, with_stored_patches(live, plane())) == []
    assert replaces_machines(live, plane()) == ["its Talos patches differ"]


def test_patches_divided_differently_keep_the_stored_bytes() -> None:
    one = stored(plane(), ["a: {b: 1, c: [1, 2]}\nd: {e: 2}\n"])
    divided = plane()
    divided["spec"]["controlPlaneConfig"]["controlplane"]["strategicPatches"] = [
        "d: {e: 2}",
        "a: {b: 1}",
        "a: {c: [1, 2]}",
    ]
    assert same_meaning(one, divided)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (["a: 1"], ["a: 2"]),
        (["a: [1]", "a: [2]"], ["a: [1, 2]"]),
        (["a: 1", "a: 2"], ["a: 2"]),
        (["a: 1"], ["a: 1", "b: 2"]),
        (["kind: X\na: 1", "kind: X\nb: 1"], ["kind: X\na: 1\nb: 1"]),
        (["a: '1'"], ["a: 1"]),
        (["a: {"], ["a: 1"]),
    ],
)
def test_what_may_mean_something_else_is_not_taken_for_the_same(before: list[str], after: list[str]) -> None:
    wanted = plane()
    wanted["spec"]["controlPlaneConfig"]["controlplane"]["strategicPatches"] = after
    assert not same_meaning(stored(plane(), before), wanted)
    assert patches(with_stored_patches(stored(plane(), before), wanted)) == after


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("kubernetes: {version: v1.32.4}", "Kubernetes v1.32.2 becomes v1.32.4"),
        ("control_plane: {server_type: cx43}", "template"),
        ("talos: {version: v1.12.4}", "Talos v1.12.2 becomes v1.12.4"),
        ("talos: {patches: [{machine: {sysctls: {a: b}}}]}", "patches differ"),
        ("oidc: {issuer: 'https://a.example', client_id: k}", "patches differ"),
    ],
)
def test_reasons_for_replacing_machines_are_named(text: str, reason: str) -> None:
    reasons = replaces_machines(stored(plane()), plane(f"name: k8s\n{text}"))
    assert any(reason in each for each in reasons)


def test_scaling_replaces_nothing() -> None:
    assert replaces_machines(stored(plane()), plane("name: k8s\ncontrol_plane: {replicas: 5}")) == []


def test_another_host_name_source_replaces_machines() -> None:
    live = stored(plane())
    live["spec"]["controlPlaneConfig"]["controlplane"]["hostname"] = {"source": "MachineName"}
    assert replaces_machines(live, plane()) == ["its Talos configuration differs"]
