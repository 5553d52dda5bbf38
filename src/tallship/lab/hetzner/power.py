"""What happens to a server's machine: installed, started, stopped, restarted, rescued. Effects of actions."""

from __future__ import annotations

from tallship.lab.hetzner.errors import Refused
from tallship.lab.hetzner.images import rendered as rendered_image
from tallship.lab.hetzner.project import Project
from tallship.lab.hetzner.servers import rendered
from tallship.lab.store import Document


async def server_installed(project: Project, server: int, starts: bool) -> None:
    """The disk holds the image; the machine starts next, or stays off."""
    _set_status(project, server, "starting" if starts else "off")


async def server_started(project: Project, server: int) -> None:
    """The machine has power and boots."""
    if project.get("server", server)["status"] != "starting":
        raise Refused("server_error", f"server {server} could not be started")
    await boot(project, server)


async def server_stopped(project: Project, server: int) -> None:
    """The machine has no power any more."""
    if project.get("server", server)["status"] != "off":
        _set_status(project, server, "off")
        await project.hardware.powered_off(server)


async def guest_stopped(project: Project, server: int, boot: int) -> None:
    """The operating system of that boot has shut down."""
    if _still_in(project, server, boot):
        await server_stopped(project, server)


async def guest_restarted(project: Project, server: int, boot: int) -> None:
    """The operating system of that boot has gone down to boot anew."""
    if _still_in(project, server, boot):
        await server_restarted(project, server)


async def server_unplugged(project: Project, server: int) -> None:
    """The machine loses its power while its disk is written."""
    await project.hardware.powered_off(server)


async def server_restarted(project: Project, server: int) -> None:
    """The machine lost power for a moment and boots anew."""
    if project.get("server", server)["status"] == "running":
        await project.hardware.powered_off(server)
        await boot(project, server)


async def server_rebuilt(project: Project, server: int, image: int, runs: bool) -> None:
    """The disk holds another image."""
    disk = project.table("disk")[str(server)]
    project.table("disk")[str(server)] = {**disk, "content": project.get("image", image)["content"]}
    project.keep("server", {**project.get("server", server), "image": image, "status": "off"})
    if runs:
        await boot(project, server)


async def rescue_expired(project: Project, server: int, enabled_at: float) -> None:
    """Nobody booted the rescue system in time."""
    found = project.find("server", server)
    if found and found["rescue"] and found["rescue"]["enabled_at"] == enabled_at:
        project.keep("server", {**found, "rescue": None})


async def boot(project: Project, server_id: int) -> None:
    """Boot the machine from its disk, or once from the rescue system when that is enabled."""
    server = project.get("server", server_id)
    disk = project.table("disk")[str(server_id)]
    image = _rescue_system(server["rescue"]) if server["rescue"] else _disk_image(project, server, disk)
    project.keep("server", {**server, "status": "running", "rescue": None, "boots": server["boots"] + 1})
    document = rendered(project, project.get("server", server_id))
    await project.hardware.powered_on(document, disk["user_data"], image)


def _still_in(project: Project, server_id: int, boot: int) -> bool:
    server = project.find("server", server_id)
    return server is not None and server["status"] == "running" and server["boots"] == boot


def _rescue_system(rescue: Document) -> Document:
    return {"rescue": True, "ssh_keys": rescue["ssh_keys"], "root_password": rescue["root_password"]}


def _disk_image(project: Project, server: Document, disk: Document) -> Document:
    image = project.find("image", server["image"])
    return {**(rendered_image(image) if image else {}), "content": disk["content"]}


def _set_status(project: Project, server_id: int, status: str) -> None:
    project.keep("server", {**project.get("server", server_id), "status": status})
