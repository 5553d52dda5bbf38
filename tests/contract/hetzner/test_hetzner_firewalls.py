"""Firewalls: rules, what they are applied to, and what gets through in the meantime."""

from __future__ import annotations

from typing import Any

import pytest
from hcloud import Client
from hcloud.firewalls import BoundFirewall, FirewallResource, FirewallResourceLabelSelector, FirewallRule
from hcloud.servers import ServerCreatePublicNetwork
from hetzner_lab import HetznerLab, order, refusal, running

from tallship.lab.faults import Fault

PRIVATE = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"]


def rule(port: str | None = "6443", **more: Any) -> FirewallRule:
    usual = {"direction": "in", "protocol": "tcp", "source_ips": PRIVATE, "port": port}
    return FirewallRule(**{**usual, **more})


def on_label(selector: str) -> FirewallResource:
    return FirewallResource(type="label_selector", label_selector=FirewallResourceLabelSelector(selector=selector))


def on_server(server: Any) -> FirewallResource:
    return FirewallResource(type="server", server=server)


def firewall(project: Client, **more: Any) -> BoundFirewall:
    usual = {"name": "f", "rules": [rule(), rule("50000")]}
    return project.firewalls.create(**{**usual, **more}).firewall


def statuses(project: Client, key: int) -> list[str]:
    return [each.status for each in project.servers.get_by_id(key).public_net.firewalls]


def admits(lab: HetznerLab, server: Any, port: int, source: str) -> bool:
    return lab.call(lambda: lab.api.firewall_admits(server.id, port, source))


def test_new_server_is_unprotected_for_some_seconds(lab: HetznerLab, project: Client) -> None:
    made = firewall(project, resources=[on_label("role=cp")])
    server = running(lab, project, labels={"role": "cp"})
    assert statuses(project, server.id) == ["pending"]
    assert admits(lab, server, 6443, "203.0.113.7")
    assert project.firewalls.get_by_id(made.id).applied_to[0].applied_to_resources is None
    lab.wait(6)
    assert statuses(project, server.id) == ["applied"]
    assert not admits(lab, server, 6443, "203.0.113.7")
    assert admits(lab, server, 6443, "10.1.2.3")
    assert not admits(lab, server, 22, "10.1.2.3")
    applied = project.firewalls.get_by_id(made.id).applied_to[0].applied_to_resources
    assert [each.server.id for each in applied] == [server.id]


def test_changed_labels_change_protection_with_the_same_lag(lab: HetznerLab, project: Client) -> None:
    firewall(project, resources=[on_label("role=cp")])
    server = running(lab, project)
    assert statuses(project, server.id) == []
    server.update(labels={"role": "cp"})
    assert statuses(project, server.id) == ["pending"]
    lab.wait(11)
    assert statuses(project, server.id) == ["applied"]
    server.update(labels={})
    assert not admits(lab, server, 22, "203.0.113.7")
    lab.wait(11)
    assert statuses(project, server.id) == []
    assert admits(lab, server, 22, "203.0.113.7")


def test_firewall_named_at_creation_protects_from_the_first_boot(lab: HetznerLab, project: Client) -> None:
    made = firewall(project)
    server = running(lab, project, firewalls=[made])
    assert statuses(project, server.id) == ["applied"]
    assert refusal(made.delete) == "resource_in_use"
    server.delete()
    made.delete()


def test_firewall_without_rules_lets_nothing_in(lab: HetznerLab, project: Client) -> None:
    server = running(lab, project)
    firewall(project, rules=[], resources=[on_server(server)])
    lab.wait(3)
    assert not admits(lab, server, 6443, "10.1.2.3")


def test_rules_are_replaced_as_a_whole(lab: HetznerLab, project: Client) -> None:
    made = firewall(project)
    server = running(lab, project, firewalls=[made])
    everyone = ["0.0.0.0/0", "::/0"]
    made.set_rules([rule("50000-50001", source_ips=everyone), rule(None, protocol="icmp", source_ips=everyone)])
    made.reload()
    assert [(each.protocol, each.port) for each in made.rules] == [("tcp", "50000-50001"), ("icmp", None)]
    assert admits(lab, server, 50001, "203.0.113.7")
    assert not admits(lab, server, 6443, "10.1.2.3")


def test_resources_are_applied_and_removed(lab: HetznerLab, project: Client) -> None:
    made, server = firewall(project), running(lab, project, labels={"role": "cp"})
    made.apply_to_resources([on_server(server)])
    assert refusal(lambda: made.apply_to_resources([on_server(server)])) == "firewall_already_applied"
    made.remove_from_resources([on_server(server)])
    assert refusal(lambda: made.remove_from_resources([on_server(server)])) == "firewall_resource_not_found"
    made.apply_to_resources([on_label("role=cp")])
    lab.wait(11)
    assert refusal(lambda: made.remove_from_resources([on_server(server)])) == "firewall_managed_by_label_selector"
    made.remove_from_resources([on_label("role=cp")])
    lab.wait(11)
    made.update(name="g", labels={"a": "b"})
    assert made.get_actions()[0].command == "set_firewall_rules"
    made.delete()


