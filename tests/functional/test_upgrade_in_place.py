"""Talos is upgraded in place: one node at a time, gone on with after a kill, never past a node that has failed."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from functools import partial
from typing import Any

import pytest
import worked_pool
from in_place_world import documents, flow, machines, nodes, observed, running, sail, set_talos, towards
from lab_world import LabWorld
from ship import Kept, Ship

from tallship.adapters import talos_upgrade
from tallship.engine import Run, State, look
from tallship.errors import StepFailed, TallshipError, TimedOut
from tallship.flows import UP
from tallship.manifests import conditions, image, in_place
from tallship.ops import image_build, in_place_nodes, upgrade_in_place
from tallship.ops.kinds import CLUSTER, CONTROL_PLANE, MACHINE
from tallship.ops.upgrade_in_place import TalosUpgradedInPlace


def test_every_node_is_upgraded_one_after_another(done: Ship) -> None:
    before = {each["metadata"]["name"]: each["spec"] for each in documents(done, MACHINE)}
    planes = [each["spec"] for each in documents(done, CONTROL_PLANE)]
    first, elections = leading(done), term(done)
    with observed(done) as down:
        made = calls_of(towards(done, "v1.13.0"))
    assert max(map(len, down)) == 1, "never are two nodes away"
    assert started(done) == [*sorted({each.hostname for each in machines(done)} - {first}), first]
    assert term(done) == elections + 1, "the leader gave up its lead, and there was no other election"
    assert (made["Upgrade"], made.get("Pull", 0), made.get("Reboot", 0)) == (3, 0, 0), "by what runs, not by the target"
    assert running(done) == ["v1.13.0"] * 3
    assert {conditions.talos_version(each) for each in nodes(done)} == {"v1.13.0"}
    assert not any(in_place.is_cordoned(each) for each in nodes(done))
    after = documents(done, MACHINE)
    assert {each["metadata"]["name"]: each["spec"] for each in after} == before
    assert [each["spec"] for each in documents(done, CONTROL_PLANE)] == planes
    for each in after:
        assert not {in_place.MARK, in_place.SKIP_REMEDIATION} & set(each["metadata"].get("annotations", {}))
    with closing(done.env()) as env:
        (comeback,) = done.world.run(lambda: in_place_nodes.comebacks(env))
    assert comeback == in_place.Comeback("v1.12.2", {each.hostname: "v1.13.0" for each in machines(done)})
    done.world.reset_counters()
    assert [each.acted for each in sail(done)] == [(), ()]
    assert set(done.world.writes.values()) == {0}


def started(ship: Ship) -> list[str]:
    """Return the names of the nodes whose upgrade was begun, in order."""
    said = "upgrade-in-place: upgrade "
    return [each.removeprefix(said).split()[0] for each in ship.recorder.heard if each.startswith(said)]


def leading(ship: Ship) -> str:
    lab = ship.world.lab.machines
    key = machines(ship)[0].cluster_id
    found = ship.world.do(lambda: lab.etcd.leader(key, lab.alive(key)))
    assert found is not None
    return found.hostname


def term(ship: Ship) -> int:
    """Return how many elections etcd had."""
    return ship.world.do(lambda: ship.world.lab.machines.etcd.term(machines(ship)[0].cluster_id))


def calls_of(ship: Ship) -> dict[str, int]:
    """Sail, and return the calls that were made of the nodes."""
    with closing(ship.env()) as env:
        ship.world.run(lambda: Run(env, ship.world.clock, ship.recorder).make(flow()))
        return env.calls()["talos"]


def pods(ship: Ship) -> list[dict[str, Any]]:
    with closing(ship.env()) as env:
        return ship.world.run(lambda: env.workload.list("v1", "Pod"))


def test_a_node_drains_itself_and_leaves_somebody_elses_cordon(done: Ship) -> None:
    """What the lab's machines do by themselves, whoever calls."""
    busy = {str(each["spec"].get("nodeName")) for each in in_place_evictable(done)}
    chosen = next(each for each in machines(done) if each.hostname in busy)
    with closing(done.env()) as env:
        registered = towards(done, "v1.12.3").spec

        def begin() -> None:
            image_build.register(env, registered)
            env.workload.patch("v1", "Node", chosen.hostname, "", {"spec": {"unschedulable": True}})
            talos_upgrade.start(env.talos, chosen.private_ip, image.installer(registered))

        done.world.run(begin)
    done.world.wait(lambda: chosen.talos_version == "v1.12.3" and chosen.stage == "running", 200)
    done.world.wait(lambda: all(conditions.node_ready(each) for each in nodes(done)), 200)
    done.world.wait(lambda: all(conditions.is_true(each, "Ready") for each in pods(done)), 200)
    (node,) = (each for each in nodes(done) if conditions.name(each) == chosen.hostname)
    assert in_place.is_cordoned(node), "who cordons first has to take it back"
    assert "talos.dev/cordoned" not in node["metadata"].get("annotations", {})
    left = [each for each in pods(done) if each["spec"]["nodeName"] == chosen.hostname]
    assert {each["metadata"]["ownerReferences"][0]["kind"] for each in left} == {"DaemonSet"}


