"""The firewall against a whole lab: who is let in, for how long, and from which moment of a server's life."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from typing import Any, TypeVar

import pytest
from lab_world import LabWorld
from ship import Kept, Ship

from tallship.cli.firewall import ask_lockout
from tallship.engine import State, select
from tallship.env import Env
from tallship.errors import SetupError, StepFailed, TallshipError
from tallship.flows import UP
from tallship.manifests import firewall
from tallship.ops import firewall_allow
from tallship.ops.firewall import FirewallApplied, FirewallMatches, lockout_by_pivot, lockout_now
from tallship.ops.firewall_reach import Door, knock
from tallship.ops.firewall_view import View, planned, view
from tallship.ops.kinds import CONTROL_PLANE, MACHINE
from tallship.ops.status import look as status_of
from tallship.spec import parse_spec

Answer = TypeVar("Answer")

FRIEND = "198.51.100.0/24"
A_WHILE = timedelta(minutes=3)


@pytest.fixture(scope="module")
def standing(kept: Kept) -> Iterator[Ship]:
    """A cluster that is done; each test leaves its firewall as `up` wants it."""
    with kept.copy() as ship:
        yield ship
        assert {each.state for each in ship.look().values()} == {State.READY}


@pytest.fixture
def ship(world: LabWorld) -> Ship:
    """An empty project that has the image."""
    return Ship(world)


def use(ship: Ship, text: str) -> None:
    """Go on with another cluster file."""
    spec = parse_spec(f"name: k8s\n{text}").spec
    assert spec is not None
    ship.spec = spec


def ask(ship: Ship, question: Callable[[Env], Answer]) -> Answer:
    """Return what an Env answers, as a new command would ask it."""
    with closing(ship.env()) as env:
        return ship.world.run(lambda: question(env))


def rules(ship: Ship) -> list[str]:
    """Return the live rules as a person reads them, without those of the guide."""

    def read(env: Env) -> list[str]:
        found = env.hetzner.find_firewall("k8s")
        assert found is not None
        return [firewall.text(rule) for rule in found.rules if "private" not in rule["description"]]

    return sorted(ask(ship, read))


def hetzner(ship: Ship, method: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Ask the project directly, as somebody in the console would."""
    return ask(ship, lambda env: env.hetzner._ask(method, path, json=body))


def own_firewall(ship: Ship) -> str:
    found = ask(ship, lambda env: env.hetzner.find_firewall("k8s"))
    assert found is not None
    return f"/firewalls/{found.id}"


def births(ship: Ship) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = ship.world.lab.status()["servers"]
    return [each for each in found if each["name"].startswith("k8s-control-plane")]


def born_protected(ship: Ship, count: int) -> bool:
    """Wait until so many servers have had their first answer; True when each was behind the firewall before."""
    ship.world.wait(lambda: sum("reachable" in each for each in births(ship)) >= count, 3600, 5)
    return all(each["made"] < each["protected"] < each["reachable"] for each in births(ship) if "reachable" in each)


def test_nodes_of_up_scale_and_remediation_are_behind_it_before_they_first_answer(ship: Ship) -> None:
    ship.make()
    assert born_protected(ship, 3)
    ask(ship, lambda env: env.home.patch(*CONTROL_PLANE, "k8s-control-plane", "default", {"spec": {"replicas": 5}}))
    assert born_protected(ship, 5)
    gone = ask(ship, lambda env: env.home.list(*MACHINE, "default"))[0]["metadata"]["name"]
    ask(ship, lambda env: env.home.delete(*MACHINE, gone, "default"))
    assert born_protected(ship, 6)


@pytest.mark.long
def test_nodes_of_an_upgrade_are_behind_it_before_they_first_answer(ship: Ship) -> None:
    ship.make()
    use(ship, "kubernetes: {version: v1.32.3}\n")
    with closing(ship.env()) as env:
        env.replace = True
        step = next(each for each in UP if getattr(each, "name", "") == "apply")
        ship.world.run(lambda: step.act(env, step.probe(env)))  # type: ignore[union-attr]
    assert born_protected(ship, 6)


def test_a_firewall_that_comes_with_the_servers_would_be_too_late(ship: Ship) -> None:
    """What the order of `up` is for: the lab would tell of servers that answered before they were protected."""
    ship.make(select(UP, last="apply"))
    bound = {"type": "label_selector", "label_selector": {"selector": ship.spec.names.owned_by_caph}}
    hetzner(ship, "POST", f"{own_firewall(ship)}/actions/remove_from_resources", {"remove_from": [bound]})
    ship.make(select(UP, only="wait-cp"))
    ship.make(select(UP, only="firewall"))
    ship.world.wait(lambda: all("protected" in each for each in births(ship) if "reachable" in each), 600)
    assert any(each["reachable"] < each["protected"] for each in births(ship) if "reachable" in each)