def test_deleted_firewall_is_in_force_nowhere(lab: HetznerLab, project: Client) -> None:
    made = firewall(project)
    server = running(lab, project, firewalls=[made])
    made.remove_from_resources([on_server(server)])
    made.delete()
    assert admits(lab, server, 22, "203.0.113.7")
    lab.wait(11)
    assert statuses(project, server.id) == []


def test_server_without_public_network_has_no_firewall(lab: HetznerLab, project: Client) -> None:
    network = project.networks.create(name="n", ip_range="10.0.0.0/16")
    lab.http("POST", f"/networks/{network.id}/actions/add_subnet", {"type": "cloud", "network_zone": "eu-central"})
    private = ServerCreatePublicNetwork(enable_ipv4=False, enable_ipv6=False)
    server = project.servers.create(**order(networks=[network], public_net=private)).server
    assert lab.call(lambda: lab.api.server_address(server.id)).startswith("127.")
    made = firewall(project)
    assert refusal(lambda: made.apply_to_resources([on_server(server)])) == "private_net_only_server"


@pytest.mark.parametrize(
    "wrong",
    [
        rule(None),
        rule("0"),
        rule("80-79"),
        rule("http"),
        rule("80", protocol="icmp"),
        rule("80", source_ips=[]),
        rule("80", source_ips=["10.0.0.1"]),
        rule("80", source_ips=["10.0.0.1/8"]),
        rule("80", source_ips=["10.0.0.0/8"] * 101),
        rule("80", description="x" * 256),
    ],
)
def test_wrong_rules_are_refused(project: Client, wrong: FirewallRule) -> None:
    assert refusal(lambda: firewall(project, rules=[wrong])) == "invalid_input"
    assert project.firewalls.get_all() == []


def test_fifty_rules_are_the_limit(project: Client) -> None:
    assert refusal(lambda: firewall(project, rules=[rule()] * 51)) == "invalid_input"


def test_sixth_firewall_of_a_server_is_refused(lab: HetznerLab, project: Client) -> None:
    server = running(lab, project)
    for number in range(5):
        firewall(project, name=f"f{number}", resources=[on_server(server)])
    sixth = firewall(project, name="f5")
    assert refusal(lambda: sixth.apply_to_resources([on_server(server)])) == "resource_limit_exceeded"


def test_first_moments_of_a_server_are_remembered_when_it_is_gone(lab: HetznerLab, project: Client) -> None:
    firewall(project, resources=[on_label("role=cp")])
    server = running(lab, project, labels={"role": "cp"})
    lab.wait(6)
    server.delete()
    (birth,) = lab.call(lab.api.project.births.list)
    assert (birth["server"], birth["name"]) == (server.id, server.name)
    assert birth["made"] < birth["protected"]
    assert "reachable" not in birth


def test_machine_that_moved_is_let_in_by_its_other_address(lab: HetznerLab, project: Client) -> None:
    made = firewall(project, rules=[rule(source_ips=["203.0.113.99/32"])])
    server = running(lab, project, firewalls=[made])
    assert not admits(lab, server, 6443, "127.0.0.1")
    lab.call(lambda: lab.api.project.faults.add(Fault("other-address", times=0)))
    assert admits(lab, server, 6443, "127.0.0.1")
    assert not admits(lab, server, 6443, "127.0.0.2")
    assert lab.call(lambda: lab.api.source_at(server.id, "127.0.0.1")) == "203.0.113.99"


def test_neighbour_comes_by_its_private_address_and_is_not_filtered(lab: HetznerLab, project: Client) -> None:
    network = project.networks.create(name="n", ip_range="10.0.0.0/16")
    lab.http("POST", f"/networks/{network.id}/actions/add_subnet", {"type": "cloud", "network_zone": "eu-central"})
    server, neighbour = (running(lab, project, name=name, networks=[network]) for name in ("one", "two"))
    stranger = running(lab, project, name="three")
    firewall(project, rules=[], resources=[on_server(server)])
    lab.wait(3)
    address, other = (lab.call(lambda each=each: lab.api.server_address(each.id)) for each in (neighbour, stranger))
    assert admits(lab, server, 2380, address)
    assert lab.call(lambda: lab.api.source_at(server.id, address)).startswith("10.0.")
    assert not admits(lab, server, 2380, other)
    assert lab.call(lambda: lab.api.source_at(server.id, other)) == other
