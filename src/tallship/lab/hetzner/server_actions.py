"""What can be done to a server. Power and disk change when the action ends, configuration at once."""

from __future__ import annotations

import secrets
from ipaddress import IPv4Network
from typing import Any, Final

from tallship.lab.hetzner import images, placement_groups, primary_ips
from tallship.lab.hetzner.catalog import find_location
from tallship.lab.hetzner.errors import Refused, invalid
from tallship.lab.hetzner.networks import detach, free_ip, membership
from tallship.lab.hetzner.routing import Call, Handler, Reply, Route
from tallship.lab.hetzner.servers import private_entry, wanted_type
from tallship.lab.hetzner.ssh_keys import key_of
from tallship.lab.hetzner.times import ACPI_SHUTDOWN, REBOOT, RESCUE_EXPIRY
from tallship.lab.store import Document


def poweron(call: Call) -> Reply:
    """Give the server power; nothing happens to one that has it."""
    server = _unlocked(call)
    if server["status"] != "off":
        return _begun(call, "start_server")
    _keep(call, status="starting")
    return _begun(call, "start_server", effect="server_started", server=call.id)


def poweroff(call: Call) -> Reply:
    """Take the power away."""
    if _unlocked(call)["status"] == "running":
        _keep(call, status="stopping")
    return _begun(call, "stop_server", effect="server_stopped", server=call.id)


def shutdown(call: Call) -> Reply:
    """Ask the operating system to shut down. Hetzner API: the action ends when the signal is sent."""
    server = _unlocked(call)
    if server["status"] == "running":
        call.project.timers.set(ACPI_SHUTDOWN, "guest_stopped", server=call.id, boot=server["boots"])
    return _begun(call, "shutdown_server")


def reboot(call: Call) -> Reply:
    """Ask a running operating system to reboot."""
    server = _unlocked(call)
    if server["status"] == "running":
        call.project.timers.set(REBOOT, "guest_restarted", server=call.id, boot=server["boots"])
    return _begun(call, "reboot_server")


def reset(call: Call) -> Reply:
    """Cut the power of a running server and give it back."""
    _unlocked(call)
    return _begun(call, "reset_server", effect="server_restarted", server=call.id)


def enable_rescue(call: Call) -> Reply:
    """Let the next boot be the rescue system's; it expires unused after an hour."""
    _unlocked(call)
    call.body.choice("type", ("linux64",), "linux64")
    password, now = secrets.token_urlsafe(15), call.project.clock.now()
    keys = [key_of(call.project, key)["public_key"] for key in call.body.list("ssh_keys")]
    _keep(call, rescue={"ssh_keys": keys, "root_password": password, "enabled_at": now})
    call.project.timers.set(RESCUE_EXPIRY, "rescue_expired", server=call.id, enabled_at=now)
    return _begun(call, "enable_rescue", {"root_password": password})


def disable_rescue(call: Call) -> Reply:
    """Let the next boot be from the disk."""
    _unlocked(call)
    _keep(call, rescue=None)
    return _begun(call, "disable_rescue")


def rebuild(call: Call) -> Reply:
    """Write another image to the disk."""
    server = _unlocked(call)
    if server["protection"]["rebuild"]:
        raise Refused("protected", "rebuild protection is enabled for this resource")
    architecture = call.project.table("disk")[str(call.id)]["architecture"]
    image = images.usable(call.project, call.body.value("image"), architecture, server["primary_disk_size"])
    runs = server["status"] == "running"
    _keep(call, status="rebuilding")
    if runs:
        call.project.timers.set(0, "server_unplugged", server=call.id)
    effect = {"server": call.id, "image": image["id"], "runs": runs}
    password = {"root_password": secrets.token_urlsafe(15)}
    return _begun(call, "rebuild_server", password, effect="server_rebuilt", **effect)


def change_type(call: Call) -> Reply:
    """Change the size of a server that is off."""
    server, kind = _stopped(call), wanted_type(call.body)
    architecture = call.project.table("disk")[str(call.id)]["architecture"]
    fits = kind.architecture == architecture and kind.disk >= server["primary_disk_size"]
    if kind.name == server["server_type"] or not fits or server["location"] not in kind.locations:
        raise Refused("invalid_server_type", f"server cannot become {kind.name}")
    disk = kind.disk if call.body.flag("upgrade_disk", False) else server["primary_disk_size"]
    _keep(call, server_type=kind.name, primary_disk_size=disk)
    return _begun(call, "change_server_type")


def attach_to_network(call: Call) -> Reply:
    """Attach a server to a network."""
    project, body, server = call.project, call.body, call.project.get("server", call.id)
    network = project.get("network", body.number("network"))
    if membership(server, network["id"]):
        raise Refused("server_already_attached", f"server is already attached to network {network['id']}")
    others = (project.get("network", net["network"])["ip_range"] for net in server["private_net"])
    if any(IPv4Network(network["ip_range"]).overlaps(IPv4Network(other)) for other in others):
        raise Refused("networks_overlap", "server is attached to a network with overlapping range")
    _unlocked(call)
    place = find_location(server["location"])
    zone = place.network_zone if place else ""
    ip = free_ip(project, network, zone, body.text("ip", ""), body.text("ip_range", ""))
    aliases = [free_ip(project, network, zone, alias) for alias in body.texts("alias_ips")]
    _keep(call, private_net=[*server["private_net"], private_entry(network, ip, call.id, aliases)])
    return _network_action(call, "attach_to_network", network["id"])


