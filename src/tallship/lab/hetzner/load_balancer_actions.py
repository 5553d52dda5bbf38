"""What can be done to a load balancer: each changes its configuration at once and answers with an action."""

from __future__ import annotations

from typing import Final

from tallship.lab.hetzner.errors import Refused
from tallship.lab.hetzner.load_balancers import ALGORITHMS, attached, kind_of, wanted_type
from tallship.lab.hetzner.networks import detach, membership
from tallship.lab.hetzner.routing import Call, Handler, Reply, Route, put_protection
from tallship.lab.hetzner.services import with_service, with_updated_service, without_service
from tallship.lab.hetzner.targets import with_target, without_target
from tallship.lab.store import Document


def add_service(call: Call) -> Reply:
    """Add a service."""
    balancer = call.project.get("load_balancer", call.id)
    return changed(call, "add_service", with_service(balancer, kind_of(balancer), call.body))


def update_service(call: Call) -> Reply:
    """Change the service of a listen port."""
    balancer = call.project.get("load_balancer", call.id)
    return changed(call, "update_service", with_updated_service(balancer, call.body))


def delete_service(call: Call) -> Reply:
    """Remove the service of a listen port."""
    balancer = call.project.get("load_balancer", call.id)
    return changed(call, "delete_service", without_service(balancer, call.body))


def add_target(call: Call) -> Reply:
    """Add a target."""
    balancer = call.project.get("load_balancer", call.id)
    return changed(call, "add_target", with_target(call.project, balancer, kind_of(balancer), call.body))


def remove_target(call: Call) -> Reply:
    """Remove a target."""
    balancer = call.project.get("load_balancer", call.id)
    return changed(call, "remove_target", without_target(balancer, call.body))


def attach_to_network(call: Call) -> Reply:
    """Attach a load balancer to a network."""
    body, balancer = call.body, call.project.get("load_balancer", call.id)
    wanted = body.text("ip", ""), body.text("ip_range", "")
    return changed(call, "attach_to_network", attached(call.project, balancer, body.number("network"), *wanted))


def detach_from_network(call: Call) -> Reply:
    """Detach a load balancer from a network; targets reached through it are dropped."""
    balancer, network_id = call.project.get("load_balancer", call.id), call.body.number("network")
    if not membership(balancer, network_id):
        raise Refused("load_balancer_not_attached_to_network", f"not attached to network {network_id}")
    detach(call.project, "load_balancer", balancer, network_id)
    return changed(call, "detach_from_network", call.project.get("load_balancer", call.id))


def change_algorithm(call: Call) -> Reply:
    """Change how targets are chosen."""
    algorithm = {"type": call.body.choice("type", ALGORITHMS)}
    balancer = call.project.get("load_balancer", call.id)
    return changed(call, "change_algorithm", {**balancer, "algorithm": algorithm})


def change_type(call: Call) -> Reply:
    """Change the size; services and targets must fit."""
    balancer, kind = call.project.get("load_balancer", call.id), wanted_type(call.body)
    too_small = len(balancer["services"]) > kind.max_services or len(balancer["targets"]) > kind.max_targets
    if kind.name == balancer["type"] or too_small:
        raise Refused("invalid_load_balancer_type", f"load balancer cannot become {kind.name}")
    return changed(call, "change_load_balancer_type", {**balancer, "type": kind.name})


def enable_public_interface(call: Call) -> Reply:
    """Let the load balancer listen on its public addresses."""
    balancer = call.project.get("load_balancer", call.id)
    return changed(call, "enable_public_interface", {**balancer, "public_interface": True})


def disable_public_interface(call: Call) -> Reply:
    """Let the load balancer listen on its private addresses only."""
    balancer = call.project.get("load_balancer", call.id)
    if not balancer["private_net"]:
        raise Refused("load_balancer_not_attached_to_network", "load balancer is not attached to a network")
    if not all(target["use_private_ip"] for target in balancer["targets"]):
        raise Refused("targets_without_use_private_ip", "a target does not use its private IP")
    return changed(call, "disable_public_interface", {**balancer, "public_interface": False})


def change_dns_ptr(call: Call) -> Reply:
    """Set or reset a reverse DNS entry."""
    balancer, ip = call.project.get("load_balancer", call.id), call.body.text("ip")
    entries = {each: name for each, name in balancer["ptr"].items() if each != ip}
    if call.body.has("dns_ptr"):
        entries[ip] = call.body.text("dns_ptr")
    return changed(call, "change_dns_ptr", {**balancer, "ptr": entries})


def changed(call: Call, command: str, balancer: Document) -> Reply:
    """Store a changed load balancer and return its action."""
    call.project.keep("load_balancer", balancer)
    return Reply(201, {"action": call.project.actions.begin(command, ("load_balancer", call.id))})


def _route(command: str, handler: Handler) -> Route:
    return Route("POST", f"/load_balancers/{{id}}/actions/{command}", handler)


ROUTES: Final = [
    _route("add_service", add_service),
    _route("update_service", update_service),
    _route("delete_service", delete_service),
    _route("add_target", add_target),
    _route("remove_target", remove_target),
    _route("attach_to_network", attach_to_network),
    _route("detach_from_network", detach_from_network),
    _route("change_algorithm", change_algorithm),
    _route("change_type", change_type),
    _route("enable_public_interface", enable_public_interface),
    _route("disable_public_interface", disable_public_interface),
    _route("change_dns_ptr", change_dns_ptr),
    _route("change_protection", lambda call: put_protection(call, "load_balancer")),
]
