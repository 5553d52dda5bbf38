"""Private networks: ranges, subnets, routes, members. Their addresses exist as data only."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network, ip_address
from typing import Final

from tallship.lab.hetzner.action_routes import action_routes
from tallship.lab.hetzner.body import Body
from tallship.lab.hetzner.catalog import LOCATIONS
from tallship.lab.hetzner.errors import Refused, invalid
from tallship.lab.hetzner.project import Project, guard
from tallship.lab.hetzner.routing import (
    Call,
    Reply,
    Route,
    listed,
    put_name_and_labels,
    put_protection,
)
from tallship.lab.store import Document

PRIVATE: Final = tuple(IPv4Network(text) for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"))
RESERVED: Final = IPv4Address("172.31.1.1")
ZONES: Final = tuple({place.network_zone: "" for place in LOCATIONS})
MOST_ROUTES: Final = 100
MOST_SUBNETS: Final = 50


def rendered(project: Project, network: Document) -> Document:
    """Return a network as the API shows it."""
    gateway = str(_gateway(network))
    return {
        **network,
        "subnets": [{**subnet, "gateway": gateway} for subnet in network["subnets"]],
        "servers": [server["id"] for server in members(project, "server", network["id"])],
        "load_balancers": [each["id"] for each in members(project, "load_balancer", network["id"])],
    }


def members(project: Project, noun: str, network_id: int) -> Iterator[Document]:
    """Yield the servers or load balancers in a network."""
    return (each for each in project.all(noun) if membership(each, network_id))


def membership(member: Document, network_id: int) -> Document | None:
    """Return a member's `private_net` entry of that network."""
    return next((net for net in member["private_net"] if net["network"] == network_id), None)


def free_ip(project: Project, network: Document, zone: str, wanted: str = "", subnet_range: str = "") -> str:
    """Return an address for a new member: the wanted one, else the lowest free one of a subnet of the zone.

    Raises Refused (no_subnet_available, ip_not_available).
    """
    subnets = [
        IPv4Network(subnet["ip_range"])
        for subnet in network["subnets"]
        if subnet["network_zone"] == zone and subnet_range in ("", subnet["ip_range"])
    ]
    if not subnets:
        raise Refused("no_subnet_available", f"network {network['id']} has no such subnet in {zone}")
    taken = _taken(project, network)
    if wanted:
        if not any(_address(wanted) in subnet for subnet in subnets) or _address(wanted) in taken:
            raise Refused("ip_not_available", f"the address {wanted} is not available")
        return wanted
    for subnet in subnets:
        for host in subnet.hosts():
            if host not in taken:
                return str(host)
    raise Refused("no_subnet_available", f"network {network['id']} has no free address")


def _address(text: str) -> IPv4Address:
    address = ip_address(text) if text.replace(".", "").isdecimal() and text.count(".") == 3 else None
    if not isinstance(address, IPv4Address):
        raise invalid("ip", "must be an IPv4 address")
    return address


def _taken(project: Project, network: Document) -> set[IPv4Address]:
    entries = [
        net
        for noun in ("server", "load_balancer")
        for member in members(project, noun, network["id"])
        if (net := membership(member, network["id"]))
    ]
    given = {IPv4Address(ip) for net in entries for ip in (net["ip"], *net.get("alias_ips", ()))}
    return given | {_gateway(network), RESERVED}


def _gateway(network: Document) -> IPv4Address:
    """The first address of the *network's* range, also for its other subnets."""
    return IPv4Network(network["ip_range"])[1]


def list_networks(call: Call) -> Reply:
    """Return the networks."""
    return listed(call, "networks", [rendered(call.project, each) for each in call.project.all("network")])


def get_network(call: Call) -> Reply:
    """Return one network."""
    return Reply(200, {"network": rendered(call.project, call.project.get("network", call.id))})


def create_network(call: Call) -> Reply:
    """Make a network with its subnets and routes."""
    project, body = call.project, call.body
    name = project.claim_name("network", body.text("name"))
    network: Document = {"name": name, "ip_range": _network_range(body), "subnets": [], "routes": []}
    for subnet in body.objects("subnets"):
        network["subnets"].append(_new_subnet(network, subnet))
    for route in body.objects("routes"):
        network["routes"].append(_new_route(network, route))
    network["expose_routes_to_vswitch"] = body.flag("expose_routes_to_vswitch", False)
    document = project.new("network", {**network, "labels": body.labels(), "protection": {"delete": False}})
    return Reply(201, {"network": rendered(project, document)})