def detach_from_network(call: Call) -> Reply:
    """Detach a server from a network."""
    server, network_id = _unlocked(call), _attached_network(call)
    detach(call.project, "server", server, network_id)
    return _network_action(call, "detach_from_network", network_id)


def change_alias_ips(call: Call) -> Reply:
    """Replace a server's alias addresses in a network."""
    server, network_id = _unlocked(call), _attached_network(call)
    place = find_location(server["location"])
    network, zone = call.project.get("network", network_id), place.network_zone if place else ""
    bare = [{**net, "alias_ips": []} if net["network"] == network_id else net for net in server["private_net"]]
    _keep(call, private_net=bare)
    aliases = [free_ip(call.project, network, zone, alias) for alias in call.body.texts("alias_ips")]
    nets = [{**net, "alias_ips": aliases} if net["network"] == network_id else net for net in bare]
    _keep(call, private_net=nets)
    return _network_action(call, "change_alias_ips", network_id)


def add_to_placement_group(call: Call) -> Reply:
    """Put a server that is off into a placement group."""
    server, group = _stopped(call), call.body.number("placement_group")
    if server["placement_group"]:
        raise Refused("already_in_placement_group", "server is already in a placement group")
    _keep(call, placement_group=placement_groups.with_room(call.project, group))
    return _begun(call, "add_to_placement_group")


def remove_from_placement_group(call: Call) -> Reply:
    """Take a server out of its placement group."""
    if not _unlocked(call)["placement_group"]:
        raise invalid("placement_group", "server is in no placement group")
    _keep(call, placement_group=None)
    return _begun(call, "remove_from_placement_group")


def change_protection(call: Call) -> Reply:
    """Set the protections; Hetzner API: a server's two must be equal."""
    old = call.project.get("server", call.id)["protection"]
    new = {name: call.body.flag(name, old[name]) for name in ("delete", "rebuild")}
    if new["delete"] != new["rebuild"]:
        raise invalid("rebuild", "delete and rebuild protection must be equal")
    _keep(call, protection=new)
    return _begun(call, "change_protection")


def change_dns_ptr(call: Call) -> Reply:
    """Set or reset the reverse DNS entry of one of the server's addresses."""
    call.project.get("server", call.id)
    ip = call.body.text("ip")
    for version in primary_ips.VERSIONS:
        address = primary_ips.of_server(call.project, call.id, version)
        if address and (ip == address["ip"] or (version == "ipv6" and ":" in ip)):
            primary_ips.set_pointer(call.project, address, call.body)
            return _begun(call, "change_dns_ptr")
    raise invalid("ip", "is not an address of this server")


def _unlocked(call: Call) -> Document:
    return call.project.unlocked(call.project.get("server", call.id))


def _stopped(call: Call) -> Document:
    server = _unlocked(call)
    if server["status"] != "off":
        raise Refused("server_not_stopped", f"server {call.id} must be off")
    return server


def _attached_network(call: Call) -> int:
    network_id = call.body.number("network")
    if not membership(call.project.get("server", call.id), network_id):
        raise invalid("network", f"server is not attached to network {network_id}")
    return network_id


def _keep(call: Call, **fields: Any) -> None:
    call.project.keep("server", {**call.project.get("server", call.id), **fields})


def _begun(call: Call, command: str, body: Document | None = None, *, effect: str = "", **arguments: Any) -> Reply:
    action = call.project.actions.begin(command, ("server", call.id), effect=effect, **arguments)
    return Reply(201, {"action": action, **(body or {})})


def _network_action(call: Call, command: str, network_id: int) -> Reply:
    return Reply(201, {"action": call.project.actions.begin(command, ("server", call.id), ("network", network_id))})


def _route(command: str, handler: Handler) -> Route:
    return Route("POST", f"/servers/{{id}}/actions/{command}", handler)


ROUTES: Final = [
    _route("poweron", poweron),
    _route("poweroff", poweroff),
    _route("shutdown", shutdown),
    _route("reboot", reboot),
    _route("reset", reset),
    _route("enable_rescue", enable_rescue),
    _route("disable_rescue", disable_rescue),
    _route("rebuild", rebuild),
    _route("change_type", change_type),
    _route("attach_to_network", attach_to_network),
    _route("detach_from_network", detach_from_network),
    _route("change_alias_ips", change_alias_ips),
    _route("add_to_placement_group", add_to_placement_group),
    _route("remove_from_placement_group", remove_from_placement_group),
    _route("change_protection", change_protection),
    _route("change_dns_ptr", change_dns_ptr),
]
