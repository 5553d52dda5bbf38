"""Primary IPs: a server's public addresses. An IPv4 one is an address of the lab's own loopback network."""

from __future__ import annotations

from typing import Final

from tallship.lab.hetzner.action_routes import action_routes
from tallship.lab.hetzner.body import Body
from tallship.lab.hetzner.catalog import find_location
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
from tallship.lab.store import Document, Table

VERSIONS: Final = ("ipv4", "ipv6")


def add(project: Project, version: str, name: str, location: str, *, auto_delete: bool, labels: Document) -> Document:
    """Store a new address and return it."""
    fields = {"type": version, "name": name, "location": location, "auto_delete": auto_delete, "labels": labels}
    document = project.new("primary_ip", {**fields, "assignee_id": None, "protection": {"delete": False}, "ptr": {}})
    key = int(document["id"])
    ip = project.address("primary_ip", key) if version == "ipv4" else f"2001:db8:{key >> 16:x}:{key & 0xFFFF:x}::/64"
    document["ip"] = ip
    project.keep("primary_ip", document)
    return document


def assign(project: Project, key: int, server_id: int | None) -> None:
    """Give the address to a server, or to nobody."""
    project.keep("primary_ip", {**project.get("primary_ip", key), "assignee_id": server_id})


def release(project: Project, server_id: int) -> None:
    """Take the addresses of a deleted server back: those that were made with it are deleted."""
    for address in list(project.all("primary_ip")):
        if address["assignee_id"] == server_id:
            if address["auto_delete"]:
                _remove(project, address)
            else:
                assign(project, address["id"], None)


def of_server(project: Project, server_id: int, version: str) -> Document | None:
    """Return the server's address of that version."""
    return project.derived("primary_ip", _by_owner).get((server_id, version))


def _by_owner(addresses: Table) -> dict[tuple[int, str], Document]:
    return {(each["assignee_id"], each["type"]): each for each in addresses.values() if each["assignee_id"]}


def for_new_server(project: Project, public_net: Body, location: str) -> dict[str, Document | None]:
    """Return the existing addresses that a new server asks for, by version. Raises Refused when one does not fit."""
    chosen: dict[str, Document | None] = {}
    for version in VERSIONS:
        wanted = public_net.number(version) if public_net.has(version) else 0
        chosen[version] = _fitting(project, wanted, version, location) if wanted else None
    return chosen


def rendered(address: Document) -> Document:
    """Return an address as the API shows it."""
    place = find_location(address["location"])
    shown = {name: value for name, value in address.items() if name not in ("ptr", "location")}
    return {
        **shown,
        "blocked": False,
        "location": place.rendered() if place else None,
        "dns_ptr": pointers(address),
        # since 2026-08-01 an address that nobody has says so
        "assignee_type": "server" if address["assignee_id"] else "unassigned",
    }


def pointers(address: Document) -> list[dict[str, str]]:
    """Return the reverse DNS entries of an address."""
    if address["type"] == "ipv4" and not address["ptr"]:
        return [{"ip": address["ip"], "dns_ptr": f"static.{address['ip']}.lab.invalid"}]
    return [{"ip": ip, "dns_ptr": name} for ip, name in address["ptr"].items()]


def set_pointer(project: Project, address: Document, body: Body) -> None:
    """Set or reset the reverse DNS entry of one IP."""
    entries = {ip: name for ip, name in address["ptr"].items() if ip != body.text("ip")}
    if body.has("dns_ptr"):
        entries[body.text("ip")] = body.text("dns_ptr")
    project.keep("primary_ip", {**address, "ptr": entries})


def list_addresses(call: Call) -> Reply:
    """Return the primary IPs."""
    return listed(call, "primary_ips", call.project.all("primary_ip"), ("ip",), rendered)


def get_address(call: Call) -> Reply:
    """Return one primary IP."""
    return Reply(200, {"primary_ip": rendered(call.project.get("primary_ip", call.id))})


def create_address(call: Call) -> Reply:
    """Make a primary IP, in a location or for a server that is off."""
    project, body = call.project, call.body
    name = project.claim_name("primary_ip", body.text("name"))
    version = body.choice("type", VERSIONS)
    server = _assignable(project, body.number("assignee_id"), version) if body.has("assignee_id") else None
    place = find_location(server["location"] if server else body.value("location"))
    if place is None:
        raise invalid("location", "location not found")
    auto_delete = body.flag("auto_delete", False)
    address = add(project, version, name, place.name, auto_delete=auto_delete, labels=body.labels())
    if server:
        assign(project, address["id"], server["id"])
    action = project.actions.begin("create_primary_ip", ("primary_ip", address["id"]))
    return Reply(201, {"primary_ip": rendered(project.get("primary_ip", address["id"])), "action": action})


