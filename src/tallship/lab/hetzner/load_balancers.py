"""Load balancers over the API: the resource itself, its networks, its type and its public interface."""

from __future__ import annotations

from typing import Final

from tallship.lab.hetzner.action_routes import action_routes
from tallship.lab.hetzner.body import Body
from tallship.lab.hetzner.catalog import LOCATIONS, LoadBalancerType, Location, find_load_balancer_type, find_location
from tallship.lab.hetzner.errors import Refused, invalid
from tallship.lab.hetzner.networks import free_ip
from tallship.lab.hetzner.offers import rendered_load_balancer_type
from tallship.lab.hetzner.project import Project, guard
from tallship.lab.hetzner.routing import (
    Call,
    Reply,
    Route,
    listed,
    put_name_and_labels,
)
from tallship.lab.hetzner.services import with_service
from tallship.lab.hetzner.targets import rendered_target, with_target
from tallship.lab.store import Document

ALGORITHMS: Final = ("round_robin", "least_connections")
_PRIVATE_FIELDS: Final = ("ip", "public_interface", "type", "ptr")


def rendered(project: Project, balancer: Document) -> Document:
    """Return a load balancer as the API shows it."""
    kind, place = find_load_balancer_type(balancer["type"]), find_location(balancer["location"])
    shown = {name: value for name, value in balancer.items() if name not in _PRIVATE_FIELDS}
    number = int(balancer["id"])
    ipv6 = f"2001:db8:{number >> 16:x}:{number & 0xFFFF:x}::1"
    pointers = balancer["ptr"]
    return {
        **shown,
        "public_net": {
            "enabled": balancer["public_interface"],
            "ipv4": {"ip": balancer["ip"], "dns_ptr": pointers.get(balancer["ip"])},
            "ipv6": {"ip": ipv6, "dns_ptr": pointers.get(ipv6)},
        },
        "location": place.rendered() if place else None,
        "load_balancer_type": rendered_load_balancer_type(kind) if kind else None,
        "targets": [rendered_target(project, balancer, target) for target in balancer["targets"]],
        "outgoing_traffic": 0,
        "ingoing_traffic": 0,
        "included_traffic": 20 * 2**40,
    }


def list_balancers(call: Call) -> Reply:
    """Return the load balancers."""
    found = [rendered(call.project, each) for each in call.project.all("load_balancer")]
    return listed(call, "load_balancers", found)


def get_balancer(call: Call) -> Reply:
    """Return one load balancer."""
    balancer = call.project.get("load_balancer", call.id)
    return Reply(200, {"load_balancer": rendered(call.project, balancer)})


def create_balancer(call: Call) -> Reply:
    """Make a load balancer with its services, targets and network."""
    project, body = call.project, call.body
    name = project.claim_name("load_balancer", body.text("name"))
    if body.has("public_net"):
        raise Refused("unsupported_error", "the lab gives a load balancer its own addresses")
    kind, place = wanted_type(body), _place(body)
    draft: Document = {
        "id": 0,
        "name": name,
        "type": kind.name,
        "location": place.name,
        "algorithm": {"type": body.object("algorithm").choice("type", ALGORITHMS, "round_robin")},
        "public_interface": body.flag("public_interface", True),
        "private_net": [],
        "services": [],
        "targets": [],
        "labels": body.labels(),
        "protection": {"delete": False},
        "ptr": {},
        "ip": "",
    }
    if body.has("network"):
        draft = attached(project, draft, body.number("network"))
    for service in body.objects("services"):
        draft = with_service(draft, kind, service)
    for target in body.objects("targets"):
        draft = with_target(project, draft, kind, target)
    balancer = project.new("load_balancer", {name: value for name, value in draft.items() if name != "id"})
    balancer["ip"] = project.address("load_balancer", balancer["id"])
    project.keep("load_balancer", balancer)
    action = project.actions.begin("create_load_balancer", ("load_balancer", balancer["id"]))
    return Reply(201, {"load_balancer": rendered(project, balancer), "action": action})


def put_balancer(call: Call) -> Reply:
    """Change a load balancer's name or labels."""
    balancer, changed = put_name_and_labels(call, "load_balancer")
    return Reply(200, {"load_balancer": rendered(call.project, balancer)}, changed=changed)


def delete_balancer(call: Call) -> Reply:
    """Delete a load balancer. Since 2026-10-05 the API answers with an action."""
    balancer = guard(call.project.get("load_balancer", call.id))
    call.project.forget("load_balancer", balancer["id"])
    call.project.give_back_address("load_balancer", balancer["id"])
    return Reply(201, {"action": call.project.actions.begin("delete_load_balancer", ("load_balancer", call.id))})


def kind_of(balancer: Document) -> LoadBalancerType:
    """Return the load balancer's type."""
    kind = find_load_balancer_type(balancer["type"])
    if kind is None:
        raise Refused("server_error", f"unknown load balancer type {balancer['type']}")
    return kind


def wanted_type(body: Body) -> LoadBalancerType:
    """Return the type that a request names."""
    kind = find_load_balancer_type(body.value("load_balancer_type"))
    if kind is None:
        raise invalid("load_balancer_type", "load balancer type not found")
    return kind


def _place(body: Body) -> Location:
    if body.has("location") == body.has("network_zone"):
        raise invalid("location", "exactly one of location and network_zone is required")
    if body.has("location"):
        place = find_location(body.value("location"))
    else:
        place = next((each for each in LOCATIONS if each.network_zone == body.text("network_zone")), None)
    if place is None:
        raise invalid("location", "location not found")
    return place


def attached(project: Project, balancer: Document, network_id: int, ip: str = "", subnet: str = "") -> Document:
    """Return the load balancer with an address in the network."""
    if balancer["private_net"]:
        raise Refused("load_balancer_already_attached", "load balancer is already attached to a network")
    place = find_location(balancer["location"])
    zone = place.network_zone if place else ""
    address = free_ip(project, project.get("network", network_id), zone, ip, subnet)
    return {**balancer, "private_net": [{"network": network_id, "ip": address}]}


ROUTES: Final = [
    Route("GET", "/load_balancers", list_balancers),
    Route("POST", "/load_balancers", create_balancer),
    Route("GET", "/load_balancers/{id}", get_balancer),
    Route("PUT", "/load_balancers/{id}", put_balancer),
    Route("DELETE", "/load_balancers/{id}", delete_balancer),
    *action_routes("load_balancer", "load_balancers"),
]
