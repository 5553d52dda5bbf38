"""A server type that is sold out: the cluster file names what to take in its place."""

from __future__ import annotations

from contextlib import closing

import pytest
from lab_world import LabWorld
from ship import Ship
from test_upgrade import sail

from tallship.errors import StepFailed
from tallship.flows import UP, change
from tallship.ops.node_list import list_nodes
from tallship.ops.upgrade import FileSays
from tallship.spec import load_spec
from tallship.spec.load import load_spec_with

FILE = "name: k8s\ncontrol_plane: {fallback_types: [cpx32, ccx13]}\n"
NEXT = "v1.32.3"


def types(ship: Ship) -> set[str]:
    with closing(ship.env()) as env:
        return {each.server_type for each in ship.world.run(lambda: list_nodes(env))}


def up_changes_nothing(ship: Ship) -> None:
    ship.world.reset_counters()
    ship.make(UP)
    assert set(ship.world.writes.values()) == {0}


@pytest.fixture
def flow_of(done: Ship) -> FileSays:
    """A cluster whose file has fallbacks and wants another version."""
    path = done.folder / "tallship.yaml"
    path.write_text(FILE)
    done.spec = load_spec_with(path, {"kubernetes.version": NEXT})
    return FileSays(path, {("kubernetes", "version"): NEXT})


def test_a_type_that_is_sold_out_in_the_middle_is_replaced_by_the_next(done: Ship, flow_of: FileSays) -> None:
    done.world.fault("no-capacity", {"server_type": "cx33"}, times=0)
    sail(done, change(flow_of))
    assert types(done) == {"cpx32"}
    told = [line for line in done.recorder.heard if line.startswith("roll-out: take")]
    assert len(told) == 1
    assert "take cpx32 for cx33, which is sold out" in told[0]
    assert done.inventory()["server"] == 3
    up_changes_nothing(done)


def test_what_is_known_to_be_sold_out_is_not_tried(done: Ship, flow_of: FileSays) -> None:
    done.world.fault("no-capacity", {"server_type": "cx33"}, times=0, listed=True)
    sail(done, change(flow_of))
    assert types(done) == {"cpx32"}
    assert not [line for line in done.recorder.heard if line.startswith("roll-out: take")]


def test_a_cluster_that_stands_keeps_its_type(done: Ship) -> None:
    path = done.folder / "tallship.yaml"
    path.write_text(FILE)
    done.spec = load_spec(path)
    done.world.fault("no-capacity", {"server_type": "cx33"}, times=0, listed=True)
    up_changes_nothing(done)
    assert types(done) == {"cx33"}


def test_a_new_cluster_is_made_of_what_there_is(world: LabWorld) -> None:
    ship = Ship(world)
    path = ship.folder / "tallship.yaml"
    path.write_text(FILE)
    ship.spec = load_spec(path)
    world.fault("no-capacity", {"server_type": "cx33"}, times=0, listed=True)
    world.fault("no-capacity", {"server_type": "cpx32"}, times=0, listed=True)
    ship.make(UP)
    assert types(ship) == {"ccx13"}


def test_where_everything_is_sold_out_nothing_is_begun(done: Ship, flow_of: FileSays) -> None:
    for name in ("cx33", "cpx32", "ccx13"):
        done.world.fault("no-capacity", {"server_type": name}, times=0, listed=True)
    with pytest.raises(StepFailed, match="`cx33` is sold out"):
        sail(done, change(flow_of))
    assert types(done) == {"cx33"}
