"""Talos' own firewall: who is let in by the documents that the cluster file asks for."""

from __future__ import annotations

import pytest
import yaml

from tallship.lab.talos import ingress
from tallship.lab.talos.config.problems import problems
from tallship.lab.talos.config.validate import MachineConfig
from tallship.manifests import firewall_talos, talos
from tallship.spec import Spec, parse_spec

FIXED = (
    "firewall: {talos: true, admin_networks: [198.51.100.0/24]}\nmanagement: {mode: kind, egress_cidr: 192.0.2.1/32}"
)
NODE, BALANCER, POD, ADMIN, EGRESS, STRANGER = (
    *("10.10.64.3", "10.10.64.2", "10.10.129.7", "198.51.100.9", "192.0.2.1", "8.8.8.8"),
)


def spec(text: str) -> Spec:
    found = parse_spec(f"name: k8s\n{text}").spec
    assert found is not None
    return found


def lets_in(text: str, port: int, source: str) -> bool:
    return ingress.lets_in(MachineConfig(tuple(firewall_talos.documents(spec(text))), {}, {}), port, source)


@pytest.mark.parametrize(
    ("port", "sources"),
    [
        (6443, {NODE, BALANCER, POD, ADMIN}),
        (50000, {NODE, BALANCER, POD, ADMIN, EGRESS}),
        (50001, {NODE, BALANCER}),
        (2379, {NODE, BALANCER}),
        (2380, {NODE, BALANCER}),
        (10250, {NODE, BALANCER, POD}),
        (4240, {NODE, BALANCER, POD}),
        (4244, {NODE, BALANCER, POD}),
        (22, set()),
        (8472, set()),
    ],
)
def test_cluster_load_balancer_and_people_reach_what_they_need_and_no_more(port: int, sources: set[str]) -> None:
    everybody = {NODE, BALANCER, POD, ADMIN, EGRESS, STRANGER}
    assert {source for source in everybody if lets_in(FIXED, port, source)} == sources


def test_changing_address_of_this_machine_is_left_to_hetzners_firewall() -> None:
    assert lets_in("firewall: {talos: true}", 50000, STRANGER)
    assert not lets_in("firewall: {talos: true}", 6443, STRANGER)
    assert not lets_in("firewall: {talos: true}", 2380, STRANGER)


def test_people_do_not_reach_the_talos_api_where_the_file_says_so() -> None:
    text = FIXED.replace("talos: true", "talos: true, talos_api: false")
    assert not lets_in(text, 50000, ADMIN)
    assert lets_in(text, 50000, EGRESS)


@pytest.mark.parametrize(
    ("values", "rules"),
    [
        ("{routingMode: tunnel}", {("cilium-tunnel", 8472)}),
        ("{routingMode: tunnel, tunnelProtocol: geneve}", {("cilium-tunnel", 6081)}),
        ("{encryption: {enabled: true, type: wireguard}}", {("cilium-wireguard", 51871)}),
        ("{authentication: {mutual: {spire: {enabled: true}}}}", {("cilium-authentication", 4250)}),
        ("{}", set()),
    ],
)
def test_what_cilium_is_told_to_do_opens_its_port(values: str, rules: set[tuple[str, int]]) -> None:
    text = f"firewall: {{talos: true}}\naddons: {{cilium: {{values: {values}}}}}"
    plain = firewall_talos.documents(spec("firewall: {talos: true}"))
    more = [each for each in firewall_talos.documents(spec(text)) if each not in plain]
    assert {(each["name"], each["portSelector"]["ports"][0]) for each in more} == rules


def test_documents_are_patches_that_talos_takes() -> None:
    documents = firewall_talos.documents(spec(FIXED))
    assert list(problems(documents)) == list(problems([]))
    patches = [yaml.safe_load(text) for text in talos.patches(spec(FIXED), "203.0.113.10")]
    assert [each for each in patches if each.get("kind")] == documents
    assert not any(each.get("kind") for each in map(yaml.safe_load, talos.patches(spec(""), "203.0.113.10")))


def test_default_that_accepts_turns_the_rules_around() -> None:
    rule = {
        "kind": "NetworkRuleConfig",
        "portSelector": {"ports": ["6443-6444"], "protocol": "tcp"},
        "ingress": [{"subnet": "10.0.0.0/8", "except": "10.9.0.0/16"}],
    }
    config = MachineConfig((rule,), {}, {})
    assert ingress.lets_in(config, 50000, STRANGER)
    assert ingress.lets_in(config, 6444, "10.1.1.1")
    assert not ingress.lets_in(config, 6444, "10.9.1.1")
    assert not ingress.lets_in(config, 6443, STRANGER)