def put_network(call: Call) -> Reply:
    """Change a network's name, labels or exposure."""
    network, changed = put_name_and_labels(call, "network")
    exposed = call.body.flag("expose_routes_to_vswitch", network["expose_routes_to_vswitch"])
    new = {**network, "expose_routes_to_vswitch": exposed}
    call.project.keep("network", new)
    return Reply(200, {"network": rendered(call.project, new)}, changed=changed or new != network)


def delete_network(call: Call) -> Reply:
    """Delete a network; its members are detached."""
    project, key = call.project, guard(call.project.get("network", call.id))["id"]
    for noun in ("server", "load_balancer"):
        for member in list(members(project, noun, key)):
            detach(project, noun, member, key)
    project.forget("network", key)
    return Reply(204)


def detach(project: Project, noun: str, member: Document, network_id: int) -> None:
    """Take a member out of a network; load balancer targets that were reached through it are dropped."""
    kept = [net for net in member["private_net"] if net["network"] != network_id]
    project.keep(noun, {**member, "private_net": kept})
    for balancer in list(project.all("load_balancer")):
        held = [target for target in balancer["targets"] if not _lost(project, balancer, target)]
        if held != balancer["targets"]:
            project.keep("load_balancer", {**balancer, "targets": held})


def shared_network(server: Document, neighbour: Document) -> bool:
    """True when a load balancer, or another server, reaches the server by a private network."""
    return any(membership(server, net["network"]) for net in neighbour["private_net"])


def _lost(project: Project, balancer: Document, target: Document) -> bool:
    if not target["use_private_ip"]:
        return False
    if target["type"] == "server":
        return not shared_network(project.get("server", target["server"]["id"]), balancer)
    return not balancer["private_net"]


def list_members(call: Call) -> Reply:
    """Return the members of a network."""
    network = call.project.get("network", call.id)
    found = [
        {
            "id": member["id"],
            "type": noun,
            "ip": net["ip"],
            "alias_ips": net.get("alias_ips", []),
            "subnet": next(
                s["ip_range"] for s in network["subnets"] if _address(net["ip"]) in IPv4Network(s["ip_range"])
            ),
            "status": "ok",
        }
        for noun in ("server", "load_balancer")
        for member in members(call.project, noun, call.id)
        if (net := membership(member, call.id))
    ]
    return listed(call, "members", found, ("type", "status", "subnet"))


def add_subnet(call: Call) -> Reply:
    """Add a subnet."""
    network = call.project.get("network", call.id)
    return _changed(call, "add_subnet", subnets=[*network["subnets"], _new_subnet(network, call.body)])


def delete_subnet(call: Call) -> Reply:
    """Remove a subnet that nobody uses."""
    network = call.project.get("network", call.id)
    gone = call.body.cidr("ip_range")
    kept = [subnet for subnet in network["subnets"] if subnet["ip_range"] != gone]
    if len(kept) == len(network["subnets"]):
        raise Refused("not_found", f"subnet {gone} not found")
    used = _taken(call.project, network) - {_gateway(network), RESERVED}
    if any(address in IPv4Network(gone) for address in used):
        raise Refused("resource_in_use", f"subnet {gone} still has resources attached")
    return _changed(call, "delete_subnet", subnets=kept)


def add_route(call: Call) -> Reply:
    """Add a route."""
    network = call.project.get("network", call.id)
    return _changed(call, "add_route", routes=[*network["routes"], _new_route(network, call.body)])


def delete_route(call: Call) -> Reply:
    """Remove a route."""
    network = call.project.get("network", call.id)
    gone = {"destination": call.body.text("destination"), "gateway": call.body.text("gateway")}
    if gone not in network["routes"]:
        raise Refused("not_found", f"route {gone['destination']} via {gone['gateway']} not found")
    return _changed(call, "delete_route", routes=[route for route in network["routes"] if route != gone])


def change_ip_range(call: Call) -> Reply:
    """Let the network's range grow at its end."""
    old = IPv4Network(call.project.get("network", call.id)["ip_range"])
    new = IPv4Network(_network_range(call.body))
    if new.network_address != old.network_address or new.prefixlen > old.prefixlen:
        raise invalid("ip_range", "a range can only grow at its end")
    return _changed(call, "change_ip_range", ip_range=str(new))