def in_place_evictable(ship: Ship) -> list[Mapping[str, Any]]:
    found = pods(ship)
    return [each for name in {pod["spec"]["nodeName"] for pod in found} for each in in_place.to_evict(found, name)]


def test_a_look_tells_and_touches_nothing(done: Ship) -> None:
    towards(done, "v1.12.3").world.reset_counters()
    with closing(done.env()) as env:
        (allowed, outcome) = done.world.run(lambda: look(flow(), env, done.world.clock))
        told = done.world.run(lambda: in_place_nodes.outdated(env))
    assert allowed.state is State.READY
    assert set(told.values()) == {"v1.12.2"}
    assert len(told) == 3
    assert (outcome.state, outcome.detail) == (State.MISSING, "0 of 3 nodes run Talos v1.12.3")
    assert outcome.change.startswith("upgrade k8s-control-plane-")
    assert set(done.world.writes.values()) == {0}


@pytest.mark.parametrize(
    "seconds",
    [
        60,
        pytest.param(5, marks=pytest.mark.long),
        pytest.param(30, marks=pytest.mark.long),
        pytest.param(90, marks=pytest.mark.long),
        pytest.param(150, marks=pytest.mark.long),
        pytest.param(250, marks=pytest.mark.long),
    ],
)
@pytest.mark.parametrize("what", ["run", pytest.param("lab", marks=pytest.mark.long)])
def test_an_upgrade_that_was_stopped_goes_on(done: Ship, seconds: float, what: str) -> None:
    towards(done, "v1.12.3")
    with pytest.raises(TimedOut):
        sail(done, timeout=seconds)
    if what == "lab":
        done.world.kill()
    with observed(done) as down:
        sail(done)
    assert max(map(len, down)) == 1
    assert running(done) == ["v1.12.3"] * 3
    assert [each.boots for each in machines(done)] == [2] * 3, "no node was upgraded twice"
    assert not any(in_place.mark_of(each) for each in documents(done, MACHINE))


def failure(ship: Ship) -> TallshipError:
    with pytest.raises(TallshipError) as caught:
        sail(ship)
    return caught.value


def test_a_node_that_fails_is_the_last_one_that_is_touched(done: Ship) -> None:
    towards(done, "v1.12.3").world.fault("upgrade-fails")
    error = failure(done)
    assert isinstance(error, StepFailed)
    assert "failed on the node: it has booted again" in error.message
    assert "failed to install bootloader" in error.detail
    assert "tries again" in error.hint
    assert running(done) == ["v1.12.2"] * 3
    assert sorted(each.boots for each in machines(done)) == [1, 1, 2]
    for each in documents(done, MACHINE):
        assert not {in_place.MARK, in_place.SKIP_REMEDIATION} & set(each["metadata"].get("annotations", {}))
    with pytest.raises(TimedOut):
        sail(done, timeout=200)
    assert "v1.12.3" in running(done), "the same command tries again"


def refusal(ship: Ship) -> str:
    """Return why nothing is begun; nothing was written."""
    ship.world.reset_counters()
    error = failure(ship)
    assert isinstance(error, StepFailed)
    assert error.hint
    assert set(ship.world.writes.values()) == {0}
    assert [each.boots for each in machines(ship)] == [1] * len(machines(ship))
    return error.message


