"""Load balancers: the API as the SDK drives it, and the sockets behind it."""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hcloud import Client
from hcloud.firewalls import FirewallResource
from hcloud.load_balancer_types import LoadBalancerType
from hcloud.load_balancers import (
    BoundLoadBalancer,
    LoadBalancerAlgorithm,
    LoadBalancerHealthCheck,
    LoadBalancerHealthCheckHttp,
    LoadBalancerService,
    LoadBalancerTarget,
    LoadBalancerTargetIP,
    LoadBalancerTargetLabelSelector,
)
from hcloud.locations import Location
from hcloud.networks import BoundNetwork, NetworkSubnet
from hetzner_lab import HetznerLab, order, refusal, running

API = LoadBalancerService(protocol="tcp", listen_port=6443, destination_port=6443, proxyprotocol=False)
LB11 = LoadBalancerType(name="lb11")


def tcp(port: int) -> LoadBalancerService:
    return LoadBalancerService(protocol="tcp", listen_port=port, destination_port=port, proxyprotocol=False)


def balancer(project: Client, **more: Any) -> BoundLoadBalancer:
    usual = {"name": "lb", "load_balancer_type": LB11, "location": Location(name="nbg1"), "services": [API]}
    return project.load_balancers.create(**{**usual, **more}).load_balancer


def network(project: Client) -> BoundNetwork:
    subnet = NetworkSubnet(ip_range="10.10.64.0/25", type="cloud", network_zone="eu-central")
    return project.networks.create(name="n", ip_range="10.10.0.0/16", subnets=[subnet])


def target(server: Any, private: bool = False) -> LoadBalancerTarget:
    return LoadBalancerTarget(type="server", server=server, use_private_ip=private)


def health(project: Client, key: int) -> list[tuple[str, str | None]]:
    found = project.load_balancers.get_by_id(key).targets[0].health_status
    return [(each.status, each.detail) for each in found]


