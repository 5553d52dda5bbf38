"""A person changes things by hand while a run lasts: nothing is lost, and what was changed is said."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import pytest
from lab_world import LabWorld
from ship import WHOLE, Recorder, Ship

from tallship import versions
from tallship.adapters.kube import Kube
from tallship.engine import Flow, Outcome, Run, Seen, State, Step, select
from tallship.env import Env
from tallship.errors import SetupError, StepFailed, TallshipError, TimedOut
from tallship.flows import UP
from tallship.manifests import firewall
from tallship.ops.cluster import ClusterApplied
from tallship.ops.kinds import CLUSTER, CONTROL_PLANE, HETZNER_CLUSTER, MACHINE
from tallship.ops.status import look as status

PLANE = "k8s-control-plane"
KUBECTL, GITOPS = "kubectl-edit", "gitops"
MERGE, APPLY = "application/merge-patch+json", "application/apply-patch+yaml"
Deed = Callable[[Env], object]


@dataclass
class Meddler(Recorder):
    """Hears a run, and does something by hand when it has come to a moment."""

    ship: Ship | None = None
    at: str = ""
    deed: Deed = lambda _env: None
    is_done: bool = False

    def started(self, step: Step[Any]) -> None:
        super().started(step)
        self._come_to(f"{step.name} begins")

    def saw(self, step: Step[Any], seen: Seen) -> None:
        super().saw(step, seen)
        if seen.state is State.WORKING:
            self._come_to(f"{step.name} waits")

    def _come_to(self, moment: str) -> None:
        if moment == self.at and not self.is_done:
            self.is_done = True
            assert self.ship is not None
            with closing(self.ship.env()) as env:
                self.deed(env)


def sail(ship: Ship, at: str, deed: Deed, flow: Flow[Env] = UP, timeout: float | None = None) -> str:
    """Run a flow, and meddle; returns what was said."""
    meddler = ship.recorder = Meddler(ship=ship, at=at, deed=deed)
    with closing(ship.env()) as env:
        try:
            ship.world.run(lambda: Run(env, ship.world.clock, meddler, timeout).make(flow))
        finally:
            assert meddler.is_done, f"{at} never came: {meddler.heard}"
    return "\n".join(meddler.heard)


def ask(ship: Ship, question: Callable[[Env], Any]) -> Any:
    with closing(ship.env()) as env:
        return ship.world.run(lambda: question(env))


def by_hand(kube: Kube, path: str, change: dict[str, Any], manager: str = KUBECTL, how: str = MERGE) -> None:
    """Change an object as `kubectl edit` does, or as whoever applies it on the server's side and by force."""
    query = f"fieldManager={manager}" + ("&force=true" if how == APPLY else "")
    kube._http.patch(f"{path}?{query}", content=json.dumps(change), headers={"Content-Type": how}).raise_for_status()


def edit_plane(**spec: Any) -> Deed:
    path = f"apis/{CONTROL_PLANE[0]}/namespaces/default/taloscontrolplanes/{PLANE}"
    return lambda env: by_hand(env.home, path, {"spec": spec})


def apply_larger_balancer(env: Env) -> None:
    """Let another tool that applies own the load balancer's type, too."""
    api_version, kind = HETZNER_CLUSTER
    spec = {"controlPlaneLoadBalancer": {"type": "lb21"}}
    path = f"apis/{api_version}/namespaces/default/hetznerclusters/k8s"
    document = {"apiVersion": api_version, "kind": kind, "metadata": {"name": "k8s", "namespace": "default"}}
    by_hand(env.home, path, {**document, "spec": spec}, GITOPS, APPLY)


def replicas(ship: Ship) -> int:
    return int(ask(ship, lambda env: env.home.find(*CONTROL_PLANE, PLANE, "default"))["spec"]["replicas"])


def test_control_planes_that_somebody_adds_meanwhile_are_told_and_not_deleted(done: Ship) -> None:
    with pytest.raises(SetupError) as caught:
        sail(done, "roll-out begins", edit_plane(replicas=5))
    said = "would delete 2 of 5 control planes, taking back what kubectl-edit changed: spec.replicas is 5 and becomes 3"
    assert said in caught.value.message
    assert "tallship scale 3" in caught.value.hint
    assert replicas(done) == 5
    planned = done.look()
    assert (planned["apply"].state, said in planned["apply"].detail) == (State.BROKEN, True)
    done.world.reset_counters()
    with pytest.raises(StepFailed, match="kubectl-edit"):
        done.make()
    assert set(done.world.writes.values()) == {0}
    assert replicas(done) == 5
    assert done.inventory()["server"] == 5


@pytest.mark.long
def test_a_version_that_somebody_sets_meanwhile_is_told_and_not_taken_back_unasked(done: Ship) -> None:
    with pytest.raises(SetupError, match=r"kubectl-edit changed: spec\.version is v1\.32\.3 and becomes v1\.32\.2"):
        sail(done, "roll-out begins", edit_plane(version="v1.32.3"))
    with pytest.raises(StepFailed, match=r"replace every server: Kubernetes v1\.32\.3 becomes v1\.32\.2.*kubectl-edit"):
        done.make()


def delete_machine(env: Env) -> None:
    env.home.delete(*MACHINE, min(each["metadata"]["name"] for each in env.home.list(*MACHINE, "default")), "default")


def open_the_door(env: Env) -> None:
    found = env.hetzner.find_firewall("k8s")
    assert found is not None
    everybody = {"direction": "in", "protocol": "tcp", "port": "22", "source_ips": ["0.0.0.0/0", "::/0"]}
    body = {"rules": [*found.rules, everybody]}
    env.hetzner._ask("POST", f"/firewalls/{found.id}/actions/set_rules", json=body)