def test_rules_are_the_guides_and_where_cluster_api_dials_from(standing: Ship) -> None:
    assert rules(standing) == ["50000 from 127.0.0.1/32", "ICMP from everybody"]


def test_changed_own_address_is_seen_and_repaired(standing: Ship) -> None:
    standing.world.fault("other-address", {}, 0, address="203.0.113.77")
    try:
        seen = standing.look()["firewall"]
        assert (seen.state, "203.0.113.77" in seen.change) == (State.MISSING, True)
        assert "has 50000 from 127.0.0.1/32" in seen.change
        assert "lacks 50000 from 203.0.113.77/32" in seen.change
        problems = [each.what for each in ask(standing, status_of).problems]
        assert any("lacks 50000 from 203.0.113.77/32" in each for each in problems)
        standing.make()
        assert rules(standing) == ["50000 from 203.0.113.77/32", "ICMP from everybody"]
    finally:
        standing.world.do(standing.world.lab.faults.clear)
    standing.make()


def test_status_and_plan_say_what_no_firewall_protects(standing: Ship) -> None:
    found = ask(standing, status_of)
    assert found.problems == []
    assert found.firewall is not None
    said = [str(each) for each in found.firewall.openings]
    assert said == [str(each) for each in ask(standing, planned)]
    assert any("50000 from 127.0.0.1/32" in each and "`tallship pivot` closes it" in each for each in said)
    assert any("load balancer: 6443 from everybody" in each for each in said)
    assert any("load balancer: 50000 from everybody" in each and "talos_api: false" in each for each in said)
    assert any("private network: every port" in each and "firewall.talos: true" in each for each in said)
    assert set(found.firewall.servers.values()) == {"applied"}


def test_what_answers_from_here_is_what_the_rules_say(standing: Ship) -> None:
    doors = ask(standing, knock)
    servers = [each for each in doors if each.where != "load balancer"]
    assert {(each.port, each.may, each.answers) for each in servers} == {(6443, False, False), (50000, True, True)}
    assert len(servers) == 6
    assert [(each.port, each.answers) for each in doors if each not in servers] == [(6443, True), (50000, True)]
    assert [each.problem for each in doors if each.problem] == []


def test_door_that_answers_against_the_rules_is_told(standing: Ship) -> None:
    everybody = {"direction": "in", "protocol": "tcp", "port": "6443", "source_ips": ["0.0.0.0/0"]}
    server = ask(standing, lambda env: env.hetzner.list_servers(env.spec.names.owned_by_caph))[0]
    on_server = {"type": "server", "server": {"id": server.id}}
    made = hetzner(standing, "POST", "/firewalls", {"name": "hole", "rules": [everybody], "apply_to": [on_server]})
    path = f"/firewalls/{made['firewall']['id']}"
    standing.world.wait(lambda: standing.world.lab.hetzner.firewall_admits(server.id, 6443, "8.8.8.8"), 60)
    seen = ask(standing, FirewallApplied().probe)
    assert (seen.state, seen.detail) == (
        State.WORKING,
        f"{server.name} ({server.ipv4}): 6443 answers from here, though no rule lets this machine in",
    )
    assert any("another firewall is on" in each for each in ask(standing, view).problems)
    hetzner(standing, "POST", f"{path}/actions/remove_from_resources", {"remove_from": [on_server]})
    hetzner(standing, "DELETE", path, {})
    standing.world.wait(lambda: not standing.world.lab.hetzner.firewall_admits(server.id, 6443, "8.8.8.8"), 60)


def test_servers_without_it_are_named_with_hetzners_word(standing: Ship) -> None:
    bound = {"type": "label_selector", "label_selector": {"selector": standing.spec.names.owned_by_caph}}
    body = {"remove_from": [bound]}
    hetzner(standing, "POST", f"{own_firewall(standing)}/actions/remove_from_resources", body)
    standing.world.wait(lambda: set(ask_servers(standing)) == {"not applied"}, 120)
    found = ask(standing, view)
    assert set(found.servers.values()) == {"not applied"}
    assert any("apply firewall k8s to caph-cluster-k8s=owned" in each for each in found.problems)
    ask(standing, lambda env: FirewallMatches().act(env, FirewallMatches().probe(env)))
    seen = ask(standing, FirewallApplied().probe)
    assert (seen.state, seen.detail.count("pending on k8s-control-plane")) == (State.WORKING, 3)
    standing.make()


