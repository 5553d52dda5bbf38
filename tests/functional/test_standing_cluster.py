"""A cluster that stands: what must not be touched is left alone and explained; no machine is replaced unasked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from ship import Kept, Ship

from tallship.engine import State, look, select
from tallship.errors import StepFailed, TallshipError
from tallship.flows import UP
from tallship.manifests import cluster, image, talos
from tallship.manifests.changes import Effect
from tallship.ops.changes import changes
from tallship.ops.kinds import CONTROL_PLANE, MACHINE
from tallship.spec import Spec, parse_spec


@pytest.fixture(scope="module")
def standing(kept: Kept) -> Iterator[Ship]:
    """A cluster that is done; each test leaves it so."""
    with kept.copy() as ship:
        yield ship
        assert {each.state for each in ship.look().values()} == {State.READY}


def spec_of(text: str) -> Spec:
    spec = parse_spec(text).spec
    assert spec is not None
    return spec


def machines(ship: Ship) -> set[str]:
    with closing(ship.env()) as env:
        return {each["metadata"]["uid"] for each in ship.world.run(lambda: env.home.list(*MACHINE, "default"))}


def control_plane(ship: Ship) -> dict[str, Any]:
    with closing(ship.env()) as env:
        live = ship.world.run(lambda: env.home.find(*CONTROL_PLANE, "k8s-control-plane", "default"))
    assert live is not None
    return live


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name: k8s\ncontrol_plane:\n  server_type: cpx32\n", "server type or image differ"),
        ("name: k8s\nkubernetes:\n  version: v1.32.3\n", "Kubernetes v1.32.2 becomes v1.32.3"),
        ("name: k8s\noidc:\n  issuer: https://login.example.com\n  client_id: k8s\n", "its Talos patches differ"),
    ],
)
def test_what_would_replace_every_server_is_told_and_not_done(
    standing: Ship, monkeypatch: pytest.MonkeyPatch, text: str, says: str
) -> None:
    before = machines(standing), control_plane(standing)["metadata"]["generation"]
    monkeypatch.setattr(standing, "spec", spec_of(text))
    with pytest.raises(StepFailed, match=says) as caught:
        standing.make(select(UP, only="apply"))
    assert "--replace" in caught.value.hint
    assert (machines(standing), control_plane(standing)["metadata"]["generation"]) == before


def test_patches_that_are_worded_differently_replace_nobody(standing: Ship, monkeypatch: pytest.MonkeyPatch) -> None:
    before, stored = machines(standing), control_plane(standing)["spec"]
    original = talos.dump
    monkeypatch.setattr(talos, "dump", lambda document: f"# another wording\n{original(document)}")
    wanted = cluster.control_plane(standing.spec, "127.0.0.1")["spec"]["controlPlaneConfig"]["controlplane"]
    assert all(patch.startswith("# another wording") for patch in wanted["strategicPatches"])
    standing.world.reset_counters()
    outcomes = standing.make(select(UP, only="apply"))
    assert [each.acted for each in outcomes] == [()]
    assert (machines(standing), control_plane(standing)["spec"]) == (before, stored)


def test_two_images_of_one_name_are_told_by_their_numbers(standing: Ship) -> None:
    lab, labels = standing.world.lab, image.labels(standing.spec)
    second = standing.world.do(
        lambda: lab.hetzner.add_snapshot("Talos", labels, architecture="x86", disk_gb=10, content={})
    )
    with pytest.raises(StepFailed, match=f"2 images are named .*{second['id']}") as caught:
        standing.make(select(UP, only="image"))
    assert "image build --rebuild" in caught.value.hint
    with closing(standing.env()) as env:
        env.hetzner._ask("DELETE", f"/images/{second['id']}")


def test_providers_of_another_version_are_left_alone(standing: Ship) -> None:
    kind = ("clusterctl.cluster.x-k8s.io/v1alpha3", "Provider")

    def set_version(version: str) -> None:
        with closing(standing.env()) as env:
            (caph,) = (each for each in env.home.list(*kind) if "hetzner" in each["metadata"]["name"])
            metadata = caph["metadata"]
            env.home.patch(*kind, metadata["name"], metadata["namespace"], {"version": version})

    set_version("v1.1.0")
    with pytest.raises(StepFailed, match=r"is v1\.1\.0, not v1\.0\.7"):
        standing.make(select(UP, only="capi-init"))
    set_version("v1.0.7")


def test_kubeconfig_of_a_cluster_that_is_gone_is_replaced(standing: Ship) -> None:
    with closing(standing.env()) as env:
        env.kubeconfig.write_text(env.management_kubeconfig.read_text())
    (outcome,) = standing.make(select(UP, only="kubeconfig"))
    assert outcome.acted
    with closing(standing.env()) as env:
        assert standing.world.run(env.workload.is_up)


def test_run_with_a_spec_of_another_name_finds_nothing_of_this_one(
    standing: Ship, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standing, "spec", spec_of("name: other\n"))
    with pytest.raises(TallshipError):
        standing.make(select(UP, only="kubeconfig"))
    with closing(standing.env()) as env:
        assert standing.world.run(lambda: list(env.hetzner.list_owned(env.spec.names.owned_by_caph))) == []


def test_what_no_cluster_changes_is_refused_and_not_done(standing: Ship, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standing, "spec", spec_of("name: k8s\nnetwork: {services: 10.10.112.0/20}\n"))
    standing.world.reset_counters()
    with pytest.raises(StepFailed, match=r"services: .* would become") as caught:
        standing.make(select(UP, only="apply"))
    assert "another cluster" in caught.value.hint
    assert set(standing.world.writes.values()) == {0}


def test_plan_says_what_becomes_of_everything(standing: Ship, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "name: k8s\ncontrol_plane: {server_type: cx43}\naddons: {cilium: {version: 1.18.7}}\n"
    monkeypatch.setattr(standing, "spec", spec_of(text))
    with closing(standing.env()) as env:
        found = standing.world.run(lambda: changes(env, look(UP, env, standing.world.clock)))
    assert {each.what: each.effect for each in found} == {
        "Cluster": Effect.NONE,
        "HetznerCluster": Effect.NONE,
        "control plane": Effect.REPLACE,
        "firewall": Effect.NONE,
        "token": Effect.NONE,
        "cilium": Effect.IN_PLACE,
        "hcloud-ccm": Effect.NONE,
        "talos-ccm": Effect.NONE,
        "health checks": Effect.NONE,
    }
