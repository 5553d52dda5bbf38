"""Floating IPs: addresses that are paid for until somebody deletes them. Here they lead nowhere."""

from __future__ import annotations

from typing import Final

from tallship.lab.hetzner.catalog import find_location
from tallship.lab.hetzner.errors import invalid
from tallship.lab.hetzner.project import guard
from tallship.lab.hetzner.routing import Call, Reply, Route, listed, put_name_and_labels
from tallship.lab.store import Document

VERSIONS: Final = ("ipv4", "ipv6")


def rendered(address: Document) -> Document:
    """Return an address as the API shows it."""
    place = find_location(address["home_location"])
    return {**address, "home_location": place.rendered() if place else None, "blocked": False, "dns_ptr": []}


def list_addresses(call: Call) -> Reply:
    """Return the floating IPs."""
    return listed(call, "floating_ips", [rendered(each) for each in call.project.all("floating_ip")])


def get_address(call: Call) -> Reply:
    """Return one floating IP."""
    return Reply(200, {"floating_ip": rendered(call.project.get("floating_ip", call.id))})


def create_address(call: Call) -> Reply:
    """Make a floating IP in a location."""
    project, body = call.project, call.body
    version = body.choice("type", VERSIONS)
    place = find_location(body.value("home_location"))
    if place is None:
        raise invalid("home_location", "location not found")
    fields = {
        "name": project.claim_name("floating_ip", body.text("name")),
        "description": body.text("description", ""),
        "type": version,
        "home_location": place.name,
        "server": None,
        "labels": body.labels(),
        "protection": {"delete": False},
    }
    address = project.new("floating_ip", fields)
    key = int(address["id"])
    address["ip"] = f"192.0.2.{key % 254 + 1}" if version == "ipv4" else f"2001:db8:f:{key & 0xFFFF:x}::"
    project.keep("floating_ip", address)
    return Reply(201, {"floating_ip": rendered(address)})


def put_address(call: Call) -> Reply:
    """Change a floating IP's name or labels."""
    address, changed = put_name_and_labels(call, "floating_ip")
    return Reply(200, {"floating_ip": rendered(address)}, changed=changed)


def delete_address(call: Call) -> Reply:
    """Delete a floating IP."""
    call.project.forget("floating_ip", guard(call.project.get("floating_ip", call.id))["id"])
    return Reply(204)


ROUTES: Final = [
    Route("GET", "/floating_ips", list_addresses),
    Route("POST", "/floating_ips", create_address),
    Route("GET", "/floating_ips/{id}", get_address),
    Route("PUT", "/floating_ips/{id}", put_address),
    Route("DELETE", "/floating_ips/{id}", delete_address),
]
