"""The lab's Hetzner Cloud API: one project behind one HTTP application."""

from __future__ import annotations

import functools
import ssl
from collections import Counter
from typing import Any

from aiohttp import web

from tallship.lab.clock import LabClock
from tallship.lab.faults import Faults
from tallship.lab.hetzner import (
    action_routes,
    firewalls,
    floating_ips,
    images,
    load_balancer_actions,
    load_balancers,
    networks,
    offers,
    packet_filter,
    placement_groups,
    power,
    pricing,
    primary_ips,
    server_actions,
    servers,
    ssh_keys,
    volumes,
)
from tallship.lab.hetzner.balancer import Balancer, server_address
from tallship.lab.hetzner.gate import Gate
from tallship.lab.hetzner.hardware import Hardware
from tallship.lab.hetzner.project import Project
from tallship.lab.hetzner.ratelimit import Bucket
from tallship.lab.hetzner.routing import Route
from tallship.lab.hetzner.tokens import Tokens
from tallship.lab.store import Store
from tallship.lab.world import Addresses

ROUTES: list[Route] = [
    *servers.ROUTES,
    *server_actions.ROUTES,
    *networks.ROUTES,
    *load_balancers.ROUTES,
    *load_balancer_actions.ROUTES,
    *placement_groups.ROUTES,
    *firewalls.ROUTES,
    *images.ROUTES,
    *ssh_keys.ROUTES,
    *primary_ips.ROUTES,
    *volumes.ROUTES,
    *floating_ips.ROUTES,
    *offers.ROUTES,
    *pricing.ROUTES,
    *action_routes.ROUTES,
]

EFFECTS = {
    effect.__name__: effect
    for effect in (
        power.server_installed,
        power.server_started,
        power.server_stopped,
        power.server_restarted,
        power.server_rebuilt,
        power.server_unplugged,
        power.guest_stopped,
        power.guest_restarted,
        power.rescue_expired,
        servers.server_deleted,
        images.image_made,
        packet_filter.settle_link,
    )
}


class HetznerApi:
    """The project, its API and its data plane. Only tokens that it issued itself are accepted."""

    def __init__(
        self,
        store: Store,
        clock: LabClock,
        faults: Faults,
        writes: Counter[str],
        addresses: Addresses,
        hardware: Hardware,
    ) -> None:
        self.project = Project(store, clock, faults, addresses, hardware)
        for name, effect in EFFECTS.items():
            self.project.effects[name] = functools.partial(effect, self.project)
        images.add_stock_images(self.project)
        self.tokens = Tokens(store)
        self.bucket = Bucket(store, clock)
        self.balancer = Balancer(self.project)
        self._gate = Gate(self.project, self.tokens, self.bucket, self.balancer, writes)
        self._runners: list[web.AppRunner] = []

    def app(self) -> web.Application:
        """Return the application; it serves `/v1/…`."""
        return self._gate.app(ROUTES)

    async def serve(self, host: str, port: int, ssl_context: ssl.SSLContext | None) -> None:
        """Serve the API on one more socket, until `stop`."""
        runner = web.AppRunner(self.app(), access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, host, port, ssl_context=ssl_context).start()
        self._runners.append(runner)

    async def start(self) -> None:
        """Go on with everything that was under way when an earlier process ended."""
        self.project.timers.resume()
        await self.balancer.refresh()

    async def stop(self) -> None:
        """Stop serving; what is under way stays in the store."""
        for runner in self._runners:
            for connection in runner.server.connections if runner.server else ():
                if connection.transport:
                    connection.transport.abort()  # closing TLS politely waits for the other side
            await runner.cleanup()
        self._runners.clear()
        await self.project.timers.stop()
        await self.balancer.stop()

    def servers(self) -> list[dict[str, Any]]:
        """Return every server as the API shows it."""
        return [servers.rendered(self.project, each) for each in self.project.all("server")]

    def find_server(self, server_id: int) -> dict[str, Any] | None:
        """Return one server as the API shows it."""
        found = self.project.find("server", server_id)
        return servers.rendered(self.project, found) if found else None

    def server_address(self, server_id: int) -> str:
        """Return where the server's machine listens, also for a server without a public IPv4 address."""
        return server_address(self.project, server_id)

    def firewall_admits(self, server_id: int, port: int, source: str) -> bool:
        """True when a TCP packet from the source reaches the port at the server's public address."""
        return packet_filter.admits(self.project, server_id, port, source)

    def source_at(self, server_id: int, source: str) -> str:
        """Return the address that a server sees of who connects from the source."""
        return packet_filter.source_at(self.project, server_id, source)

    def write_disk(self, server_id: int, content: dict[str, Any]) -> None:
        """Remember what a server's own system wrote to its disk; snapshots of it and boots from it have it."""
        disk = self.project.table("disk")[str(server_id)]
        self.project.table("disk")[str(server_id)] = {**disk, "content": content}

    def add_snapshot(
        self, description: str, labels: dict[str, str], *, architecture: str, disk_gb: int, content: dict[str, Any]
    ) -> dict[str, Any]:
        """Put a snapshot into the project as if it had been made there, and return it as the API shows it."""
        image = images.add_snapshot(
            self.project,
            architecture,
            description=description,
            labels=labels,
            disk_size=disk_gb,
            image_size=0.5,
            content=content,
        )
        return images.rendered(image)

    async def halted(self, server_id: int) -> None:
        """The server's own system has shut the machine down."""
        if self.project.find("server", server_id):
            await power.server_stopped(self.project, server_id)