def test_nothing_is_begun_while_a_member_of_etcd_is_sick(done: Ship) -> None:
    done.world.fault("etcd-member-unhealthy", {"machine": machines(done)[2].hostname}, times=0)
    assert "is Running, not healthy" in refusal(towards(done, "v1.12.3"))


def test_nothing_is_begun_while_the_cluster_is_paused(done: Ship) -> None:
    with closing(done.env()) as env:
        done.world.run(lambda: env.home.patch(*CLUSTER, "k8s", "default", {"spec": {"paused": True}}))
    assert "is paused" in refusal(towards(done, "v1.12.3"))


def test_nothing_is_begun_while_a_node_is_cordoned(done: Ship) -> None:
    name = machines(done)[1].hostname
    with closing(done.env()) as env:
        done.world.run(lambda: env.workload.patch("v1", "Node", name, "", {"spec": {"unschedulable": True}}))
    assert f"`kubectl uncordon {name}`" in refusal(towards(done, "v1.12.3"))


@pytest.mark.parametrize(("current", "target"), [("v1.12.2", "v1.10.9"), ("v1.11.6", "v1.14.0")])
def test_a_jump_that_the_installer_would_refuse_is_refused_before_anything(
    done: Ship, current: str, target: str
) -> None:
    set_talos(done, current)
    assert f"Talos {target} cannot be installed over {current}" in refusal(towards(done, target))


def test_from_1_13_on_the_client_drains_and_reboots(done: Ship) -> None:
    set_talos(done, "v1.13.0")
    towards(done, "v1.13.1")
    with observed(done) as down:
        made = calls_of(done)
    assert (made["Upgrade"], made["Pull"], made["Reboot"]) == (3, 3, 3)
    assert max(map(len, down)) == 1
    assert running(done) == ["v1.13.1"] * 3
    assert not any(in_place.is_cordoned(each) or in_place.is_cordoned_by_us(each) for each in nodes(done))
    assert not any(in_place.mark_of(each) for each in documents(done, MACHINE))


@pytest.mark.long
@pytest.mark.parametrize("seconds", [5, 50])
def test_an_upgrade_with_lifecycle_that_was_stopped_goes_on(done: Ship, seconds: float) -> None:
    set_talos(done, "v1.13.0")
    with pytest.raises(TimedOut):
        sail(towards(done, "v1.13.1"), timeout=seconds)
    sail(done)
    assert running(done) == ["v1.13.1"] * 3
    assert [each.boots for each in machines(done)] == [2] * 3


def test_an_installer_that_fails_beside_the_system_stops_nothing(done: Ship) -> None:
    set_talos(done, "v1.13.0")
    done.world.fault("upgrade-fails")
    error = failure(towards(done, "v1.13.1"))
    assert "ended with status 1" in error.message
    assert "failed to install bootloader" in error.detail
    assert [each.boots for each in machines(done)] == [1] * 3
    assert not any(in_place.mark_of(each) for each in documents(done, MACHINE))


@pytest.mark.parametrize(
    ("fault", "minutes"),
    [
        ("kubelet-fails", 9),
        pytest.param("kubelet-fails", 30, marks=pytest.mark.long),
        pytest.param("machine-never-boots", 9, marks=pytest.mark.long),
    ],
)
def test_a_node_that_does_not_come_back_is_late_and_left_alone(
    done: Ship, monkeypatch: pytest.MonkeyPatch, fault: str, minutes: int
) -> None:
    monkeypatch.setattr(upgrade_in_place, "NODE_SECONDS", minutes * 60.0)
    monkeypatch.setattr(TalosUpgradedInPlace, "interval", 5.0 if minutes == 30 else 15.0)
    done.world.fault(fault)
    error = failure(towards(done, "v1.12.3"))
    assert isinstance(error, TimedOut)
    assert f"is not back after {minutes} minutes of its upgrade to v1.12.3" in error.message
    assert ("nodeReady" in error.detail) or fault != "kubelet-fails"
    assert sorted(each.boots for each in machines(done)) == [1, 1, 2]
    remediations = ("infrastructure.cluster.x-k8s.io/v1beta1", "HCloudRemediation")
    assert documents(done, remediations) == [], "the health check leaves a node that is upgraded alone"


