"""Pools of workers through the whole of `up`: made, scaled, replaced when agreed to, and gone when the file says so."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from ship import Kept, Ship

from tallship.engine import Outcome, Run, State, select
from tallship.errors import StepFailed, TimedOut
from tallship.flows import PIVOT, UP, destroy
from tallship.manifests import conditions, talos
from tallship.ops.kinds import (
    HCLOUD_MACHINE_TEMPLATE,
    HETZNER_CLUSTER,
    MACHINE_DEPLOYMENT,
    MACHINE_HEALTH_CHECK,
    TALOS_CONFIG_TEMPLATE,
)
from tallship.ops.upgrade import consequence
from tallship.spec import parse_spec

POOL = "name: general, replicas: 2, labels: {example.com/disk: nvme}, taints: ['example.com/batch=true:NoSchedule']"


def steer(ship: Ship, workers: str, more: str = "") -> None:
    """Let the ship's file have these pools."""
    reading = parse_spec(f"name: k8s\nworkers: {workers}\n{more}\n")
    assert reading.spec is not None, reading.mistakes
    ship.spec = reading.spec


def make(
    ship: Ship, workers: str, more: str = "", *, replace: bool = False, timeout: float | None = None
) -> list[Outcome]:
    steer(ship, workers, more)
    with closing(ship.env()) as env:
        env.replace = replace
        return ship.world.run(lambda: Run(env, ship.world.clock, ship.recorder, timeout).make(UP))


def listed(ship: Ship, kind: tuple[str, str]) -> list[dict[str, Any]]:
    with closing(ship.env()) as env:
        return ship.world.run(lambda: env.home.list(*kind, "default"))


def names(ship: Ship, kind: tuple[str, str]) -> list[str]:
    return sorted(each["metadata"]["name"] for each in listed(ship, kind))


def nodes(ship: Ship) -> dict[str, dict[str, Any]]:
    """Return the workers' nodes by name."""
    with closing(ship.env()) as env:
        found = ship.world.run(lambda: env.workload.list("v1", "Node"))
    return {each["metadata"]["name"]: each for each in found if not conditions.is_control_plane(each)}


def groups(ship: Ship) -> list[str]:
    (live,) = listed(ship, HETZNER_CLUSTER)
    return [each["name"] for each in live["spec"]["hcloudPlacementGroups"]]


def groups_at_hetzner(ship: Ship) -> list[str]:
    with closing(ship.env()) as env:
        found = env.hetzner.list_resources("placement_groups", env.spec.names.owned_by_caph)
    return sorted(each.name for each in found)


def up_changes_nothing(ship: Ship) -> None:
    ship.world.reset_counters()
    ship.make(UP)
    assert set(ship.world.writes.values()) == {0}


@pytest.fixture
def staffed(done: Ship) -> Iterator[Ship]:
    """A finished cluster with a pool of two."""
    make(done, f"[{{{POOL}}}]")
    yield done


def test_a_pool_of_two_is_two_more_ready_nodes(staffed: Ship) -> None:
    found = nodes(staffed)
    assert len(found) == 2
    for name, node in found.items():
        assert name.startswith("k8s-general-")
        assert conditions.why_node_waits(node) == []
        assert node["metadata"]["labels"]["example.com/disk"] == "nvme"
        assert {"key": "example.com/batch", "value": "true", "effect": "NoSchedule"} in node["spec"]["taints"]
    assert staffed.inventory()["server"] == 5
    assert groups_at_hetzner(staffed) == ["k8s-control-plane", "k8s-general"]
    up_changes_nothing(staffed)


def test_a_pool_grows_shrinks_and_goes_as_the_file_says(staffed: Ship) -> None:
    first = set(nodes(staffed))
    make(staffed, f"[{{{POOL.replace('replicas: 2', 'replicas: 3')}}}]")
    assert first < set(nodes(staffed))
    make(staffed, f"[{{{POOL.replace('replicas: 2', 'replicas: 1')}}}]")
    assert len(nodes(staffed)) == 1
    with pytest.raises(StepFailed, match="k8s-general goes with its 1 servers") as caught:
        make(staffed, "[]")
    assert "--replace" in caught.value.hint
    assert len(nodes(staffed)) == 1
    make(staffed, "[]", replace=True)
    assert nodes(staffed) == {}
    assert staffed.inventory()["server"] == 3
    assert groups_at_hetzner(staffed) == ["k8s-control-plane"]
    assert names(staffed, MACHINE_DEPLOYMENT) == names(staffed, TALOS_CONFIG_TEMPLATE) == []
    assert names(staffed, MACHINE_HEALTH_CHECK) == ["k8s-control-plane"]
    assert len(names(staffed, HCLOUD_MACHINE_TEMPLATE)) == 1
    up_changes_nothing(staffed)


def test_what_replaces_servers_is_refused_and_then_agreed_to(staffed: Ship) -> None:
    before, larger = set(nodes(staffed)), f"[{{{POOL}, server_type: cpx32}}]"
    with pytest.raises(StepFailed, match="server type or image differ") as caught:
        make(staffed, larger)
    with closing(staffed.env()) as env:
        lines = staffed.world.run(lambda: consequence(env)).lines()
    assert lines == ["k8s-general is replaced, server by server: server type or image differ"]
    assert "--replace" in caught.value.hint
    assert set(nodes(staffed)) == before
    make(staffed, larger, replace=True)
    assert len(nodes(staffed)) == 2
    assert not before & set(nodes(staffed))
    with closing(staffed.env()) as env:
        servers = {each.name: each.server_type for each in env.hetzner.list_servers(env.spec.names.owned_by_caph)}
    assert {servers[name] for name in nodes(staffed)} == {"cpx32"}
    up_changes_nothing(staffed)


