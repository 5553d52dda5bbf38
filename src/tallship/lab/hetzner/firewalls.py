"""Firewalls over the API: rules, and what they are applied to."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_network
from typing import Final

from tallship.lab.hetzner.action_routes import action_routes
from tallship.lab.hetzner.body import Body
from tallship.lab.hetzner.errors import Refused, over_limit
from tallship.lab.hetzner.packet_filter import forget_firewall, of_server, selected, servers_under, settle_links
from tallship.lab.hetzner.project import Project
from tallship.lab.hetzner.routing import Call, Reply, Route, listed, put_name_and_labels
from tallship.lab.store import Document

MOST_RULES: Final = 50
MOST_CIDRS: Final = 100
MOST_FIREWALLS: Final = 50
MOST_ON_A_SERVER: Final = 5
PROTOCOLS: Final = ("tcp", "udp", "icmp", "esp", "gre")


def rendered(project: Project, firewall: Document) -> Document:
    """Return a firewall as the API shows it; a selector's resources are the servers it is in force on."""
    applied = servers_under(project, firewall["id"])
    shown = []
    for resource in firewall["applied_to"]:
        if resource["type"] == "server":
            shown.append(resource)
            continue
        chosen = [server["id"] for server in selected(project, resource) if server["id"] in applied]
        found = [{"type": "server", "server": {"id": key}} for key in chosen]
        shown.append({**resource, "applied_to_resources": found})
    return {**firewall, "applied_to": shown}


def list_firewalls(call: Call) -> Reply:
    """Return the firewalls."""
    return listed(call, "firewalls", [rendered(call.project, each) for each in call.project.all("firewall")])


def get_firewall(call: Call) -> Reply:
    """Return one firewall."""
    return Reply(200, {"firewall": rendered(call.project, call.project.get("firewall", call.id))})


def create_firewall(call: Call) -> Reply:
    """Make a firewall with its rules, applied to servers or label selectors."""
    project, body = call.project, call.body
    if len(list(project.all("firewall"))) >= MOST_FIREWALLS:
        raise over_limit("firewall_limit")
    name = project.claim_name("firewall", body.text("name"))
    rules, labels, resources = _rules(body), body.labels(), _resources(project, body, "apply_to", created=True)
    firewall = project.new("firewall", {"name": name, "labels": labels, "rules": rules, "applied_to": resources})
    settle_links(project)
    key = int(firewall["id"])
    actions = [project.actions.begin("set_firewall_rules", ("firewall", key))]
    actions += [_begin(project, "apply_firewall", key, resource) for resource in resources]
    return Reply(201, {"firewall": rendered(project, firewall), "actions": actions})


def put_firewall(call: Call) -> Reply:
    """Change a firewall's name or labels."""
    firewall, changed = put_name_and_labels(call, "firewall")
    return Reply(200, {"firewall": rendered(call.project, firewall)}, changed=changed)


def delete_firewall(call: Call) -> Reply:
    """Delete a firewall that is applied to nothing."""
    firewall = call.project.get("firewall", call.id)
    if firewall["applied_to"]:
        raise Refused("resource_in_use", f"firewall {call.id} is still applied")
    call.project.forget("firewall", call.id)
    forget_firewall(call.project, call.id)
    return Reply(204)


def set_rules(call: Call) -> Reply:
    """Replace the rules."""
    firewall = call.project.get("firewall", call.id)
    call.project.keep("firewall", {**firewall, "rules": _rules(call.body)})
    return Reply(201, {"actions": [call.project.actions.begin("set_firewall_rules", ("firewall", call.id))]})


def apply_to_resources(call: Call) -> Reply:
    """Apply a firewall to servers or label selectors."""
    firewall = call.project.get("firewall", call.id)
    resources = _resources(call.project, call.body, "apply_to")
    if any(resource in firewall["applied_to"] for resource in resources):
        raise Refused("firewall_already_applied", f"firewall {call.id} is already applied to the resource")
    for resource in resources:
        if resource["type"] == "server" and len(of_server(call.project, resource["server"]["id"])) >= MOST_ON_A_SERVER:
            raise over_limit("firewall_per_server_limit")
    return _reapplied(call, "apply_firewall", resources, [*firewall["applied_to"], *resources])


def remove_from_resources(call: Call) -> Reply:
    """Remove a firewall from servers or label selectors."""
    project, firewall = call.project, call.project.get("firewall", call.id)
    resources = _resources(project, call.body, "remove_from")
    for resource in resources:
        if resource in firewall["applied_to"]:
            continue
        if resource["type"] == "server" and resource["server"]["id"] in servers_under(project, call.id):
            raise Refused("firewall_managed_by_label_selector", "the firewall is applied by a label selector")
        raise Refused("firewall_resource_not_found", f"firewall {call.id} is not applied to the resource")
    kept = [resource for resource in firewall["applied_to"] if resource not in resources]
    return _reapplied(call, "remove_firewall", resources, kept)