@pytest.mark.long
def test_somebody_elses_wish_to_skip_remediation_stays(done: Ship) -> None:
    name = documents(done, MACHINE)[0]["metadata"]["name"]
    change = {"metadata": {"annotations": {in_place.SKIP_REMEDIATION: ""}}}
    with closing(done.env()) as env:
        done.world.run(lambda: env.home.patch(*MACHINE, name, "default", change))
    sail(towards(done, "v1.12.3"))
    kept = {each["metadata"]["name"]: each["metadata"].get("annotations", {}) for each in documents(done, MACHINE)}
    assert [name for name, each in kept.items() if in_place.SKIP_REMEDIATION in each] == [name]


@pytest.mark.long
def test_an_answer_that_is_lost_is_looked_for_and_not_asked_for_again(done: Ship) -> None:
    towards(done, "v1.12.3").world.fault("reset", {"rpc": "Upgrade"})
    sail(done)
    assert [each.boots for each in machines(done)] == [2] * 3


def test_an_installer_that_cannot_be_pulled_ends_before_anything_was_stopped(done: Ship) -> None:
    towards(done, "v1.12.3").world.fault("image-pull")
    error = failure(done)
    assert "error validating installer image" in error.message
    assert [each.boots for each in machines(done)] == [1] * 3
    assert not any(in_place.mark_of(each) for each in documents(done, MACHINE))


@pytest.fixture
def with_workers(done: Ship) -> Ship:
    """A finished cluster and two workers."""
    label = image.labels(done.spec)["caph-image-name"]
    with closing(done.env()) as env:
        for document in worked_pool.documents(2, image=label):
            done.world.run(partial(env.home.apply, document))
    done.world.wait(lambda: sum(conditions.node_ready(each) for each in nodes(done)) == 5, 600, 5)
    return done


@pytest.mark.long
def test_workers_come_after_the_control_planes(with_workers: Ship) -> None:
    ship = with_workers
    workers = {each.hostname for each in machines(ship) if not each.is_control_plane}
    assert len(workers) == 2
    with observed(ship) as down:
        sail(towards(ship, "v1.12.3"))
    assert max(map(len, down)) == 1
    assert running(ship) == ["v1.12.3"] * 5
    assert set(started(ship)[3:]) == workers
    with closing(ship.env()) as env:
        found = ship.world.run(lambda: in_place_nodes.comebacks(env))
    assert [(each.version, len(each.others)) for each in found] == [("v1.12.2", 3), ("v1.12.2", 2)]
    assert not any(in_place.is_cordoned(each) for each in nodes(ship))


@pytest.mark.long
@pytest.mark.parametrize(("current", "target"), [("v1.12.2", "v1.12.3"), ("v1.13.0", "v1.13.1")])
def test_a_cluster_that_manages_itself_is_upgraded_too(kept_pivoted: Kept, current: str, target: str) -> None:
    with kept_pivoted.copy() as ship:
        set_talos(ship, current)
        sail(towards(ship, target))
        assert running(ship) == [target] * 3
        assert [each.boots for each in machines(ship)] == [2] * 3
        assert not any(in_place.mark_of(each) for each in documents(ship, MACHINE))


@pytest.mark.long
@pytest.mark.parametrize(("current", "target"), [("v1.12.2", "v1.12.3"), ("v1.13.0", "v1.13.1")])
def test_a_single_node_is_away_and_comes_back(world: LabWorld, current: str, target: str) -> None:
    more = "control_plane:\n  replicas: 1\n"
    ship = towards(Ship(world), "v1.12.2", more)
    ship.make(UP)
    set_talos(ship, current)
    with pytest.raises(TimedOut):
        sail(towards(ship, target, more), timeout=40)
    sail(ship)
    assert running(ship) == [target]
    assert [each.boots for each in machines(ship)] == [2]
    assert not any(in_place.is_cordoned(each) for each in nodes(ship))


@pytest.mark.long
def test_the_talos_api_may_be_behind_the_load_balancer(world: LabWorld) -> None:
    more = "load_balancer:\n  talos_api: true\n"
    ship = towards(Ship(world), "v1.12.2", more)
    ship.make(UP)
    with pytest.raises(TimedOut):
        sail(towards(ship, "v1.12.3", more), timeout=70)
    sail(ship)
    assert running(ship) == ["v1.12.3"] * 3
    assert [each.boots for each in machines(ship)] == [2] * 3