def _changed(call: Call, command: str, **fields: object) -> Reply:
    call.project.keep("network", {**call.project.get("network", call.id), **fields})
    return Reply(201, {"action": call.project.actions.begin(command, ("network", call.id))})


def _network_range(body: Body) -> str:
    given = IPv4Network(body.cidr("ip_range"))
    if not any(given.subnet_of(private) for private in PRIVATE):
        raise body.wrong("ip_range", "must be a private range of RFC 1918")
    if given.prefixlen > 24:
        raise body.wrong("ip_range", "must be at least a /24")
    return str(given)


def _new_subnet(network: Document, body: Body) -> Document:
    kind = body.choice("type", ("cloud", "server", "vswitch"))
    if kind == "vswitch":
        raise Refused("unsupported_error", "the lab has no vSwitch")
    zone = body.choice("network_zone", ZONES)
    others = [IPv4Network(subnet["ip_range"]) for subnet in network["subnets"]]
    whole = IPv4Network(network["ip_range"])
    if len(others) >= MOST_SUBNETS:
        raise invalid("subnets", f"a network has at most {MOST_SUBNETS} subnets")
    if any(subnet["network_zone"] != zone for subnet in network["subnets"]):
        raise body.wrong("network_zone", "all subnets of a network are in one network zone")
    given = IPv4Network(body.cidr("ip_range")) if body.has("ip_range") else _first_free(whole, others)
    if not given.subnet_of(whole) or given.prefixlen > 30:
        raise body.wrong("ip_range", f"must be inside {whole} and at least a /30")
    if any(given.overlaps(other) for other in others):
        raise body.wrong("ip_range", "overlaps with another subnet")
    return {"type": kind, "ip_range": str(given), "network_zone": zone, "vswitch_id": None}


def _first_free(whole: IPv4Network, others: list[IPv4Network]) -> IPv4Network:
    for candidate in whole.subnets(new_prefix=24):
        if not any(candidate.overlaps(other) for other in others):
            return candidate
    raise Refused("no_subnet_available", f"no /24 is free in {whole}")


def _new_route(network: Document, body: Body) -> Document:
    """Hetzner API: a route's destination overlaps neither a subnet nor another route."""
    destination = IPv4Network(body.cidr("destination"))
    gateway = _address(body.text("gateway"))
    everything = destination == IPv4Network("0.0.0.0/0")
    if not everything and not any(destination.subnet_of(private) for private in PRIVATE):
        raise body.wrong("destination", "must be a private range of RFC 1918, or 0.0.0.0/0")
    taken = [subnet["ip_range"] for subnet in network["subnets"]]
    taken += [route["destination"] for route in network["routes"]]
    if not everything and any(destination.overlaps(IPv4Network(other)) for other in taken if other != "0.0.0.0/0"):
        raise body.wrong("destination", "overlaps with a subnet or another route")
    if everything and "0.0.0.0/0" in taken:
        raise body.wrong("destination", "is already routed")
    if gateway == _gateway(network) or gateway not in IPv4Network(network["ip_range"]):
        raise body.wrong("gateway", "must be an address of the network, and not its first")
    if len(network["routes"]) >= MOST_ROUTES:
        raise invalid("routes", f"a network has at most {MOST_ROUTES} routes")
    return {"destination": str(destination), "gateway": str(gateway)}


ROUTES: Final = [
    Route("GET", "/networks", list_networks),
    Route("POST", "/networks", create_network),
    Route("GET", "/networks/{id}", get_network),
    Route("PUT", "/networks/{id}", put_network),
    Route("DELETE", "/networks/{id}", delete_network),
    Route("GET", "/networks/{id}/members", list_members),
    Route("POST", "/networks/{id}/actions/add_subnet", add_subnet),
    Route("POST", "/networks/{id}/actions/delete_subnet", delete_subnet),
    Route("POST", "/networks/{id}/actions/add_route", add_route),
    Route("POST", "/networks/{id}/actions/delete_route", delete_route),
    Route("POST", "/networks/{id}/actions/change_ip_range", change_ip_range),
    Route("POST", "/networks/{id}/actions/change_protection", lambda call: put_protection(call, "network")),
    *action_routes("network", "networks"),
]
