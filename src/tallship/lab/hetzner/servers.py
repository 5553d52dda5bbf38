"""Servers over the API: create, show, change, delete. What is done to them stands in `server_actions`."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from tallship.lab.births import MADE
from tallship.lab.hetzner import firewalls, images, packet_filter, placement_groups, primary_ips, targets, volumes
from tallship.lab.hetzner.action_routes import action_routes
from tallship.lab.hetzner.body import Body
from tallship.lab.hetzner.catalog import Location, ServerType, find_location, find_server_type
from tallship.lab.hetzner.errors import invalid
from tallship.lab.hetzner.networks import free_ip
from tallship.lab.hetzner.offers import rendered_server_type
from tallship.lab.hetzner.project import Project, guard
from tallship.lab.hetzner.routing import Call, Reply, Route, listed, put_name_and_labels
from tallship.lab.hetzner.ssh_keys import key_of
from tallship.lab.hetzner.times import action_seconds
from tallship.lab.store import Document

HOSTNAME: Final = re.compile(r"(?=.{1,253}$)[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9-]{1,63})*")
MOST_USER_DATA: Final = 32 * 1024
_SHOWN: Final = ("id", "name", "status", "created", "labels", "private_net", "protection", "primary_disk_size")


def rendered(project: Project, server: Document) -> Document:
    """Return a server as the API shows it. Since 2026-07-01 that has a location and no datacenter."""
    kind, place = find_server_type(server["server_type"]), find_location(server["location"])
    image = project.find("image", server["image"])
    group = project.find("placement_group", server["placement_group"])
    return {
        **{name: server[name] for name in _SHOWN},
        "public_net": _public_net(project, server["id"]),
        "server_type": rendered_server_type(project, kind) if kind else None,
        "location": place.rendered() if place else None,
        "image": images.rendered(image) if image else None,
        "iso": None,
        "rescue_enabled": server["rescue"] is not None,
        "locked": project.actions.locks(server["id"]),
        "backup_window": None,
        "outgoing_traffic": 0,
        "ingoing_traffic": 0,
        "included_traffic": 20 * 2**40,
        "volumes": volumes.of_server(project, server["id"]),
        "load_balancers": [
            balancer["id"]
            for balancer in project.all("load_balancer")
            if any(target.get("server") == {"id": server["id"]} for target in balancer["targets"])
        ],
        "placement_group": placement_groups.rendered(project, group) if group else None,
    }


def private_entry(network: Document, ip: str, server_id: int, aliases: list[str]) -> Document:
    """Return a server's `private_net` entry."""
    mac = f"86:00:00:{server_id >> 16 & 0xFF:02x}:{server_id >> 8 & 0xFF:02x}:{server_id & 0xFF:02x}"
    return {"network": network["id"], "ip": ip, "alias_ips": aliases, "mac_address": mac}


def list_servers(call: Call) -> Reply:
    """Return the servers."""
    return listed(call, "servers", call.project.all("server"), ("status",), partial(rendered, call.project))


def get_server(call: Call) -> Reply:
    """Return one server."""
    return Reply(200, {"server": rendered(call.project, call.project.get("server", call.id))})


def put_server(call: Call) -> Reply:
    """Change a server's name or labels."""
    if call.body.has("name"):
        _check_hostname(call.body)
    server, changed = put_name_and_labels(call, "server")
    packet_filter.settle_links(call.project)
    return Reply(200, {"server": rendered(call.project, server)}, changed=changed)


def delete_server(call: Call) -> Reply:
    """Delete a server: it is gone at once, the action only follows its cleaning up."""
    project, server = call.project, guard(call.project.get("server", call.id))
    targets.forget_server(project, call.id)
    packet_filter.forget_server(project, call.id)
    primary_ips.release(project, call.id)
    volumes.forget_server(project, call.id)
    project.give_back_address("server", call.id)
    project.forget("server", server["id"])
    project.forget("disk", server["id"])
    action = project.actions.begin("delete_server", ("server", call.id))
    project.timers.set(0, "server_deleted", server=call.id)
    return Reply(200, {"action": action})


async def server_deleted(project: Project, server: int) -> None:
    """The machine behind a deleted server is gone."""
    await project.hardware.deleted(server)


@dataclass(frozen=True)
class Order:
    """What a request to create a server asks for, checked."""

    name: str
    kind: ServerType
    place: Location
    image: Document
    keys: list[str]
    networks: list[Document]
    firewall_ids: list[int]
    group: int | None
    public_net: Body
    user_data: str
    labels: dict[str, str]


