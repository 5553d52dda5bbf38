"""Placement groups: servers that must not share a host."""

from __future__ import annotations

from typing import Final

from tallship.lab.hetzner.errors import Refused, over_limit
from tallship.lab.hetzner.project import Project
from tallship.lab.hetzner.routing import Call, Reply, Route, listed, put_name_and_labels
from tallship.lab.store import Document

MOST_SERVERS: Final = 10
MOST_GROUPS: Final = 50


def rendered(project: Project, group: Document) -> Document:
    """Return a group as the API shows it."""
    servers = [each["id"] for each in project.all("server") if each["placement_group"] == group["id"]]
    return {**group, "servers": servers}


def with_room(project: Project, key: int) -> int:
    """Return the group's id when it takes one more server. Raises Refused (not_found, placement_error)."""
    if len(rendered(project, project.get("placement_group", key))["servers"]) >= MOST_SERVERS:
        raise Refused("placement_error", f"a placement group takes at most {MOST_SERVERS} servers")
    return key


def list_groups(call: Call) -> Reply:
    """Return the placement groups."""
    groups = [rendered(call.project, each) for each in call.project.all("placement_group")]
    return listed(call, "placement_groups", groups, ("type",))


def get_group(call: Call) -> Reply:
    """Return one placement group."""
    group = call.project.get("placement_group", call.id)
    return Reply(200, {"placement_group": rendered(call.project, group)})


def create_group(call: Call) -> Reply:
    """Make a placement group."""
    if len(list(call.project.all("placement_group"))) >= MOST_GROUPS:
        raise over_limit("placement_group_limit")
    name = call.project.claim_name("placement_group", call.body.text("name"))
    fields = {"name": name, "labels": call.body.labels(), "type": call.body.choice("type", ("spread",))}
    group = call.project.new("placement_group", fields)
    return Reply(201, {"placement_group": rendered(call.project, group), "action": None})


def put_group(call: Call) -> Reply:
    """Change a group's name or labels."""
    group, changed = put_name_and_labels(call, "placement_group")
    return Reply(200, {"placement_group": rendered(call.project, group)}, changed=changed)


def delete_group(call: Call) -> Reply:
    """Delete a group; its servers stay."""
    call.project.forget("placement_group", call.project.get("placement_group", call.id)["id"])
    for server in call.project.all("server"):
        if server["placement_group"] == call.id:
            call.project.keep("server", {**server, "placement_group": None})
    return Reply(204)


ROUTES: Final = [
    Route("GET", "/placement_groups", list_groups),
    Route("POST", "/placement_groups", create_group),
    Route("GET", "/placement_groups/{id}", get_group),
    Route("PUT", "/placement_groups/{id}", put_group),
    Route("DELETE", "/placement_groups/{id}", delete_group),
]
