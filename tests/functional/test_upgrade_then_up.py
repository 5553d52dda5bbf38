"""After an upgrade in place `up` replaces nothing, and a new server gets the new Talos."""

from __future__ import annotations

from contextlib import closing

import pytest
from ship import Ship
from test_upgrade import machine_names, steer, versions

from tallship.engine import Run
from tallship.flows import UP, upgrade_in_place
from tallship.manifests import image
from tallship.manifests.rollout import is_on_delete
from tallship.ops.cluster import find_control_plane
from tallship.ops.upgrade import FileSays
from tallship.spec import load_spec

NEXT = "v1.12.3"


@pytest.fixture
def upgraded(done: Ship) -> Ship:
    """A cluster whose nodes were upgraded in place, from a file that says so now."""
    *_, file = [step for step in steer(done, talos_version=NEXT) if isinstance(step, FileSays)]
    labels = image.labels(done.spec)
    snapshot = {"architecture": "x86", "disk_gb": 10, "content": {"talos": NEXT}}
    done.world.do(lambda: done.world.lab.hetzner.add_snapshot("new", labels, **snapshot))
    before = machine_names(done)
    with closing(done.env()) as env:
        done.world.run(lambda: Run(env, done.world.clock, done.recorder).make(upgrade_in_place(file)))
    assert machine_names(done) == before, "no server was replaced"
    return done


def test_up_changes_nothing_more(upgraded: Ship) -> None:
    assert versions(upgraded) == {("v1.32.2", NEXT, True)}
    assert load_spec(upgraded.folder / "tallship.yaml").talos.version == NEXT
    upgraded.world.reset_counters()
    upgraded.make(UP)
    assert set(upgraded.world.writes.values()) == {0}


def test_a_new_server_gets_the_new_talos(upgraded: Ship) -> None:
    spec = upgraded.spec
    plane = spec.control_plane.model_copy(update={"replicas": 5})
    upgraded.spec = spec.model_copy(update={"control_plane": plane})
    upgraded.make(UP)
    assert versions(upgraded) == {("v1.32.2", NEXT, True)}


@pytest.mark.long
def test_a_later_roll_out_replaces_every_server_again(upgraded: Ship) -> None:
    with closing(upgraded.env()) as env:
        live = upgraded.world.run(lambda: find_control_plane(env))
        assert live is not None
        assert is_on_delete(live)
    before = machine_names(upgraded)
    with closing(upgraded.env()) as env:
        env.replace = True
        upgraded.world.run(lambda: Run(env, upgraded.world.clock, upgraded.recorder).make(UP))
        live = upgraded.world.run(lambda: find_control_plane(env))
        assert live is not None
        assert not is_on_delete(live)
    assert not before & machine_names(upgraded)


@pytest.mark.long
def test_a_pool_is_upgraded_in_place_too_and_stays(done: Ship) -> None:
    path = done.folder / "tallship.yaml"
    path.write_text("name: k8s\nworkers:\n  - {name: general, server_type: cx33, replicas: 1}\n")
    done.spec = load_spec(path)
    done.make(UP)
    *_, file = [step for step in steer(done, talos_version=NEXT) if isinstance(step, FileSays)]
    snapshot = {"architecture": "x86", "disk_gb": 10, "content": {"talos": NEXT}}
    labels = image.labels(done.spec)
    done.world.do(lambda: done.world.lab.hetzner.add_snapshot("new", labels, **snapshot))
    before = machine_names(done)
    with closing(done.env()) as env:
        done.world.run(lambda: Run(env, done.world.clock, done.recorder).make(upgrade_in_place(file)))
    assert machine_names(done) == before
    assert versions(done) == {("v1.32.2", NEXT, True)}
    done.world.reset_counters()
    done.make(UP)
    assert set(done.world.writes.values()) == {0}