def label_a_server(env: Env) -> None:
    server = env.hetzner.list_resources("servers", env.spec.names.owned_by_caph)[0]
    env.hetzner.put_labels(server, {"team": "ours"})


MENDED: dict[str, tuple[str, Deed, str]] = {
    "a Machine is deleted": ("roll-out begins", delete_machine, "2 of 3 servers are as they should be"),
    "the firewall is opened": (
        *("wait-nodes begins", open_the_door),
        "set the rules of firewall k8s, which has 22 from everybody",
    ),
    "a server gets a label": ("wait-nodes begins", label_a_server, "wait-nodes"),
}


@pytest.mark.parametrize("case", MENDED)
def test_what_somebody_does_to_servers_meanwhile_is_seen_and_mended_by_the_same_run(done: Ship, case: str) -> None:
    moment, deed, says = MENDED[case]
    heard = sail(done, moment, deed)
    assert says in heard
    assert done.inventory() == WHOLE
    found = ask(done, lambda env: env.hetzner.find_firewall("k8s"))
    assert "22 from everybody" not in [firewall.text(rule) for rule in found.rules]
    kept = [each.labels.get("team") for each in ask(done, lambda env: env.hetzner.list_servers())]
    assert kept.count("ours") == (1 if deed is label_a_server else 0), "what others have put there stays"
    assert {each.state for each in done.look().values()} == {State.READY}


def edit_secret(env: Env) -> None:
    path = "api/v1/namespaces/default/secrets/hetzner"
    by_hand(env.home, path, {"data": {"hcloud": "c29tZWJvZHkncyBvd24="}})


def install_otherwise(env: Env) -> None:
    chart = versions.CHARTS["talos-ccm"]
    version = str(env.spec.addons.talos_ccm.version)
    env.programs.helm_upgrade(chart, version, {"enabledControllers": ["cloud-node"]}, env.kubeconfig)


TAKEN_BACK: dict[str, tuple[str, Deed, str]] = {
    "the token": ("secret", edit_secret, "Secret hetzner, taking back what kubectl-edit changed: data.hcloud differs"),
    "helm": ("talos-ccm", install_otherwise, "0.5.4: its values differ"),
    "another tool that applies": (
        "apply",
        apply_larger_balancer,
        "taking back what gitops changed: spec.controlPlaneLoadBalancer.type is lb21 and becomes lb11",
    ),
}


@pytest.mark.parametrize("case", TAKEN_BACK)
def test_what_somebody_changed_is_in_the_plan_and_taken_back_by_the_next_run(done: Ship, case: str) -> None:
    name, deed, says = TAKEN_BACK[case]
    ask(done, deed)
    planned = done.look()[name]
    assert (planned.state, says in planned.change) == (State.MISSING, True), planned
    outcomes: dict[str, Outcome] = {each.name: each for each in done.make()}
    assert says in " ".join(outcomes[name].acted)
    assert {each.state for each in done.look().values()} == {State.READY}


def test_another_tool_that_sets_it_again_and_again_is_told_and_not_fought(
    done: Ship, monkeypatch: pytest.MonkeyPatch
) -> None:
    act = ClusterApplied.act

    def act_in_vain(self: ClusterApplied, env: Env, seen: Seen) -> None:
        act(self, env, seen)
        apply_larger_balancer(env)

    monkeypatch.setattr(ClusterApplied, "act", act_in_vain)
    with pytest.raises(TimedOut) as caught:
        sail(done, "apply begins", apply_larger_balancer, select(UP, only="apply"))
    assert "spec.controlPlaneLoadBalancer.type is lb21 and becomes lb11" in caught.value.detail
    acts = [line for line in done.recorder.heard if line.startswith("apply: apply HetznerCluster")]
    assert len(acts) == 1
    assert "gitops" in acts[0]


def test_a_token_secret_that_is_deleted_stays_and_is_told(done: Ship) -> None:
    ask(done, lambda env: env.home.delete("v1", "Secret", "hetzner", "default"))
    found = done.look()["secret"]
    assert (found.state, "somebody has deleted it" in found.detail) == (State.READY, True)


def test_a_pause_is_what_a_person_reads_while_waiting(world: LabWorld) -> None:
    def pause(env: Env) -> None:
        env.home.patch(*CLUSTER, "k8s", "default", {"spec": {"paused": True}})

    ship = Ship(world)
    ship.make(select(UP, last="kubeconfig"))
    with pytest.raises(TimedOut) as caught:
        sail(ship, "wait-cp waits", pause, select(UP, only="wait-cp"), timeout=120)
    assert any("detail='the Cluster is paused: no controller" in line for line in ship.recorder.heard)
    assert caught.value.detail.startswith("the Cluster is paused: no controller works on it; 3 machines")
    assert "whoever paused it" in caught.value.hint
    with pytest.raises(TallshipError, match="the Cluster is paused"):
        ship.make()


def test_a_load_balancer_that_is_gone_is_told(done: Ship) -> None:
    def delete(env: Env) -> None:
        (balancer,) = env.hetzner.list_resources("load_balancers", env.spec.names.owned_by_caph)
        env.hetzner.delete_resource(balancer)

    ask(done, delete)
    assert "has somebody deleted it?" in done.look()["apply"].detail
    with pytest.raises(TimedOut, match="`apply`") as caught:
        done.make()
    assert "Hetzner lists no load balancer of this cluster" in caught.value.detail
    assert any("load balancer is gone" in each.what for each in ask(done, status).problems)
