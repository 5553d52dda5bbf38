"""Volumes: disks of their own that cost money until somebody deletes them, whatever becomes of the server."""

from __future__ import annotations

from typing import Final

from tallship.lab.hetzner.action_routes import action_routes
from tallship.lab.hetzner.catalog import find_location
from tallship.lab.hetzner.errors import Refused, invalid
from tallship.lab.hetzner.project import Project, guard
from tallship.lab.hetzner.routing import Call, Reply, Route, listed, put_name_and_labels, put_protection
from tallship.lab.store import Document

SMALLEST: Final = 10
LARGEST: Final = 10240
FORMATS: Final = ("xfs", "ext4")


def rendered(volume: Document) -> Document:
    """Return a volume as the API shows it."""
    place = find_location(volume["location"])
    device = f"/dev/disk/by-id/scsi-0HC_Volume_{volume['id']}"
    return {
        **volume,
        "location": place.rendered() if place else None,
        "linux_device": device,
        "status": "available",
    }


def of_server(project: Project, server_id: int) -> list[int]:
    """Return the ids of the volumes that are attached to a server."""
    return [int(each["id"]) for each in project.all("volume") if each["server"] == server_id]


def forget_server(project: Project, server_id: int) -> None:
    """A server is deleted: its volumes stay, attached to nothing."""
    for volume in list(project.all("volume")):
        if volume["server"] == server_id:
            project.keep("volume", {**volume, "server": None})


def list_volumes(call: Call) -> Reply:
    """Return the volumes."""
    return listed(call, "volumes", [rendered(each) for each in call.project.all("volume")], ("status",))


def get_volume(call: Call) -> Reply:
    """Return one volume."""
    return Reply(200, {"volume": rendered(call.project.get("volume", call.id))})


def create_volume(call: Call) -> Reply:
    """Make a volume, in a location or attached to a server."""
    project, body = call.project, call.body
    size = body.number("size")
    if not SMALLEST <= size <= LARGEST:
        raise invalid("size", f"must be between {SMALLEST} and {LARGEST}")
    server = project.get("server", body.number("server")) if body.has("server") else None
    place = find_location(server["location"] if server else body.value("location"))
    if place is None:
        raise invalid("location", "location not found")
    fields = {
        "name": project.claim_name("volume", body.text("name")),
        "size": size,
        "location": place.name,
        "server": server["id"] if server else None,
        "labels": body.labels(),
        "format": body.choice("format", FORMATS) if body.has("format") else None,
        "protection": {"delete": False},
    }
    volume = project.new("volume", fields)
    action = project.actions.begin("create_volume", ("volume", volume["id"]))
    following = [_begun(project, "attach_volume", volume)] if server else []
    return Reply(201, {"volume": rendered(volume), "action": action, "next_actions": following})


def put_volume(call: Call) -> Reply:
    """Change a volume's name or labels."""
    volume, changed = put_name_and_labels(call, "volume")
    return Reply(200, {"volume": rendered(volume)}, changed=changed)


def delete_volume(call: Call) -> Reply:
    """Delete a volume that is attached to nothing, with all its data."""
    volume = guard(call.project.get("volume", call.id))
    if volume["server"]:
        raise Refused("resource_in_use", f"volume {call.id} is attached to server {volume['server']}")
    call.project.forget("volume", call.id)
    return Reply(204)


def attach(call: Call) -> Reply:
    """Attach a volume to a server in its location."""
    volume, server = call.project.get("volume", call.id), call.project.get("server", call.body.number("server"))
    if volume["server"]:
        raise Refused("volume_already_attached", "volume is already attached")
    if server["location"] != volume["location"]:
        raise invalid("server", "is in another location")
    changed = {**volume, "server": server["id"]}
    call.project.keep("volume", changed)
    return Reply(201, {"action": _begun(call.project, "attach_volume", changed)})


def detach(call: Call) -> Reply:
    """Take a volume from its server."""
    volume = call.project.get("volume", call.id)
    if not volume["server"]:
        raise invalid("volume", "is not attached")
    action = _begun(call.project, "detach_volume", volume)
    call.project.keep("volume", {**volume, "server": None})
    return Reply(201, {"action": action})


def resize(call: Call) -> Reply:
    """Make a volume larger."""
    volume, size = call.project.get("volume", call.id), call.body.number("size")
    if not volume["size"] < size <= LARGEST:
        raise invalid("size", "a volume can only grow")
    call.project.keep("volume", {**volume, "size": size})
    return Reply(201, {"action": call.project.actions.begin("resize_volume", ("volume", call.id))})


def _begun(project: Project, command: str, volume: Document) -> Document:
    return project.actions.begin(command, ("volume", volume["id"]), ("server", volume["server"]))


ROUTES: Final = [
    Route("GET", "/volumes", list_volumes),
    Route("POST", "/volumes", create_volume),
    Route("GET", "/volumes/{id}", get_volume),
    Route("PUT", "/volumes/{id}", put_volume),
    Route("DELETE", "/volumes/{id}", delete_volume),
    Route("POST", "/volumes/{id}/actions/attach", attach),
    Route("POST", "/volumes/{id}/actions/detach", detach),
    Route("POST", "/volumes/{id}/actions/resize", resize),
    Route("POST", "/volumes/{id}/actions/change_protection", lambda call: put_protection(call, "volume")),
    *action_routes("volume", "volumes"),
]