def ask_servers(ship: Ship) -> list[str]:
    lab = ship.world.lab.hetzner
    found = ship.world.do(lab.servers)
    return [(each["public_net"]["firewalls"] or [{"status": "not applied"}])[0]["status"] for each in found]


def test_network_that_was_let_in_stays_until_its_time_is_over(standing: Ship) -> None:
    allowed = ask(standing, lambda env: firewall_allow.allow(env, FRIEND, A_WHILE))
    assert allowed.network == FRIEND
    opened = [f"50000 from {FRIEND}", f"6443 from {FRIEND}"]
    assert set(opened) < set(rules(standing))
    standing.world.reset_counters()
    standing.make()
    assert set(standing.world.writes.values()) == {0}
    found: View = ask(standing, view)
    assert ([str(each) for each in found.allowed], found.problems) == ([str(allowed)], [])
    standing.world.run(lambda: standing.world.clock.sleep(A_WHILE.total_seconds() + 1))
    assert any(f"has 6443 from {FRIEND}" in each for each in ask(standing, view).problems)
    standing.make(select(UP, only="firewall"))
    assert not set(opened) & set(rules(standing))


def test_letting_in_again_makes_it_longer_and_not_more(standing: Ship) -> None:
    first = ask(standing, lambda env: firewall_allow.allow(env, FRIEND, A_WHILE))
    again = ask(standing, lambda env: firewall_allow.allow(env, FRIEND, 2 * A_WHILE))
    assert again.until > first.until
    assert len([each for each in rules(standing) if FRIEND in each]) == 2
    standing.world.run(lambda: standing.world.clock.sleep(3 * A_WHILE.total_seconds()))
    standing.make(select(UP, only="firewall"))


def test_more_rules_than_hetzner_takes_are_refused_before_anything_changes(standing: Ship) -> None:
    for number in range(23):
        ask(standing, lambda env, number=number: firewall_allow.allow(env, f"198.51.100.{number}/32", A_WHILE))
    standing.world.reset_counters()
    with pytest.raises(StepFailed, match="52 rules, and Hetzner takes 50") as caught:
        ask(standing, lambda env: firewall_allow.allow(env, "198.51.100.200/32", A_WHILE))
    assert caught.value.hint
    assert set(standing.world.writes.values()) == {0}
    standing.world.run(lambda: standing.world.clock.sleep(2 * A_WHILE.total_seconds()))
    standing.make(select(UP, only="firewall"))


def test_server_that_is_full_of_firewalls_is_told_before_anything_changes(standing: Ship) -> None:
    server = ask(standing, lambda env: env.hetzner.list_servers(env.spec.names.owned_by_caph))[0]
    path = own_firewall(standing)
    bound = {"type": "label_selector", "label_selector": {"selector": standing.spec.names.owned_by_caph}}
    on_server = {"type": "server", "server": {"id": server.id}}
    hetzner(standing, "POST", f"{path}/actions/remove_from_resources", {"remove_from": [bound]})
    standing.world.wait(lambda: set(ask_servers(standing)) == {"not applied"}, 120)
    others = [
        hetzner(standing, "POST", "/firewalls", {"name": f"other-{number}", "rules": [], "apply_to": [on_server]})
        for number in range(5)
    ]
    standing.world.reset_counters()
    with pytest.raises(TallshipError, match="has 5 firewalls already") as caught:
        standing.make(select(UP, only="preflight"))
    assert "console" in caught.value.hint
    with pytest.raises(StepFailed, match=f"{server.name} has 5 firewalls already"):
        standing.make(select(UP, only="firewall"))
    assert set(standing.world.writes.values()) == {0}
    for other in others:
        place = f"/firewalls/{other['firewall']['id']}"
        hetzner(standing, "POST", f"{place}/actions/remove_from_resources", {"remove_from": [on_server]})
        hetzner(standing, "DELETE", place, {})
    standing.world.run(lambda: standing.world.clock.sleep(60))
    standing.make()


LOCKING = f"""\
load_balancer: {{talos_api: false}}
firewall: {{admin_networks: [{FRIEND}]}}
management: {{mode: kind, egress_cidr: 192.0.2.0/28}}
"""


