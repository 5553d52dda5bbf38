"""Networks, as the SDK drives them."""

from __future__ import annotations

import pytest
from hcloud import Client
from hcloud.networks import NetworkRoute, NetworkSubnet
from hetzner_lab import HetznerLab, order, refusal, running

CLOUD = NetworkSubnet(ip_range="10.10.64.0/25", type="cloud", network_zone="eu-central")


def subnet(ip_range: str | None, zone: str = "eu-central") -> NetworkSubnet:
    return NetworkSubnet(ip_range=ip_range, type="cloud", network_zone=zone)  # type: ignore[arg-type]


def test_network_has_its_subnets_and_one_gateway(project: Client) -> None:
    made = project.networks.create(name="n", ip_range="10.10.0.0/16", subnets=[CLOUD], labels={"a": "b"})
    network = project.networks.get_by_id(made.id)
    assert [(each.ip_range, each.gateway) for each in network.subnets] == [("10.10.64.0/25", "10.10.0.1")]
    assert (network.labels, network.servers, network.expose_routes_to_vswitch) == ({"a": "b"}, [], False)
    assert project.networks.get_by_name("n").id == made.id


@pytest.mark.parametrize("ip_range", ["8.8.0.0/16", "10.10.0.0/25", "10.10.0.1/16", "nonsense"])
def test_wrong_ranges_are_refused(project: Client, ip_range: str) -> None:
    assert refusal(lambda: project.networks.create(name="n", ip_range=ip_range)) == "invalid_input"


def test_subnets_are_inside_apart_and_in_one_zone(project: Client) -> None:
    network = project.networks.create(name="n", ip_range="10.10.0.0/16", subnets=[CLOUD])
    for wrong in (subnet("10.10.64.64/26"), subnet("10.11.0.0/24"), subnet("10.10.1.0/31"), subnet(None, "us-east")):
        assert refusal(lambda wrong=wrong: network.add_subnet(wrong)) == "invalid_input"
    network.add_subnet(subnet(None))
    network.reload()
    assert [each.ip_range for each in network.subnets] == ["10.10.64.0/25", "10.10.0.0/24"]
    network.delete_subnet(subnet("10.10.0.0/24"))
    assert refusal(lambda: network.delete_subnet(subnet("10.10.0.0/24"))) == "not_found"


def test_subnet_in_use_stays(lab: HetznerLab, project: Client) -> None:
    network = project.networks.create(name="n", ip_range="10.10.0.0/16", subnets=[CLOUD])
    project.servers.create(**order(networks=[network]))
    assert refusal(lambda: network.delete_subnet(CLOUD)) == "resource_in_use"


def test_routes_point_into_the_network_and_overlap_nothing(project: Client) -> None:
    network = project.networks.create(name="n", ip_range="10.10.0.0/16", subnets=[CLOUD])
    route = NetworkRoute(destination="10.10.128.0/24", gateway="10.10.64.3")
    network.add_route(route)
    for destination, gateway in (
        ("10.10.128.0/25", "10.10.64.4"),
        ("10.10.64.0/26", "10.10.64.3"),
        ("10.10.129.0/24", "10.10.0.1"),
        ("10.10.129.0/24", "10.11.0.2"),
        ("8.8.8.0/24", "10.10.64.3"),
    ):
        wrong = NetworkRoute(destination=destination, gateway=gateway)
        assert refusal(lambda wrong=wrong: network.add_route(wrong)) == "invalid_input"
    network.reload()
    assert [(each.destination, each.gateway) for each in network.routes] == [("10.10.128.0/24", "10.10.64.3")]
    network.delete_route(route)
    assert refusal(lambda: network.delete_route(route)) == "not_found"


def test_range_grows_only_at_its_end(project: Client) -> None:
    network = project.networks.create(name="n", ip_range="10.10.0.0/16")
    assert refusal(lambda: network.change_ip_range("10.10.0.0/17")) == "invalid_input"
    assert refusal(lambda: network.change_ip_range("10.0.0.0/8")) == "invalid_input"
    network.change_ip_range("10.10.0.0/15")
    assert project.networks.get_by_id(network.id).ip_range == "10.10.0.0/15"


def test_protected_network_stays_and_deletion_detaches_members(lab: HetznerLab, project: Client) -> None:
    network = project.networks.create(name="n", ip_range="10.10.0.0/16", subnets=[CLOUD])
    server = running(lab, project, networks=[network])
    network.change_protection(delete=True)
    assert refusal(network.delete) == "protected"
    network.change_protection(delete=False)
    network.update(name="m", labels={"c": "d"}, expose_routes_to_vswitch=True)
    assert network.get_actions()[0].command == "attach_to_network"
    network.delete()
    assert project.servers.get_by_id(server.id).private_net == []
    assert project.networks.get_all() == []
