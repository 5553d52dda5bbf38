"""The end of a cluster that has volumes: those go that should, those stay that must, and nobody else's is touched."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest
from ship import Ship

from tallship.engine import Seen, Step
from tallship.env import Env
from tallship.errors import StepFailed
from tallship.flows import destroy
from tallship.ops.bill import whole_project
from tallship.spec import parse_spec


def volume(env: Env, name: str, server: int | None = None) -> int:
    """Make a volume at Hetzner and return its id."""
    place = {"server": server} if server else {"location": "nbg1"}
    return int(env.hetzner._ask("POST", "/volumes", json={"name": name, "size": 10, **place})["volume"]["id"])


def claim(env: Env, name: str, handle: int, policy: str) -> None:
    """Put a claimed PersistentVolume into the cluster."""
    driver = {"driver": "csi.hetzner.cloud", "volumeHandle": str(handle)}
    ref = {"namespace": "default", "name": f"{name}-claim"}
    common: dict[str, Any] = {"accessModes": ["ReadWriteOnce"], "storageClassName": "hcloud-volumes"}
    spec = {**common, "capacity": {"storage": "10Gi"}, "csi": driver, "persistentVolumeReclaimPolicy": policy}
    env.workload.apply(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": name},
            "spec": {**spec, "claimRef": ref},
        }
    )
    spec = {**common, "resources": {"requests": {"storage": "10Gi"}}, "volumeName": name}
    env.workload.apply(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": ref["name"], "namespace": "default"},
            "spec": spec,
        }
    )


@pytest.fixture
def ship(done: Ship) -> Ship:
    """A cluster with a volume that goes, one that is to be kept, and two of somebody else, one on its own server."""
    with closing(done.env()) as env:

        def make() -> None:
            server = env.hetzner.list_servers(done.spec.names.owned_by_caph)[0].id
            claim(env, "goes", volume(env, "pvc-goes", server), "Delete")
            claim(env, "kept", volume(env, "pvc-kept", server), "Retain")
            volume(env, "attached-by-hand", server)
            volume(env, "other")

        done.world.run(make)
    return done


def volumes(ship: Ship) -> list[str]:
    with closing(ship.env()) as env:
        return [each.name for each in ship.world.run(lambda: env.hetzner.list_resources("volumes"))]


def test_the_sweep_takes_what_no_driver_deletes(ship: Ship) -> None:
    ship.make(destroy())
    assert volumes(ship) == ["pvc-kept", "attached-by-hand", "other"]


def test_a_driver_that_works_is_waited_for(ship: Ship, monkeypatch: pytest.MonkeyPatch) -> None:
    heard = ship.recorder.acting

    def acting(step: Step[Any], seen: Seen) -> None:
        heard(step, seen)
        if step.name == "destroy-cluster":
            with closing(ship.env()) as env:
                assert env.hetzner.list_resources("volumes")[0].name == "pvc-kept"
        if seen.change.startswith("delete claims"):
            with closing(ship.env()) as env:
                env.workload.delete("v1", "PersistentVolume", "goes")
                (own,) = env.hetzner.list_resources("volumes", ship.spec.names.owned_by_caph)
                env.hetzner._ask("POST", f"/volumes/{own.id}/actions/detach")
                env.hetzner._ask("DELETE", f"/volumes/{own.id}")

    monkeypatch.setattr(ship.recorder, "acting", acting)
    began = ship.world.clock.now()
    outcomes = {each.name: each for each in ship.make(destroy())}
    assert outcomes["destroy-volumes"].seconds < 30
    assert ship.world.clock.now() > began
    assert volumes(ship) == ["pvc-kept", "attached-by-hand", "other"]


def test_a_silent_cluster_keeps_its_volumes_unless_the_person_says_so(ship: Ship) -> None:
    ship.world.fault("reset", {"api": "kubernetes", "agent": "tallship"}, times=0)
    ship.make(destroy(by_label=True))
    assert volumes(ship) == ["pvc-goes", "pvc-kept", "attached-by-hand", "other"]


def test_a_silent_cluster_loses_them_when_the_person_says_so(ship: Ship) -> None:
    ship.world.fault("reset", {"api": "kubernetes", "agent": "tallship"}, times=0)
    ship.make(destroy(by_label=True, volumes=True))
    assert volumes(ship) == ["other"]


def test_what_is_left_is_told_with_its_price(ship: Ship) -> None:
    ship.make(destroy())
    with closing(ship.env()) as env:
        rest = ship.world.run(lambda: whole_project(env))
    assert [f"{each.noun} {each.name}" for each in rest.lines] == [
        *("volume pvc-kept", "volume attached-by-hand", "volume other", "snapshot Talos")
    ]
    assert rest.monthly_net > 0


def test_its_snapshots_go_when_asked_for(ship: Ship) -> None:
    ship.make(destroy(images=True))
    with closing(ship.env()) as env:
        assert ship.world.run(lambda: env.hetzner.list_resources("images")) == []


def test_a_protected_cluster_is_not_touched(ship: Ship) -> None:
    spec = parse_spec("name: k8s\ndelete_protection: true\n").spec
    assert spec is not None
    ship.spec = spec
    ship.world.reset_counters()
    with pytest.raises(StepFailed, match="protects"):
        ship.make(destroy())
    assert set(ship.world.writes.values()) == {0}
