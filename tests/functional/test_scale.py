"""`tallship scale`: one control plane at a time, etcd whole at each number."""

from __future__ import annotations

from contextlib import closing

import pytest
from ship import Ship

from tallship.engine import Run
from tallship.errors import TallshipError, TimedOut
from tallship.flows import UP, change
from tallship.ops.node_list import list_nodes
from tallship.ops.scale import counted
from tallship.ops.upgrade import FileSays
from tallship.spec import load_spec
from tallship.spec.load import load_spec_with

KEYS = ("control_plane", "replicas")


def scale(ship: Ship, number: int, timeout: float | None = None) -> None:
    path = ship.folder / "tallship.yaml"
    if not path.exists():
        path.write_text("name: k8s\n")
    ship.spec = load_spec_with(path, {".".join(KEYS): str(number)})
    with closing(ship.env()) as env:

        def make() -> None:
            flow = change(FileSays(path, {KEYS: number}), counted(env))
            Run(env, ship.world.clock, ship.recorder, timeout).make(flow)

        ship.world.run(make)


def members(ship: Ship) -> int:
    with closing(ship.env()) as env:
        return sum(each.etcd in ("leader", "member") for each in ship.world.run(lambda: list_nodes(env)))


def test_it_grows_by_one_and_one_and_shrinks_again(done: Ship) -> None:
    scale(done, 5)
    assert members(done) == 5
    assert done.inventory()["server"] == 5
    assert load_spec(done.folder / "tallship.yaml").control_plane.replicas == 5
    told = [line for line in done.recorder.heard if line.startswith("scale: make")]
    assert told == ["scale: make 3 control planes 4", "scale: make 4 control planes 5"]
    scale(done, 3)
    assert members(done) == 3
    assert done.inventory()["server"] == 3
    done.world.reset_counters()
    done.make(UP)
    assert set(done.world.writes.values()) == {0}


def test_one_that_was_stopped_between_two_numbers_goes_on(done: Ship) -> None:
    with pytest.raises(TimedOut):
        scale(done, 5, timeout=30)
    scale(done, 5)
    assert members(done) == 5


def test_a_sick_member_of_etcd_stops_it_before_anything(done: Ship) -> None:
    with closing(done.env()) as env:
        name = min(each.name for each in done.world.run(lambda: list_nodes(env)))
    done.world.fault("etcd-member-unhealthy", {"machine": name}, times=0)
    with pytest.raises(TallshipError, match="etcd has no member to spare"):
        scale(done, 5)
    assert done.inventory()["server"] == 3
