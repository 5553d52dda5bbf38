"""A lost etcd is restored on the same machines, and gone on with after any kill."""

from __future__ import annotations

from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from lost_etcd import AFTER, BEFORE, labels, machines, note, notes, sail, take, wipe
from ship import Kept, Ship

from tallship.engine import Outcome, State, look
from tallship.errors import StepFailed, TallshipError, TimedOut
from tallship.flows import UP
from tallship.lab import bbolt
from tallship.lab.kube import registry
from tallship.lab.talos.recovery import with_hash
from tallship.manifests import pivot
from tallship.manifests import restore as documents
from tallship.ops import restore
from tallship.ops.kinds import CLUSTER, MACHINE
from tallship.spec import parse_spec


@pytest.fixture
def lost(done: Ship) -> tuple[Ship, Path]:
    """A cluster that has lost two of three members, and a snapshot from before."""
    note(done, BEFORE)
    file = take(done)
    note(done, AFTER)
    wipe(done, 0, 1)
    return done, file


def cluster(ship: Ship) -> dict[str, Any]:
    with closing(ship.env()) as env:
        live = ship.world.run(lambda: env.management.find(*CLUSTER, "k8s", "default"))
    assert live is not None
    return live


def is_whole(ship: Ship) -> None:
    """Look that the cluster is as a finished one, with the same machines, and nobody is held or noted."""
    assert notes(ship) == {BEFORE}
    assert not pivot.is_paused(cluster(ship))
    assert documents.RESTORING not in cluster(ship)["metadata"].get("annotations", {})
    assert labels(ship) == []
    with closing(ship.env()) as env:
        ship.world.wait(lambda: _ready(look(UP, env, ship.world.clock)), 300, 5)
        members = ship.world.run(lambda: env.talos.members(machines(ship)[0].private_ip))
    assert (len(members), [each.is_learner for each in members]) == (3, [False] * 3)


def _ready(found: list[Outcome]) -> bool:
    return {each.state for each in found} == {State.READY}


@pytest.mark.long
def test_one_lost_member_is_no_reason(done: Ship) -> None:
    file = take(done)
    wipe(done, 0)
    with pytest.raises(StepFailed, match="etcd has a quorum"):
        sail(done, file)


def test_what_the_snapshot_holds_is_there_again_on_the_same_machines(lost: tuple[Ship, Path]) -> None:
    ship, file = lost
    with closing(ship.env()) as env:
        before = {each["metadata"]["uid"] for each in ship.world.run(lambda: env.home.list(*MACHINE, "default"))}
    outcomes = sail(ship, file)
    assert [each.name for each in outcomes if each.acted] == [
        "restore-checks",
        "restore-pause",
        "restore-reset",
        "restore-etcd",
        "restore-finish",
    ]
    is_whole(ship)
    assert [each.boots for each in machines(ship)] == [2, 2, 2], "those that waited already are not wiped again"
    with closing(ship.env()) as env:
        after = {each["metadata"]["uid"] for each in ship.world.run(lambda: env.home.list(*MACHINE, "default"))}
    assert after == before


@pytest.mark.parametrize("seconds", [75, *(pytest.param(each, marks=pytest.mark.long) for each in (1, 8, 60, 95, 120))])
def test_a_restore_that_was_killed_goes_on(lost: tuple[Ship, Path], seconds: float) -> None:
    ship, file = lost
    with pytest.raises(TimedOut):
        sail(ship, file, timeout=seconds)
    sail(ship, file)
    is_whole(ship)
    assert machines(ship)[2].boots == 2, "the third is wiped once"


@pytest.mark.long
@pytest.mark.parametrize("step", ["restore-checks", "restore-pause", "restore-reset", "restore-etcd", "restore-join"])
def test_a_restore_goes_on_after_each_step(lost: tuple[Ship, Path], step: str) -> None:
    ship, file = lost
    whole = restore.flow(file)
    names = [each.name for each in whole]  # type: ignore[union-attr]
    sail(ship, file, flow=whole[: names.index(step) + 1])
    sail(ship, file)
    is_whole(ship)
    assert [each.boots for each in machines(ship)] == [2, 2, 2]


@pytest.mark.long
def test_the_lab_may_be_killed_in_the_middle(lost: tuple[Ship, Path]) -> None:
    ship, file = lost
    with suppress(TimedOut):
        sail(ship, file, timeout=62)
    ship.world.kill()
    sail(ship, file)
    is_whole(ship)


