"""The flow of `up` against a whole lab in virtual time: what every step and every run must keep."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from lab_world import LabWorld
from ship import WHOLE, Kept, Ship

from tallship.engine import Seen, State, Step, select, steps
from tallship.env import Env
from tallship.errors import SetupError
from tallship.flows import UP

NAMES = [step.name for step in steps(UP)]


class Killed(BaseException):
    """The process ends here."""


@pytest.fixture(scope="module")
def finished(kept: Kept) -> Iterator[Ship]:
    """A cluster that is done; tests that share it must leave it so."""
    with kept.copy() as ship:
        yield ship


@pytest.fixture
def ship(world: LabWorld) -> Ship:
    """An empty project that has the image."""
    return Ship(world)


def test_an_empty_project_becomes_three_ready_nodes_with_the_image_built(world: LabWorld) -> None:
    ship = Ship(world, with_image=False)
    outcomes = ship.make()
    assert {each.name for each in outcomes} == set(NAMES)
    assert {each.state for each in outcomes} == {State.READY}
    assert ship.inventory() == WHOLE


def test_a_second_run_writes_nothing(finished: Ship) -> None:
    finished.world.reset_counters()
    outcomes = finished.make()
    assert [each.acted for each in outcomes] == [()] * len(NAMES)
    assert set(finished.world.writes.values()) == {0}


def test_plan_of_a_finished_cluster_sees_it_done_and_writes_nothing(finished: Ship) -> None:
    finished.world.reset_counters()
    assert {each.state for each in finished.look().values()} == {State.READY}
    assert set(finished.world.writes.values()) == {0}


def test_plan_of_an_empty_project_sees_every_step_and_writes_nothing(ship: Ship) -> None:
    found = ship.look()
    assert list(found) == NAMES
    assert found["firewall"].change.startswith("create firewall k8s; Talos API open to 127.0.0.1")
    assert found["apply"].state is State.BLOCKED
    assert set(ship.world.writes.values()) == {0}


@pytest.mark.parametrize("name", NAMES)
def test_a_step_alone_does_nothing_when_it_is_done(finished: Ship, name: str) -> None:
    assert [each.acted for each in finished.make(select(UP, only=name))] == [()]


def test_a_step_that_is_not_due_names_the_one_before(ship: Ship) -> None:
    with pytest.raises(SetupError, match="needs `kubeconfig` first"):
        ship.make(select(UP, only="cilium"))


def test_stopped_after_every_step_and_run_again_it_ends_the_same(ship: Ship) -> None:
    for name in NAMES:
        ship.make(select(UP, last=name))
    assert ship.inventory() == WHOLE
    assert {each.state for each in ship.look().values()} == {State.READY}


def test_killed_inside_every_act_after_the_server_acted_it_ends_the_same(
    world: LabWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    ship = Ship(world, with_image=False)
    killed: list[str] = []

    def dying(act: Any) -> Any:
        def act_and_die(self: Step[Env], env: Env, seen: Seen) -> None:
            act(self, env, seen)
            if seen.change not in killed:
                killed.append(seen.change)
                raise Killed

        return act_and_die

    for kind in {type(step) for step in steps(UP)}:
        if "act" in vars(kind):
            monkeypatch.setattr(kind, "act", dying(kind.act))
    for _ in range(40):
        try:
            ship.make()
            break
        except Killed:
            continue
    assert len(killed) >= 14
    assert ship.inventory() == WHOLE
    ship.world.reset_counters()
    ship.make()
    assert set(ship.world.writes.values()) == {0}


def test_the_token_is_in_no_file_and_in_nothing_that_was_said(finished: Ship) -> None:
    credentials = {finished.env().kubeconfig, finished.env().talosconfig, finished.env().management_kubeconfig}
    for path in finished.folder.rglob("*"):
        if path.is_file() and path not in credentials:
            assert finished.world.token not in path.read_text(errors="replace"), path
    assert finished.world.token not in "\n".join(finished.recorder.heard)


def test_credentials_are_private(finished: Ship) -> None:
    env = finished.env()
    for path in (env.kubeconfig, env.talosconfig, env.management_kubeconfig):
        assert path.stat().st_mode & 0o077 == 0, path


def drift_firewall(env: Env) -> None:
    hetzner = env.hetzner
    found = hetzner.find_firewall("k8s")
    assert found is not None
    hetzner._ask("POST", f"/firewalls/{found.id}/actions/set_rules", json={"rules": []})


def drift_secret(env: Env) -> None:
    env.management.patch("v1", "Secret", "hetzner", "default", {"data": {"hcloud": "eA=="}})


def drift_replicas(env: Env) -> None:
    kind = ("controlplane.cluster.x-k8s.io/v1alpha3", "TalosControlPlane")
    env.management.patch(
        *kind,
        "k8s-control-plane",
        "default",
        {"spec": {"rolloutStrategy": {"type": "OnDelete", "rollingUpdate": None}}},
    )


def drift_kubeconfig(env: Env) -> None:
    env.kubeconfig.chmod(0o644)


def drift_talosconfig(env: Env) -> None:
    env.talosconfig.write_text("not: a talosconfig\n")


def drift_health_check(env: Env) -> None:
    env.management.delete("cluster.x-k8s.io/v1beta1", "MachineHealthCheck", "k8s-control-plane", "default")


def drift_ccm_secret(env: Env) -> None:
    env.workload.delete("v1", "Secret", "hcloud", "kube-system")


DRIFTS = {
    "firewall": drift_firewall,
    "secret": drift_secret,
    "apply": drift_replicas,
    "kubeconfig": drift_kubeconfig,
    "talosconfig": drift_talosconfig,
    "hcloud-ccm": drift_ccm_secret,
    "health-checks": drift_health_check,
}


@pytest.mark.parametrize("name", DRIFTS)
def test_drift_is_seen_and_repaired(finished: Ship, name: str) -> None:
    with closing(finished.env()) as env:
        DRIFTS[name](env)
    assert finished.look()[name].state is State.MISSING
    finished.make()
    assert {each.state for each in finished.look().values()} == {State.READY}