@contextmanager
def echo(address: str, port: int, name: bytes = b"") -> Iterator[set[str]]:
    """A machine that answers each connection with its name and what it got; yields who connected."""
    peers: set[str] = set()

    class Answer(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            peers.add(self.client_address[0])
            while data := self.request.recv(1000):
                self.request.sendall(name + data)

    with socketserver.ThreadingTCPServer((address, port), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield peers
        server.shutdown()
        thread.join()


def ask(address: str, port: int, text: bytes = b"hello") -> bytes:
    """Return what comes back, nothing when the connection is cut."""
    with socket.create_connection((address, port), timeout=5) as connection:
        try:
            connection.sendall(text)
            return connection.recv(1000)
        except ConnectionError:
            return b""


def test_answer_to_creation_is_complete(lab: HetznerLab, project: Client) -> None:
    made = balancer(project, network=network(project), labels={"a": "b"})
    assert made.public_net.ipv4.ip.startswith(lab.address.rpartition(".")[0])
    assert [(net.network.name, net.ip) for net in made.private_net] == [("n", "10.10.64.1")]
    check = made.services[0].health_check
    assert (check.protocol, check.port, check.interval, check.timeout, check.retries) == ("tcp", 6443, 15, 10, 3)
    assert (made.algorithm.type, made.load_balancer_type.max_services, made.targets) == ("round_robin", 5, [])


def test_services_are_added_changed_and_removed(project: Client) -> None:
    made = balancer(project)
    made.add_service(tcp(50000))
    assert refusal(lambda: made.add_service(tcp(50000))) == "source_port_already_used"
    check = LoadBalancerHealthCheck(protocol="tcp", port=50000, interval=5, timeout=3, retries=2)
    made.update_service(LoadBalancerService(listen_port=50000, destination_port=50001, health_check=check))
    web = LoadBalancerHealthCheckHttp(path="/readyz", status_codes=["200"], tls=True)
    checked = LoadBalancerHealthCheck(protocol="http", port=80, interval=15, timeout=10, retries=3, http=web)
    made.add_service(
        LoadBalancerService(
            protocol="http", listen_port=80, destination_port=8080, proxyprotocol=False, health_check=checked
        )
    )
    made.reload()
    assert [(each.listen_port, each.destination_port) for each in made.services] == [
        (6443, 6443),
        (50000, 50001),
        (80, 8080),
    ]
    assert made.services[2].health_check.http.path == "/readyz"
    made.delete_service(tcp(50000))
    assert refusal(lambda: made.delete_service(tcp(50000))) == "not_found"
    for port in (1, 2, 3):
        made.add_service(tcp(port))
    assert refusal(lambda: made.add_service(tcp(4))) == "resource_limit_exceeded"


def test_targets_must_be_reachable(lab: HetznerLab, project: Client) -> None:
    made, net = balancer(project), network(project)
    inside = project.servers.create(**order(networks=[net])).server
    outside = project.servers.create(**order(name="two")).server
    assert refusal(lambda: made.add_target(target(inside, True))) == "load_balancer_not_attached_to_network"
    made.attach_to_network(net)
    assert refusal(lambda: made.attach_to_network(net)) == "load_balancer_already_attached"
    assert refusal(lambda: made.add_target(target(outside, True))) == "resolve_cloud_private_targets_error"
    made.add_target(target(inside, True))
    assert refusal(lambda: made.add_target(target(inside, True))) == "target_already_defined"
    robot = LoadBalancerTarget(type="ip", ip=LoadBalancerTargetIP(ip="198.51.100.1"))
    assert refusal(lambda: made.add_target(robot)) == "ip_not_owned"
    made.remove_target(target(inside))
    assert refusal(lambda: made.remove_target(target(inside))) == "invalid_input"


def test_targets_go_with_their_server_and_their_network(lab: HetznerLab, project: Client) -> None:
    net = network(project)
    made = balancer(project, network=net)
    first = project.servers.create(**order(networks=[net])).server
    second = running(lab, project, name="two", networks=[net])
    for server in (first, second):
        made.add_target(target(server, True))
    first.delete()
    assert [each.server.id for each in project.load_balancers.get_by_id(made.id).targets] == [second.id]
    second.detach_from_network(net)
    assert project.load_balancers.get_by_id(made.id).targets == []


def test_label_selector_stands_for_the_servers_it_matches(lab: HetznerLab, project: Client) -> None:
    selector = LoadBalancerTarget(
        type="label_selector", label_selector=LoadBalancerTargetLabelSelector(selector="role=cp"), use_private_ip=False
    )
    made = balancer(project, targets=[selector])
    server = project.servers.create(**order(labels={"role": "cp"})).server
    project.servers.create(**order(name="two"))
    found = project.load_balancers.get_by_id(made.id).targets[0]
    assert [each.server.id for each in found.targets] == [server.id]


def test_everything_else_about_it_can_be_changed(project: Client) -> None:
    net = network(project)
    made = balancer(project)
    made.update(name="other", labels={"x": "y"})
    made.change_algorithm(LoadBalancerAlgorithm(type="least_connections"))
    assert refusal(lambda: made.change_type(LB11)) == "invalid_load_balancer_type"
    made.change_type(LoadBalancerType(name="lb21"))
    assert refusal(made.disable_public_interface) == "load_balancer_not_attached_to_network"
    made.attach_to_network(net, ip="10.10.64.20")
    made.disable_public_interface()
    made.enable_public_interface()
    made.change_dns_ptr(ip=made.public_net.ipv4.ip, dns_ptr="lb.example")
    made.reload()
    assert (made.name, made.algorithm.type, made.load_balancer_type.name) == ("other", "least_connections", "lb21")
    assert (made.public_net.ipv4.dns_ptr, made.private_net[0].ip) == ("lb.example", "10.10.64.20")
    made.detach_from_network(net)
    made.change_protection(delete=True)
    assert refusal(made.delete) == "protected"
    made.change_protection(delete=False)
    assert made.delete().action.command == "delete_load_balancer"
    assert project.load_balancers.get_all() == []


def test_traffic_goes_to_healthy_targets_only(lab: HetznerLab, project: Client) -> None:
    made = balancer(project)
    address = made.public_net.ipv4.ip
    assert ask(address, 6443) == b"", "no target"
    server = running(lab, project)
    with echo(server.public_net.ipv4.ip, 6443) as peers:
        made.add_target(target(server))
        lab.wait(1)
        assert health(project, made.id) == [("healthy", None)], "the first check comes at once"
        assert ask(address, 6443) == b"hello"
        assert peers == {address}
    lab.wait(16)
    assert health(project, made.id) == [("healthy", None)], "one failure is not enough"
    assert ask(address, 6443) == b""
    lab.wait(31)
    assert health(project, made.id) == [("unhealthy", "layer4_no_connection")]
    with echo(server.public_net.ipv4.ip, 6443):
        lab.wait(16)
        assert ask(address, 6443) == b"hello"


def test_targets_take_turns(lab: HetznerLab, project: Client) -> None:
    made = balancer(project)
    servers = [project.servers.create(**order(name=name)).server for name in ("one", "two")]
    lab.wait(30)
    first, second = (server.public_net.ipv4.ip for server in servers)
    with echo(first, 6443, b"1"), echo(second, 6443, b"2"):
        for server in servers:
            made.add_target(target(server))
        lab.wait(1)
        assert {ask(made.public_net.ipv4.ip, 6443) for _ in range(4)} == {b"1hello", b"2hello"}


def test_removed_service_closes_its_port(lab: HetznerLab, project: Client) -> None:
    made = balancer(project)
    made.add_service(tcp(50000))
    socket.create_connection((made.public_net.ipv4.ip, 50000), timeout=5).close()
    made.delete_service(tcp(50000))
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((made.public_net.ipv4.ip, 50000), timeout=5)


def test_firewall_stops_public_targets_and_not_private_ones(lab: HetznerLab, project: Client) -> None:
    net = network(project)
    made = balancer(project, network=net)
    server = running(lab, project, networks=[net])
    project.firewalls.create(name="closed", rules=[], resources=[FirewallResource(type="server", server=server)])
    lab.wait(3)
    with echo(server.public_net.ipv4.ip, 6443):
        made.add_target(target(server, True))
        lab.wait(1)
        assert health(project, made.id) == [("healthy", None)]
        made.remove_target(target(server))
        made.detach_from_network(net)
        made.add_target(target(server))
        lab.wait(1)
        assert health(project, made.id) == [("unhealthy", "layer4_no_connection")]