@pytest.mark.long
def test_a_second_run_is_refused_since_etcd_is_whole(lost: tuple[Ship, Path]) -> None:
    ship, file = lost
    sail(ship, file)
    ship.world.reset_counters()
    with pytest.raises(StepFailed, match="etcd has a quorum"):
        sail(ship, file)
    assert set(ship.world.writes.values()) == {0}


@pytest.mark.long
def test_answers_that_are_lost_are_looked_for(lost: tuple[Ship, Path]) -> None:
    ship, file = lost
    for rpc in ("Reset", "EtcdRecover", "Bootstrap"):
        ship.world.fault("reset", {"rpc": rpc})
    try:
        sail(ship, file)
    except TallshipError:
        sail(ship, file)
    is_whole(ship)


@pytest.mark.long
def test_a_machine_that_has_no_power_is_asked_for(lost: tuple[Ship, Path]) -> None:
    ship, file = lost
    third = machines(ship)[2]
    with closing(ship.env()) as env:
        ship.world.run(lambda: env.hetzner.power_off(third.server_id))
        ship.world.wait(lambda: not third.is_on, 60)
    with pytest.raises(TimedOut, match="restore-checks") as caught:
        sail(ship, file)
    assert third.name in caught.value.detail
    assert "gone for good" in caught.value.hint
    with closing(ship.env()) as env:
        ship.world.run(lambda: env.hetzner.power_on(third.server_id))
    sail(ship, file)
    is_whole(ship)


@pytest.mark.long
def test_somebody_elses_pause_stays(lost: tuple[Ship, Path]) -> None:
    ship, file = lost
    with closing(ship.env()) as env:
        ship.world.run(lambda: env.management.patch(*CLUSTER, "k8s", "default", {"spec": {"paused": True}}))
    *_, last = sail(ship, file)
    assert "stays paused" in last.detail
    assert pivot.is_paused(cluster(ship))


def test_a_cluster_that_manages_itself_comes_back_with_its_objects(kept_pivoted: Kept) -> None:
    with kept_pivoted.copy() as ship:
        note(ship, BEFORE)
        file = take(ship)
        note(ship, AFTER)
        wipe(ship, 0, 1)
        outcomes = sail(ship, file)
        assert "restore-pause" not in [each.name for each in outcomes if each.acted]
        assert notes(ship) == {BEFORE}
        with closing(ship.env()) as env:
            ship.world.wait(lambda: env.manages_itself, 60)
            assert len(ship.world.run(lambda: env.home.list(*MACHINE, "default"))) == 3
        ship.world.wait(lambda: len(machines(ship)) == 3, 300, 60)
        assert ship.inventory()["server"] == 3


def test_a_snapshot_that_etcd_does_not_take_is_followed_by_another(lost: tuple[Ship, Path]) -> None:
    ship, file = lost
    bad = file.with_name("bad.snapshot")
    content = bbolt.read(file.read_bytes()[:-32])
    place, _ = content[registry.BUCKET][-1]
    content[registry.BUCKET][-1] = (place, registry.pair(b"/registry/pods/x/y", int.from_bytes(place[:8]), b"?")[1])
    bad.write_bytes(with_hash(bbolt.write(content)))
    with pytest.raises(StepFailed, match="did not take the snapshot") as caught:
        sail(ship, bad)
    assert "Failed to run pre stage" in caught.value.message
    assert "another snapshot" in caught.value.hint
    with pytest.raises(StepFailed, match="did not take the snapshot"):
        sail(ship, bad)
    sail(ship, file)
    is_whole(ship)


@pytest.mark.long
def test_machines_that_have_waited_too_long_are_rebooted(lost: tuple[Ship, Path]) -> None:
    ship, file = lost
    ship.world.wait(lambda: [each.etcd_state for each in machines(ship)[:2]] == ["Failed"] * 2, 2000, 30)
    *_, join, _, _ = sail(ship, file)
    assert join.acted == (f"reboot {machines(ship)[1].name}",)
    is_whole(ship)


def test_workers_stay_up_and_come_back_with_the_rest(done: Ship) -> None:
    reading = parse_spec("name: k8s\nworkers: [{name: general, replicas: 1}]\n")
    assert reading.spec is not None
    done.spec = reading.spec
    done.make(UP)
    note(done, BEFORE)
    file = take(done)
    wipe(done, 0, 1)
    outcomes = sail(done, file)
    assert "1 worker" in outcomes[-1].detail
    is_whole(done)
    assert [each.boots for each in machines(done)] == [2, 2, 2, 1]
