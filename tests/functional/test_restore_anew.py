"""A lost cluster is made again in an empty project, with its keys and its objects, and gone on with after any kill."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from lost_etcd import AFTER, BEFORE, labels, machines, note, notes, take
from ship import WHOLE, Kept, Ship

from tallship.engine import Outcome, Run, State, look
from tallship.errors import SetupError, StepFailed, TimedOut
from tallship.flows import PIVOT, UP, destroy
from tallship.manifests import restore as documents
from tallship.ops import restore_anew
from tallship.ops.kinds import CLUSTER, CONTROL_PLANE
from tallship.ops.restore_management import LostManagementRemoved
from tallship.ops.sides import moved_objects


@pytest.fixture
def gone(done: Ship) -> tuple[Ship, Path, Path]:
    """A project in which nothing but the image is left of a cluster; its snapshot, and its secrets."""
    note(done, BEFORE)
    snapshot = take(done)
    note(done, AFTER)
    with closing(done.env()) as env:
        secret = done.world.run(lambda: env.management.find("v1", "Secret", "k8s-talos", "default"))
        assert secret is not None
        secrets = done.world.folder / "secrets.yaml"
        secrets.write_bytes(base64.b64decode(secret["data"]["bundle"]))
        env.agreed = True
        done.world.run(lambda: Run(env, done.world.clock, done.recorder).make(destroy()))
    return done, snapshot, secrets


def sail(ship: Ship, snapshot: Path, secrets: Path, timeout: float | None = None) -> list[Outcome]:
    with closing(ship.env()) as env:
        run = Run(env, ship.world.clock, ship.recorder, timeout, stop=threading.Event())
        return ship.world.run(lambda: run.make(restore_anew.flow(snapshot, secrets, UP)))


def is_whole(ship: Ship, secrets: Path) -> None:
    assert notes(ship) == {BEFORE}
    assert ship.inventory() == WHOLE
    assert labels(ship) == []
    with closing(ship.env()) as env:
        found = ship.world.run(lambda: look(UP, env, ship.world.clock))
        assert {each.state for each in found} == {State.READY}
        nodes = {each["metadata"]["name"] for each in ship.world.run(lambda: env.workload.list("v1", "Node"))}
        held = ship.world.run(lambda: env.home.find(*CONTROL_PLANE, "k8s-control-plane", "default")) or {}
        noted = ship.world.run(lambda: env.home.find(*CLUSTER, "k8s", "default")) or {}
        secret = ship.world.run(lambda: env.home.find("v1", "Secret", "k8s-talos", "default")) or {}
    assert nodes == {each.hostname for each in machines(ship)}, "the lost ones are gone"
    assert documents.PAUSED not in held["metadata"].get("annotations", {})
    assert documents.RESTORING not in noted["metadata"].get("annotations", {})
    assert base64.b64decode(secret["data"]["bundle"]) == secrets.read_bytes()


def test_a_lost_cluster_has_its_objects_again_on_new_servers(gone: tuple[Ship, Path, Path]) -> None:
    ship, snapshot, secrets = gone
    assert ship.inventory() == {"image": 1, "builder": 0, "key": 0}
    sail(ship, snapshot, secrets)
    is_whole(ship, secrets)
    ship.world.reset_counters()
    ship.make(UP)
    assert set(ship.world.writes.values()) == {0}


def test_an_empty_etcd_that_was_begun_after_a_kill_is_wiped(gone: tuple[Ship, Path, Path]) -> None:
    ship, snapshot, secrets = gone
    whole = restore_anew.flow(snapshot, secrets, UP)
    last = next(number for number, each in enumerate(whole) if isinstance(each, restore_anew.ClusterAppliedAnew))
    with closing(ship.env()) as env:
        ship.world.run(lambda: Run(env, ship.world.clock, ship.recorder).make(whole[: last + 1]))
    ship.world.wait(lambda: any(each.has_etcd_data for each in machines(ship)), 300)
    sail(ship, snapshot, secrets)
    is_whole(ship, secrets)


@pytest.mark.long
@pytest.mark.parametrize("seconds", [30, 60, 90, 110, 130, 150, 180, 210])
def test_a_restore_that_was_killed_goes_on(gone: tuple[Ship, Path, Path], seconds: float) -> None:
    ship, snapshot, secrets = gone
    with pytest.raises(TimedOut):
        sail(ship, snapshot, secrets, timeout=seconds)
    sail(ship, snapshot, secrets)
    is_whole(ship, secrets)


def test_it_is_refused_where_servers_are(done: Ship, tmp_path: Path) -> None:
    snapshot, secrets = take(done), tmp_path / "secrets.yaml"
    with closing(done.env()) as env:
        secret = done.world.run(lambda: env.management.find("v1", "Secret", "k8s-talos", "default")) or {}
    secrets.write_bytes(base64.b64decode(secret["data"]["bundle"]))
    done.world.reset_counters()
    with pytest.raises(StepFailed, match="already holds servers of this cluster"):
        sail(done, snapshot, secrets)
    assert set(done.world.writes.values()) == {0}
    secrets.write_text("certs: {}\n")
    with pytest.raises(SetupError, match="no secrets bundle: it lacks 'k8s'"):
        sail(done, snapshot, secrets)


def test_secrets_of_another_cluster_are_not_replaced(gone: tuple[Ship, Path, Path]) -> None:
    ship, snapshot, secrets = gone
    whole = restore_anew.flow(snapshot, secrets, UP)
    with closing(ship.env()) as env:
        ship.world.run(
            lambda: Run(env, ship.world.clock, ship.recorder).make(
                whole[: next(i for i, each in enumerate(whole) if isinstance(each, restore_anew.SecretsGiven))]
            )
        )
        other = documents.secrets(ship.spec.names, "certs: {}\n")
        ship.world.run(lambda: env.home.apply(other))
    with pytest.raises(StepFailed, match="holds other secrets") as caught:
        sail(ship, snapshot, secrets)
    assert "k8s-talos" in caught.value.hint


@pytest.fixture
def gone_after_its_pivot(kept_pivoted: Kept) -> Iterator[tuple[Ship, Path, Path]]:
    """The same of a cluster that managed itself: its snapshot holds its Cluster API, too."""
    with kept_pivoted.copy() as ship:
        note(ship, BEFORE)
        snapshot, secrets = take(ship), ship.world.folder / "secrets.yaml"
        with closing(ship.env()) as env:
            secret = ship.world.run(lambda: env.workload.find("v1", "Secret", "k8s-talos", "default")) or {}
            secrets.write_bytes(base64.b64decode(secret["data"]["bundle"]))
            env.agreed = True
            ship.world.run(lambda: Run(env, ship.world.clock, ship.recorder).make(destroy()))
        yield ship, snapshot, secrets


def managed_inside(ship: Ship) -> list[str]:
    with closing(ship.env()) as env:
        found = ship.world.run(lambda: moved_objects(env.workload))
        found += ship.world.run(lambda: env.workload.list("clusterctl.cluster.x-k8s.io/v1alpha3", "Provider"))
        deployments = ship.world.run(lambda: env.workload.list("apps/v1", "Deployment", "capi-system"))
    return [f"{each['kind']} {each['metadata']['name']}" for each in (*found, *deployments)]


def test_a_cluster_that_managed_itself_is_managed_from_outside(
    gone_after_its_pivot: tuple[Ship, Path, Path],
) -> None:
    ship, snapshot, secrets = gone_after_its_pivot
    sail(ship, snapshot, secrets)
    is_whole(ship, secrets)
    assert managed_inside(ship) == []
    ship.make(PIVOT)
    with closing(ship.env()) as env:
        assert ship.world.run(lambda: env.manages_itself)
    assert ship.inventory() == WHOLE


def test_its_own_controllers_never_wake_up_though_it_is_killed(
    gone_after_its_pivot: tuple[Ship, Path, Path],
) -> None:
    ship, snapshot, secrets = gone_after_its_pivot
    whole = restore_anew.flow(snapshot, secrets, UP)
    last = next(number for number, each in enumerate(whole) if isinstance(each, LostManagementRemoved))
    with closing(ship.env()) as env:
        ship.world.run(lambda: Run(env, ship.world.clock, ship.recorder).make(whole[:last]))
        ship.world.wait(env.workload.is_up, 300)
    assert "Cluster k8s" in managed_inside(ship)
    with closing(ship.env()) as env:
        assert not ship.world.run(lambda: env.manages_itself), "its management cluster is the one outside"
    sail(ship, snapshot, secrets)
    is_whole(ship, secrets)
    assert managed_inside(ship) == []