def apply_to_new_server(project: Project, firewall_ids: Sequence[int], server_id: int) -> None:
    """Apply the firewalls that a server was created with."""
    for key in firewall_ids:
        firewall = project.get("firewall", key)
        applied_to = [*firewall["applied_to"], {"type": "server", "server": {"id": server_id}}]
        project.keep("firewall", {**firewall, "applied_to": applied_to})


def _reapplied(call: Call, command: str, resources: list[Document], applied_to: list[Document]) -> Reply:
    project = call.project
    project.keep("firewall", {**project.get("firewall", call.id), "applied_to": applied_to})
    settle_links(project)
    return Reply(201, {"actions": [_begin(project, command, call.id, resource) for resource in resources]})


def _begin(project: Project, command: str, firewall_id: int, resource: Document) -> Document:
    servers = [("server", int(resource["server"]["id"]))] if resource["type"] == "server" else []
    return project.actions.begin(command, ("firewall", firewall_id), *servers)


def _resources(project: Project, body: Body, field: str, *, created: bool = False) -> list[Document]:
    resources = [_resource(project, each, created) for each in body.objects(field)]
    if not resources and not created:
        raise body.wrong(field, "is required")
    if any(resources.count(resource) > 1 for resource in resources):
        raise Refused("server_already_added", "a resource is named more than once")
    return resources


def _resource(project: Project, body: Body, created: bool) -> Document:
    if body.choice("type", ("server", "label_selector")) == "label_selector":
        return {
            "type": "label_selector",
            "label_selector": {"selector": body.object("label_selector").selector("selector")},
        }
    key = body.object("server").number("id")
    server = project.find("server", key)
    if server is None:
        status = 422 if created else 404
        raise Refused("firewall_resource_not_found", f"server with ID '{key}' not found", status=status)
    if not any(each["assignee_id"] == key for each in project.all("primary_ip")):
        raise Refused("private_net_only_server", f"server {key} has no public network")
    return {"type": "server", "server": {"id": key}}


def _rules(body: Body) -> list[Document]:
    rules = [_rule(each) for each in body.objects("rules")]
    if len(rules) > MOST_RULES:
        raise body.wrong("rules", f"a firewall has at most {MOST_RULES} rules")
    return rules


def _rule(body: Body) -> Document:
    direction = body.choice("direction", ("in", "out"))
    protocol = body.choice("protocol", PROTOCOLS)
    if body.has("port") != (protocol in ("tcp", "udp")):
        raise body.wrong("port", f"is {'required' if protocol in ('tcp', 'udp') else 'not allowed'} for {protocol}")
    needed = "source_ips" if direction == "in" else "destination_ips"
    if not body.texts(needed):
        raise body.wrong(needed, f"is required for direction {direction}")
    description = body.text("description") if body.has("description") else None
    if len(description or "") > 255:
        raise body.wrong("description", "must be at most 255 characters")
    return {
        "description": description,
        "direction": direction,
        "source_ips": _ranges(body, "source_ips"),
        "destination_ips": _ranges(body, "destination_ips"),
        "protocol": protocol,
        "port": _port(body) if body.has("port") else None,
    }


def _ranges(body: Body, field: str) -> list[str]:
    ranges = list(body.texts(field))
    if len(ranges) > MOST_CIDRS:
        raise body.wrong(field, f"at most {MOST_CIDRS} ranges")
    for text in ranges:
        try:
            ip_network(text)
        except ValueError as error:
            raise body.wrong(field, f"'{text}' is not a network in CIDR notation") from error
        if "/" not in text:
            raise body.wrong(field, f"'{text}' is not a network in CIDR notation")
    return ranges


def _port(body: Body) -> str:
    text = body.text("port")
    ends = text.split("-")
    if text == "any":
        return text
    if len(ends) > 2 or not all(end.isdecimal() and 1 <= int(end) <= 65535 for end in ends):
        raise body.wrong("port", "must be a port, a range of ports, or 'any'")
    if int(ends[0]) > int(ends[-1]):
        raise body.wrong("port", "the range is empty")
    return text


ROUTES: Final = [
    Route("GET", "/firewalls", list_firewalls),
    Route("POST", "/firewalls", create_firewall),
    Route("GET", "/firewalls/{id}", get_firewall),
    Route("PUT", "/firewalls/{id}", put_firewall),
    Route("DELETE", "/firewalls/{id}", delete_firewall),
    Route("POST", "/firewalls/{id}/actions/set_rules", set_rules),
    Route("POST", "/firewalls/{id}/actions/apply_to_resources", apply_to_resources),
    Route("POST", "/firewalls/{id}/actions/remove_from_resources", remove_from_resources),
    *action_routes("firewall", "firewalls"),
]
