"""Images: Hetzner's own system images and the project's snapshots."""

from __future__ import annotations

from typing import Any, Final

from tallship.lab.hetzner.action_routes import action_routes
from tallship.lab.hetzner.errors import Refused, invalid
from tallship.lab.hetzner.project import Project, guard
from tallship.lab.hetzner.routing import Call, Reply, Route, listed, put_protection
from tallship.lab.store import Document

STOCK: Final = (("debian-12", "debian", "12"), ("ubuntu-24.04", "ubuntu", "24.04"))
_PUBLIC: Final = (
    "id",
    "type",
    "status",
    "name",
    "description",
    "image_size",
    "disk_size",
    "created",
    "created_from",
    "bound_to",
    "os_flavor",
    "os_version",
    "rapid_deploy",
    "protection",
    "labels",
    "architecture",
)
_FILTERS: Final = ("type", "status", "bound_to", "architecture")


def add_stock_images(project: Project) -> None:
    """Give a new project the system images."""
    if any(project.all("image")):
        return
    for name, flavor, version in STOCK:
        for architecture in ("x86", "arm"):
            about = {"name": name, "description": f"{flavor.title()} {version}", "type": "system", "disk_size": 5}
            image = _fields(architecture, content={"os": name}, os_flavor=flavor, os_version=version)
            project.new("image", {**image, **about, "rapid_deploy": True})


def add_snapshot(project: Project, architecture: str, **fields: Any) -> Document:
    """Store a snapshot and return it; the field `content` is what a disk made of it holds."""
    return project.new("image", {**_fields(architecture), "type": "snapshot", "name": None, **fields})


def rendered(image: Document) -> Document:
    """Return an image as the API shows it; `deprecated` is gone since 2026-09-08."""
    return {**{name: image[name] for name in _PUBLIC}, "deleted": None, "deprecation": None}


def usable(project: Project, key: object, architecture: str, disk: int) -> Document:
    """Return the image with that id or name for a server. Raises Refused when it does not exist or fit."""
    found = project.find("image", key)
    if found is None:
        named = (each for each in project.all("image") if each["name"] == key)
        found = next((each for each in named if each["architecture"] == architecture), None)
    if found is None:
        raise invalid("image", f"image '{key}' not found")
    if found["architecture"] != architecture:
        raise invalid("image", "image and server type have different architectures")
    if found["status"] != "available":
        raise invalid("image", f"image '{key}' is not available: {found['status']}")
    if found["disk_size"] > disk:
        raise invalid("image", f"image needs a disk of {found['disk_size']} GB, the server type has {disk} GB")
    return found


def list_images(call: Call) -> Reply:
    """Return the images."""
    return listed(call, "images", [rendered(each) for each in call.project.all("image")], _FILTERS)


def get_image(call: Call) -> Reply:
    """Return one image."""
    return Reply(200, {"image": rendered(call.project.get("image", call.id))})


def put_image(call: Call) -> Reply:
    """Change an image's description, labels or type."""
    old = _own(call)
    new = {**old, "description": call.body.text("description", old["description"])}
    new["type"] = call.body.choice("type", ("snapshot",)) if call.body.has("type") else old["type"]
    new["labels"] = call.body.labels() if call.body.has("labels") else old["labels"]
    call.project.keep("image", new)
    return Reply(200, {"image": rendered(new)}, changed=new != old)


def delete_image(call: Call) -> Reply:
    """Delete a snapshot."""
    call.project.forget("image", guard(_own(call))["id"])
    return Reply(204)


def change_protection(call: Call) -> Reply:
    """Set a snapshot's deletion protection."""
    _own(call)
    return put_protection(call, "image")


def create_image(call: Call) -> Reply:
    """Make a snapshot of a server's disk as it is now."""
    project, body = call.project, call.body
    server = project.unlocked(project.get("server", call.id))
    kind = body.choice("type", ("snapshot", "backup"), "snapshot")
    disk = project.table("disk")[str(server["id"])]
    image = add_snapshot(
        project,
        disk["architecture"],
        status="creating",
        type=kind,
        description=body.text("description", "") or f"{server['name']} {kind}",
        labels=body.labels(),
        disk_size=server["primary_disk_size"],
        created_from={"id": server["id"], "name": server["name"]},
        bound_to=server["id"] if kind == "backup" else None,
        content=disk["content"],
    )
    resources = (("server", int(server["id"])), ("image", int(image["id"])))
    action = project.actions.begin("create_image", *resources, effect="image_made", image=image["id"])
    return Reply(201, {"image": rendered(image), "action": action})


async def image_made(project: Project, image: int) -> None:
    """The snapshot may be used from now on."""
    document = project.get("image", image)
    project.keep("image", {**document, "status": "available", "image_size": 0.5})


def _own(call: Call) -> Document:
    image = call.project.get("image", call.id)
    if image["type"] == "system":
        raise Refused("forbidden", "system images cannot be changed")
    return image


def _fields(architecture: str, **more: Any) -> Document:
    return {
        "status": "available",
        "image_size": None,
        "created_from": None,
        "bound_to": None,
        "os_flavor": "unknown",
        "os_version": None,
        "rapid_deploy": False,
        "protection": {"delete": False},
        "labels": {},
        "architecture": architecture,
        **more,
    }


ROUTES: Final = [
    Route("GET", "/images", list_images),
    Route("GET", "/images/{id}", get_image),
    Route("PUT", "/images/{id}", put_image),
    Route("DELETE", "/images/{id}", delete_image),
    Route("POST", "/images/{id}/actions/change_protection", change_protection),
    Route("POST", "/servers/{id}/actions/create_image", create_image),
    *action_routes("image", "images"),
]
