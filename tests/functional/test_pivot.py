"""The pivot against a whole lab: the cluster manages itself afterwards, wherever the move was interrupted."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from lab_world import LabWorld
from ship import Kept, Ship

from tallship.engine import Flow, Outcome, State, look, select
from tallship.env import Env
from tallship.errors import SetupError, StepFailed, TallshipError
from tallship.flows import CLEAN, PIVOT, UP
from tallship.manifests import pivot
from tallship.ops import exports
from tallship.ops.kinds import CLUSTER
from tallship.ops.sides import inside, moved_objects, outside

KILLED_AFTER = (
    ("pivot-export", 1.0),
    ("pivot-move", 1.6),
    pytest.param("pivot-export", 0.4, marks=pytest.mark.long),
    *(pytest.param("pivot-move", seconds, marks=pytest.mark.long) for seconds in (0.4, 1.0, 2.4)),
)
"""Modelled seconds into `clusterctl move`: saving takes it about 1.3, moving 2.6."""


@pytest.fixture
def ship(done: Ship) -> Ship:
    """A cluster that is done, with its management cluster beside it."""
    return done


@pytest.fixture
def moved(kept_pivoted: Kept) -> Iterator[Ship]:
    """A cluster that manages itself; the bootstrap cluster is still there."""
    with kept_pivoted.copy() as ship:
        yield ship


def seen(ship: Ship, flow: Flow[Env]) -> list[Outcome]:
    with closing(ship.env()) as env:
        return ship.world.run(lambda: look(flow, env, ship.world.clock))


def sides(ship: Ship) -> tuple[list[str], list[str]]:
    """Return the names of the objects outside and inside."""
    with closing(ship.env()) as env:
        here, there = (ship.world.run(lambda kube=kube: moved_objects(kube)) for kube in (env.management, env.workload))
    return pivot.names(here), pivot.names(there)


def patch_cluster(ship: Ship, where: str, change: dict[str, Any]) -> None:
    with closing(ship.env()) as env:
        kube = {"outside": env.management, "inside": env.workload}[where]
        ship.world.run(lambda: kube.patch(*CLUSTER, "k8s", "default", change))


def kind_clusters(ship: Ship) -> list[str]:
    with closing(ship.env()) as env:
        return ship.world.run(env.programs.kind_clusters)


def test_the_cluster_manages_itself_and_nothing_is_left_outside(moved: Ship) -> None:
    here, there = sides(moved)
    assert here == []
    assert Counter(name.partition("/")[0] for name in there) == {
        "Cluster": 1, "HetznerCluster": 1, "TalosControlPlane": 1, "Machine": 3, "HCloudMachine": 3, "TalosConfig": 3,
    }  # fmt: skip
    for flow in (PIVOT, UP):
        assert [(each.name, each.detail) for each in seen(moved, flow) if each.state is not State.READY] == []


def test_after_the_pivot_nothing_has_to_be_done(moved: Ship) -> None:
    moved.world.reset_counters()
    for flow in (UP, PIVOT):
        assert [each.acted for each in moved.make(flow) if each.acted] == []
    assert set(moved.world.writes.values()) == {0}


def test_the_talos_api_is_closed_to_this_machine_afterwards(moved: Ship) -> None:
    with closing(moved.env()) as env:
        found = env.hetzner.find_firewall("k8s")
        assert found is not None
        opened = [rule for rule in found.rules if rule.get("port") == "50000"]
        own = f"{env.own_address}/32"
    assert opened
    assert all(own not in rule["source_ips"] for rule in opened)


def test_the_export_is_whole_and_private(moved: Ship) -> None:
    with closing(moved.env()) as env:
        export = exports.newest(env)
    assert export is not None
    assert {"Cluster/k8s", "Secret/hetzner", "Secret/k8s-talos"} <= set(pivot.names(export.objects))
    for path in (export.folder.parent, export.folder, *export.folder.iterdir()):
        assert path.stat().st_mode & 0o077 == 0, path
    assert all(json.loads(path.read_text())["kind"] for path in export.folder.iterdir())


def test_clean_deletes_the_bootstrap_cluster_after_the_pivot(ship: Ship) -> None:
    ship.make(PIVOT)
    (outcome,) = ship.make(CLEAN)
    assert outcome.acted == ("delete kind cluster k8s-mgmt",)
    assert kind_clusters(ship) == []
    with closing(ship.env()) as env:
        assert not env.management_kubeconfig.exists()
    ship.world.reset_counters()
    for flow in (UP, PIVOT, CLEAN):
        assert [each.acted for each in ship.make(flow) if each.acted] == []
    assert set(ship.world.writes.values()) == {0}


def test_clean_refuses_while_the_bootstrap_cluster_owns_the_cluster(ship: Ship) -> None:
    with pytest.raises(StepFailed, match="still manages k8s") as caught:
        ship.make(CLEAN)
    assert "tallship pivot" in caught.value.hint
    assert kind_clusters(ship) == ["k8s-mgmt"]


def test_pivot_of_nothing_names_what_comes_first(world: LabWorld) -> None:
    with pytest.raises(SetupError, match="there is no cluster yet") as caught:
        Ship(world, with_image=False).make(PIVOT)
    assert "tallship up" in caught.value.hint


@pytest.mark.parametrize(("phase", "seconds"), KILLED_AFTER)
def test_a_move_that_was_killed_is_finished_by_the_next_run(ship: Ship, phase: str, seconds: float) -> None:
    before, _ = sides(ship)
    if phase == "pivot-move":
        ship.make(select(PIVOT, last="pivot-init"))
    ship.world.fault("program-killed", {"program": "clusterctl", "command": "move"}, seconds=seconds)
    with pytest.raises(TallshipError, match="was killed") as caught:
        ship.make(PIVOT)
    assert caught.value.hint
    ship.make(PIVOT)
    assert sides(ship) == ([], before)
    assert [(each.name, each.detail) for each in seen(ship, PIVOT) if each.state is not State.READY] == []
    assert ship.inventory()["server"] == 3


def test_up_leaves_a_move_that_was_interrupted_alone(ship: Ship) -> None:
    ship.make(select(PIVOT, last="pivot-init"))
    ship.world.fault("program-killed", {"program": "clusterctl", "command": "move"}, seconds=0.8)
    with pytest.raises(TallshipError):
        ship.make(PIVOT)
    before = sides(ship)
    with pytest.raises(StepFailed, match="paused") as caught:
        ship.make(select(UP, first="apply", last="apply"))
    assert "tallship pivot" in caught.value.hint
    assert sides(ship) == before


def test_cluster_that_somebody_else_paused_is_not_moved(ship: Ship) -> None:
    patch_cluster(ship, "outside", {"spec": {"paused": True}})
    with pytest.raises(StepFailed, match="not by a move of ours"):
        ship.make(PIVOT)


def test_objects_that_work_on_both_sides_are_told_with_both_lists(ship: Ship) -> None:
    with closing(ship.env()) as env:
        before = ship.world.run(lambda: env.management.find(*CLUSTER, "k8s", "default"))
        assert before is not None
    ship.make(PIVOT)
    again = {"apiVersion": before["apiVersion"], "kind": "Cluster", "spec": before["spec"]}
    with closing(ship.env()) as env:
        copied = {**again, "metadata": {"name": "k8s", "namespace": "default"}}
        ship.world.run(lambda: env.management.apply(copied))
    with pytest.raises(StepFailed, match="on both sides") as caught:
        ship.make(PIVOT)
    assert "management cluster: Cluster/k8s" in caught.value.detail
    assert "the cluster itself: Cluster/k8s, HCloudMachine/" in caught.value.detail
    with pytest.raises(StepFailed, match="still manages k8s"):
        ship.make(CLEAN)


def test_a_cluster_that_manages_itself_and_is_silent_is_not_made_anew(moved: Ship) -> None:
    moved.world.fault("reset", {"api": "kubernetes", "agent": "tallship"}, 0)
    try:
        with pytest.raises(TallshipError):
            moved.make(select(UP, first="kind-create", last="apply"))
    finally:
        moved.world.do(moved.world.lab.faults.clear)
    here, there = sides(moved)
    assert (here, len(there)) == ([], 12)


def test_sides_are_told_apart(ship: Ship) -> None:
    with closing(ship.env()) as env:
        here, there = ship.world.run(lambda: (outside(env), inside(env)))
    assert (here.is_active, here.is_paused, here.is_moving) == (True, False, False)
    assert there.cluster is None
