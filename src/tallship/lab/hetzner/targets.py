"""A load balancer's targets: servers, or whatever servers a label selector matches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from tallship.lab.hetzner.body import Body
from tallship.lab.hetzner.catalog import LoadBalancerType
from tallship.lab.hetzner.errors import Refused, invalid, not_found, over_limit
from tallship.lab.hetzner.networks import shared_network
from tallship.lab.hetzner.project import Project
from tallship.lab.hetzner.selectors import matches
from tallship.lab.store import Document

KINDS: Final = ("server", "label_selector", "ip")
UNKNOWN: Final = {"status": "unknown"}


def with_target(project: Project, balancer: Document, kind: LoadBalancerType, body: Body) -> Document:
    """Return the load balancer with one more target. Raises Refused when it cannot be reached or is there."""
    target = {**_named(body), "use_private_ip": body.flag("use_private_ip", False)}
    if any(_same(target, other) for other in balancer["targets"]):
        raise Refused("target_already_defined", "target is already defined")
    if target["use_private_ip"] and not balancer["private_net"]:
        raise Refused("load_balancer_not_attached_to_network", "load balancer is not attached to a network")
    if not target["use_private_ip"] and not balancer["public_interface"]:
        raise Refused("load_balancer_public_interface_disabled", "the public interface is disabled")
    if target["type"] == "server":
        _check_reachable(project, balancer, target)
    if len(balancer["targets"]) >= kind.max_targets:
        raise over_limit("load_balancer_target_limit", message=f"{kind.name} has at most {kind.max_targets} targets")
    return {**balancer, "targets": [*balancer["targets"], target]}


def without_target(balancer: Document, body: Body) -> Document:
    """Return the load balancer without a target. CAPH v1.0.7 reads `invalid_input` as "it is gone already"."""
    gone = _named(body)
    kept = [target for target in balancer["targets"] if not _same(target, gone)]
    if len(kept) == len(balancer["targets"]):
        raise invalid("target", f"{gone['type']} is not a target of this load balancer")
    return {**balancer, "targets": kept}


def forget_server(project: Project, server_id: int) -> None:
    """Drop a deleted server from all load balancers."""
    for balancer in list(project.all("load_balancer")):
        kept = [target for target in balancer["targets"] if target.get("server") != {"id": server_id}]
        if kept != balancer["targets"]:
            project.keep("load_balancer", {**balancer, "targets": kept})


def rendered_target(project: Project, balancer: Document, target: Document) -> dict[str, Any]:
    """Return a target as the API shows it, with the health of each service."""
    if target["type"] == "server":
        return {**target, "health_status": _health(project, balancer, target["server"]["id"])}
    nested = [
        {
            "type": "server",
            "server": {"id": server["id"]},
            "health_status": _health(project, balancer, server["id"]),
            "use_private_ip": target["use_private_ip"],
        }
        for server in servers_of(project, balancer, target)
    ]
    return {**target, "targets": nested}


def servers_of(project: Project, balancer: Document, target: Document) -> Iterator[Document]:
    """Yield the servers that a target stands for now; those that cannot be reached are left out."""
    if target["type"] == "server":
        yield project.get("server", target["server"]["id"])
        return
    for server in project.all("server"):
        if not matches(target["label_selector"]["selector"], server["labels"]):
            continue
        if shared_network(server, balancer) if target["use_private_ip"] else _has_ipv4(project, server["id"]):
            yield server


def _health(project: Project, balancer: Document, server_id: int) -> list[Document]:
    return [
        {"listen_port": port, **project.health.get((balancer["id"], port, server_id), UNKNOWN)}
        for port in (service["listen_port"] for service in balancer["services"])
    ]


def _named(body: Body) -> Document:
    kind = body.choice("type", KINDS)
    if kind == "ip":
        raise Refused("ip_not_owned", "the lab has no dedicated servers")
    if kind == "server":
        return {"type": kind, "server": {"id": body.object("server").number("id")}}
    return {"type": kind, "label_selector": {"selector": body.object("label_selector").selector("selector")}}


def _same(target: Document, other: Document) -> bool:
    return all(target.get(name) == other.get(name) for name in ("type", "server", "label_selector"))


def _check_reachable(project: Project, balancer: Document, target: Document) -> None:
    server = project.find("server", target["server"]["id"])
    if server is None:
        raise not_found("server", target["server"]["id"])
    if target["use_private_ip"] and not shared_network(server, balancer):
        raise Refused("resolve_cloud_private_targets_error", "server is not in the load balancer's network")
    if not target["use_private_ip"] and not _has_ipv4(project, server["id"]):
        raise Refused("resolve_cloud_public_targets_error", "server has no public IPv4 address")


def _has_ipv4(project: Project, server_id: int) -> bool:
    addresses = project.all("primary_ip")
    return any((each["assignee_id"], each["type"]) == (server_id, "ipv4") for each in addresses)