def test_rules_that_lock_this_machine_out_are_refused_until_somebody_agrees(ship: Ship) -> None:
    use(ship, LOCKING)
    assert "lock this machine, 127.0.0.1, out" in ask(ship, lockout_now)
    with pytest.raises(TallshipError, match="lock this machine") as caught:
        ship.make(select(UP, last="firewall"))
    assert "--yes" in caught.value.hint
    assert "127.0.0.1/32" in caught.value.hint
    assert set(ship.world.writes.values()) == {0}
    with closing(ship.env()) as env:
        env.agreed = True
        assert ship.world.run(lambda: lockout_now(env)) == ""
        ship.world.run(lambda: FirewallMatches().act(env, FirewallMatches().probe(env)))
    assert rules(ship) == sorted(
        [f"50000 from {FRIEND}", f"6443 from {FRIEND}", "50000 from 192.0.2.0/28", "ICMP from everybody"]
    )
    assert ask(ship, lockout_now) == ""


@pytest.mark.parametrize(("says", "agrees"), [("y\n", True), ("n\n", False), ("", False)])
def test_person_is_asked_before_being_locked_out(
    ship: Ship, monkeypatch: pytest.MonkeyPatch, says: str, agrees: bool
) -> None:
    use(ship, LOCKING)
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdin", Terminal(says))
    monkeypatch.setattr(sys, "stderr", terminal)
    with closing(ship.env()) as env:
        ship.world.run(lambda: ask_lockout(env))
        assert env.agreed is agrees
    assert "lock this machine, 127.0.0.1, out" in terminal.getvalue()


class Terminal(io.StringIO):
    """Somebody sits there."""

    def isatty(self) -> bool:
        return True


def test_what_a_pivot_would_close_is_known_before(ship: Ship) -> None:
    ship.make(select(UP, only="firewall"))
    assert ask(ship, lockout_by_pivot) == ""
    use(ship, f"load_balancer: {{talos_api: false}}\nfirewall: {{admin_networks: [{FRIEND}]}}\n")
    assert "lock this machine" in ask(ship, lockout_by_pivot)
    use(ship, "load_balancer: {talos_api: false}\nfirewall: {admin_networks: [127.0.0.1/32]}\n")
    assert ask(ship, lockout_by_pivot) == ""


def test_management_cluster_of_ones_own_needs_its_networks(ship: Ship) -> None:
    use(ship, "management: {mode: kubeconfig, kubeconfig: mgmt.yaml}\n")
    with pytest.raises(SetupError, match="nobody knows from which address") as caught:
        ask(ship, FirewallMatches().probe)
    assert "management.egress_cidr" in caught.value.hint
    use(ship, "management: {mode: kubeconfig, kubeconfig: mgmt.yaml, egress_cidr: 192.0.2.0/28}\n")
    ask(ship, lambda env: FirewallMatches().act(env, FirewallMatches().probe(env)))
    assert rules(ship) == ["50000 from 192.0.2.0/28", "ICMP from everybody"]


def test_address_that_servers_cannot_see_is_refused(ship: Ship) -> None:
    ship.world.fault("other-address", {}, 0, address="2001:db8::7")
    with pytest.raises(SetupError, match="2001:db8::7") as caught:
        ask(ship, FirewallMatches().probe)
    assert "IPv4" in caught.value.hint


def test_empty_project_has_nothing_wrong_with_its_firewall(ship: Ship) -> None:
    found = ask(ship, view)
    assert (found.summary, found.problems, found.servers) == ("none", [], {})


def test_letting_in_before_there_is_a_firewall_says_what_makes_it(ship: Ship) -> None:
    with pytest.raises(SetupError, match="there is no firewall yet") as caught:
        ask(ship, lambda env: firewall_allow.allow(env, FRIEND, A_WHILE))
    assert "tallship up --only firewall" in caught.value.hint


def test_cluster_with_talos_own_firewall_comes_up_and_hides_what_it_should(ship: Ship) -> None:
    use(ship, "firewall: {talos: true}\nmanagement: {mode: kind, egress_cidr: 127.0.0.1/32}\n")
    ship.make()
    machines = ship.world.lab.machines
    balancer, servers = "10.10.64.2", [each.server_id for each in machines.list()]

    def lets_in(port: int, source: str) -> set[bool]:
        return ship.world.do(lambda: {machines.lets_in(each, port, source) for each in servers})

    assert [lets_in(port, balancer) for port in (6443, 50000, 2380, 10250, 9999)] == [{True}] * 4 + [{False}]
    assert [lets_in(port, "127.0.0.1") for port in (6443, 50000, 2380, 10250)] == [{False}, {True}, {False}, {False}]
    doors: list[Door] = ask(ship, knock)
    assert [each.problem for each in doors if each.problem] == []
    assert any("some ports" in str(each) for each in ask(ship, planned))