def test_patches_that_are_worded_differently_replace_no_worker(staffed: Ship, monkeypatch: pytest.MonkeyPatch) -> None:
    before, original = set(nodes(staffed)), talos.dump
    monkeypatch.setattr(talos, "dump", lambda document: f"# another wording\n{original(document)}")
    up_changes_nothing(staffed)
    assert set(nodes(staffed)) == before


def test_an_upgrade_replaces_workers_after_the_control_plane(staffed: Ship) -> None:
    before = set(nodes(staffed))
    make(staffed, f"[{{{POOL}}}]", "kubernetes: {version: v1.32.3}", replace=True)
    heard = staffed.recorder.heard
    (replaced,) = (at for at, line in enumerate(heard) if line.startswith("wait-workers: replace k8s-general"))
    assert max(at for at, line in enumerate(heard) if line.startswith("roll-out: Outcome")) < replaced
    assert {each["status"]["nodeInfo"]["kubeletVersion"] for each in nodes(staffed).values()} == {"v1.32.3"}
    assert not before & set(nodes(staffed))


def test_workers_of_another_architecture_have_an_image_of_their_own(done: Ship) -> None:
    outcomes = {each.name: each for each in make(done, "[{name: arm, server_type: cax21}]")}
    assert outcomes["image"].acted == ()
    assert outcomes["image-workers"].acted == ("build snapshot talos-arm64-v1.12.2",)
    assert len(nodes(done)) == 1
    up_changes_nothing(done)


def test_pools_move_with_the_cluster(staffed: Ship) -> None:
    before = set(nodes(staffed))
    staffed.make(PIVOT)
    assert set(nodes(staffed)) == before
    with closing(staffed.env()) as env:
        assert staffed.world.run(lambda: env.manages_itself)
    assert names(staffed, MACHINE_DEPLOYMENT) == ["k8s-general"]
    up_changes_nothing(staffed)


def test_a_cluster_with_pools_is_destroyed_whole(staffed: Ship) -> None:
    staffed.make(destroy())
    assert {noun: count for noun, count in staffed.inventory().items() if count} == {"image": 1}
    assert groups_at_hetzner(staffed) == []


def test_a_worker_whose_node_fails_is_replaced(staffed: Ship) -> None:
    before = sorted(nodes(staffed))
    with closing(staffed.env()) as env:
        (victim,) = (each for each in env.hetzner.list_servers(env.spec.names.owned_by_caph) if each.name == before[0])
        env.hetzner.power_off(victim.id)
        staffed.world.wait(lambda: before[0] not in nodes(staffed) and len(nodes(staffed)) == 2, 1500, 10)
    staffed.make(UP)
    assert before[1] in nodes(staffed)
    assert staffed.inventory()["server"] == 5


def test_a_large_pool_has_a_placement_group_for_every_nine(done: Ship) -> None:
    make(done, "[{name: big, replicas: 11}]")
    assert len(nodes(done)) == 11
    assert names(done, MACHINE_DEPLOYMENT) == ["k8s-big", "k8s-big-2"]
    assert groups(done) == ["control-plane", "big", "big-2"]
    up_changes_nothing(done)
    make(done, "[{name: big, replicas: 9}]")
    assert len(nodes(done)) == 9
    assert groups(done) == ["control-plane", "big"]
    up_changes_nothing(done)


def test_a_pool_that_is_sold_out_is_told_while_it_is_waited_for(done: Ship) -> None:
    done.world.fault("no-capacity", {"server_type": "cpx32"}, times=0)
    with pytest.raises(TimedOut) as caught:
        make(done, "[{name: general, server_type: cpx32}]", timeout=300)
    assert "0 of 1 workers are ready" in caught.value.detail
    assert "resource_unavailable" in caught.value.detail
    assert "another `server_type` or `location`" in caught.value.hint
    done.world.do(done.world.lab.faults.clear)
    make(done, "[{name: general, server_type: cpx32}]")
    assert len(nodes(done)) == 1


def test_plan_tells_of_a_pool_and_touches_nothing(done: Ship) -> None:
    steer(done, f"[{{{POOL}}}]")
    done.world.reset_counters()
    seen = done.look()
    assert set(done.world.writes.values()) == {0}
    assert seen["apply"].change == "apply HetznerCluster"
    assert (seen["workers"].state, seen["workers"].detail) == (State.BLOCKED, "needs `apply` first")
    assert seen["wait-workers"].state is State.BLOCKED


def test_a_run_that_was_stopped_among_the_workers_goes_on(done: Ship) -> None:
    with pytest.raises(TimedOut):
        make(done, f"[{{{POOL}}}]", timeout=40)
    make(done, f"[{{{POOL}}}]")
    assert len(nodes(done)) == 2
    assert names(done, MACHINE_DEPLOYMENT) == ["k8s-general"]


def test_the_step_alone_says_what_comes_first(kept: Kept) -> None:
    with kept.copy() as ship:
        steer(ship, f"[{{{POOL}}}]")
        with closing(ship.env()) as env:
            run = Run(env, ship.world.clock, ship.recorder)
            with pytest.raises(Exception, match="needs `workers` first"):
                ship.world.run(lambda: run.make(select(UP, only="wait-workers")))