def create_server(call: Call) -> Reply:
    """Make a server: it is `initializing`, then `starting` unless told otherwise, then `running`."""
    project = call.project
    order = _order(project, call.body)
    existing = primary_ips.for_new_server(project, order.public_net, order.place.name)
    nets = [(net, free_ip(project, net, order.place.network_zone)) for net in order.networks]
    server = project.new("server", _fields(project, order))
    key = int(server["id"])
    server["private_net"] = [private_entry(net, ip, key, []) for net, ip in nets]
    project.keep("server", server)
    _assign_addresses(project, order, existing, key)
    project.births.note(key, MADE, order.name)
    firewalls.apply_to_new_server(project, order.firewall_ids, key)
    packet_filter.settle_links(project)
    content = {"user_data": order.user_data, "ssh_keys": order.keys, "architecture": order.kind.architecture}
    project.table("disk")[str(key)] = {**content, "content": order.image["content"]}
    starts = call.body.flag("start_after_create", True)
    begin, takes = project.actions.begin, action_seconds("create_server")
    action = begin("create_server", ("server", key), effect="server_installed", server=key, starts=starts)
    following = [begin("attach_to_network", ("server", key), ("network", net["id"]), seconds=takes) for net, _ in nets]
    if starts:
        takes += action_seconds("start_server")
        following.append(begin("start_server", ("server", key), seconds=takes, effect="server_started", server=key))
    password = None if order.keys else secrets.token_urlsafe(15)
    body = {"server": rendered(project, server), "action": action, "next_actions": following}
    return Reply(201, {**body, "root_password": password})


def _order(project: Project, body: Body) -> Order:
    _check_hostname(body)
    kind, place = wanted_type(body), _place(body)
    group = body.number("placement_group") if body.has("placement_group") else None
    public_net = body.object("public_net")
    networks = [project.get("network", key) for key in body.numbers("networks")]
    if not networks and not any(public_net.flag(f"enable_{version}", True) for version in primary_ips.VERSIONS):
        raise invalid("public_net", "a server needs a public or a private network")
    if body.list("volumes"):
        raise invalid("volumes", "the lab attaches no volume to a server that is not there yet")
    return Order(
        name=project.claim_name("server", body.text("name")),
        kind=kind,
        place=place,
        image=images.usable(project, body.value("image"), kind.architecture, kind.disk),
        keys=[key_of(project, key)["public_key"] for key in body.list("ssh_keys")],
        networks=networks,
        firewall_ids=[project.get("firewall", each.number("firewall"))["id"] for each in body.objects("firewalls")],
        group=placement_groups.with_room(project, group) if group else None,
        public_net=public_net,
        user_data=_user_data(body),
        labels=body.labels(),
    )


def _fields(project: Project, order: Order) -> Document:
    return {
        "name": order.name,
        "status": "initializing",
        "server_type": order.kind.name,
        "location": order.place.name,
        "image": order.image["id"],
        "labels": order.labels,
        "private_net": [],
        "placement_group": order.group,
        "protection": {"delete": False, "rebuild": False},
        "primary_disk_size": order.kind.disk,
        "rescue": None,
        "boots": 0,
        "installed_at": project.clock.now() + action_seconds("create_server"),
    }


def _assign_addresses(project: Project, order: Order, existing: dict[str, Any], server_id: int) -> None:
    for version, address in existing.items():
        if address is None and order.public_net.flag(f"enable_{version}", True):
            name = f"primary_ip-{server_id}-{version}"
            address = primary_ips.add(project, version, name, order.place.name, auto_delete=True, labels={})
        if address is not None:
            primary_ips.assign(project, address["id"], server_id)


def _public_net(project: Project, server_id: int) -> dict[str, Any]:
    net: dict[str, Any] = {"floating_ips": [], "firewalls": packet_filter.of_server(project, server_id)}
    for version in primary_ips.VERSIONS:
        address = primary_ips.of_server(project, server_id, version)
        net[version] = address and {"id": address["id"], "ip": address["ip"], "blocked": False}
        if address:
            pointers = primary_ips.pointers(address)
            net[version]["dns_ptr"] = pointers if version == "ipv6" else pointers[0]["dns_ptr"]
    return net


def wanted_type(body: Body) -> ServerType:
    """Return the server type that a request names."""
    kind = find_server_type(body.value("server_type"))
    if kind is None:
        raise invalid("server_type", f"server type '{body.value('server_type')}' not found")
    return kind


def _place(body: Body) -> Location:
    if body.has("datacenter"):
        raise invalid("datacenter", "is not supported any more, use location")
    kind = wanted_type(body)
    place = find_location(body.value("location") if body.has("location") else kind.locations[0])
    if place is None or place.name not in kind.locations:
        raise invalid("location", f"server type {kind.name} is not sold in this location")
    return place


def _check_hostname(body: Body) -> None:
    if not HOSTNAME.fullmatch(body.text("name")):
        raise invalid("name", "must be a valid hostname as per RFC 1123")


def _user_data(body: Body) -> str:
    text = body.text("user_data", "")
    if len(text.encode()) > MOST_USER_DATA:
        raise invalid("user_data", f"must be at most {MOST_USER_DATA} bytes")
    return text


ROUTES: Final = [
    Route("GET", "/servers", list_servers),
    Route("POST", "/servers", create_server),
    Route("GET", "/servers/{id}", get_server),
    Route("PUT", "/servers/{id}", put_server),
    Route("DELETE", "/servers/{id}", delete_server),
    *action_routes("server", "servers"),
]