def put_address(call: Call) -> Reply:
    """Change a primary IP's name, labels or auto_delete."""
    address, changed = put_name_and_labels(call, "primary_ip")
    new = {**address, "auto_delete": call.body.flag("auto_delete", address["auto_delete"])}
    call.project.keep("primary_ip", new)
    return Reply(200, {"primary_ip": rendered(new)}, changed=changed or new != address)


def delete_address(call: Call) -> Reply:
    """Delete a primary IP that no server has (since 2026-05-01 an assigned one is refused)."""
    address = guard(call.project.get("primary_ip", call.id))
    if address["assignee_id"]:
        raise Refused("must_be_unassigned", "primary IP must be unassigned before it is deleted")
    _remove(call.project, address)
    return Reply(204)


def assign_address(call: Call) -> Reply:
    """Give a primary IP to a server that is off."""
    address = call.project.get("primary_ip", call.id)
    if address["assignee_id"]:
        raise Refused("primary_ip_already_assigned", "primary IP is already assigned")
    server = _assignable(call.project, call.body.number("assignee_id"), address["type"])
    assign(call.project, call.id, server["id"])
    resources = (("primary_ip", call.id), ("server", int(server["id"])))
    return Reply(201, {"action": call.project.actions.begin("assign_primary_ip", *resources)})


def unassign_address(call: Call) -> Reply:
    """Take a primary IP from a server that is off."""
    address = call.project.get("primary_ip", call.id)
    if not address["assignee_id"]:
        raise invalid("assignee_id", "primary IP is not assigned")
    server = _off(call.project.get("server", address["assignee_id"]))
    if address["type"] == "ipv4" and _is_public_target(call.project, server["id"]):
        raise Refused("server_is_load_balancer_target", "a load balancer reaches the server by this address")
    assign(call.project, call.id, None)
    resources = (("primary_ip", call.id), ("server", int(server["id"])))
    return Reply(201, {"action": call.project.actions.begin("unassign_primary_ip", *resources)})


def change_dns_ptr(call: Call) -> Reply:
    """Set or reset a reverse DNS entry."""
    set_pointer(call.project, call.project.get("primary_ip", call.id), call.body)
    return Reply(201, {"action": call.project.actions.begin("change_dns_ptr", ("primary_ip", call.id))})


def _fitting(project: Project, key: int, version: str, location: str) -> Document:
    address = project.get("primary_ip", key)
    if address["type"] != version:
        raise Refused("primary_ip_version_mismatch", f"primary IP {key} is not an {version} address")
    if address["assignee_id"]:
        raise Refused("primary_ip_assigned", f"primary IP {key} is already assigned")
    if address["location"] != location:
        raise Refused("primary_ip_datacenter_mismatch", f"primary IP {key} is in another location")
    return address


def _assignable(project: Project, server_id: int, version: str) -> Document:
    server = _off(project.get("server", server_id))
    if of_server(project, server_id, version):
        raise Refused(f"server_has_{version}", f"server {server_id} already has an {version} address")
    return server


def _off(server: Document) -> Document:
    if server["status"] != "off":
        raise Refused("server_not_stopped", f"server {server['id']} must be off")
    return server


def _is_public_target(project: Project, server_id: int) -> bool:
    targets = (target for balancer in project.all("load_balancer") for target in balancer["targets"])
    return any(target.get("server") == {"id": server_id} and not target["use_private_ip"] for target in targets)


def _remove(project: Project, address: Document) -> None:
    project.forget("primary_ip", address["id"])
    project.give_back_address("primary_ip", address["id"])


ROUTES: Final = [
    Route("GET", "/primary_ips", list_addresses),
    Route("POST", "/primary_ips", create_address),
    Route("GET", "/primary_ips/{id}", get_address),
    Route("PUT", "/primary_ips/{id}", put_address),
    Route("DELETE", "/primary_ips/{id}", delete_address),
    Route("POST", "/primary_ips/{id}/actions/assign", assign_address),
    Route("POST", "/primary_ips/{id}/actions/unassign", unassign_address),
    Route("POST", "/primary_ips/{id}/actions/change_dns_ptr", change_dns_ptr),
    Route("POST", "/primary_ips/{id}/actions/change_protection", lambda call: put_protection(call, "primary_ip")),
    *action_routes("primary_ip", "primary_ips"),
]
