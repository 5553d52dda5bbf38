"""The load balancers' data plane: real sockets that forward TCP to healthy targets.

Each enabled load balancer listens on its public address for each of its `tcp` services. Every target is checked at
once and then at the service's interval. Connections to a target come from the load balancer's own address.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import itertools
import logging
from collections import Counter
from collections.abc import Coroutine
from typing import Any, Final

from tallship.lab.hetzner import packet_filter, primary_ips
from tallship.lab.hetzner.project import Project
from tallship.lab.hetzner.targets import servers_of
from tallship.lab.store import Document

Key = tuple[int, int, int]
"""Load balancer, listen port, server."""

NO_CONNECTION: Final = {"status": "unhealthy", "detail": "layer4_no_connection"}
HEALTHY: Final = {"status": "healthy"}
CHUNK: Final = 65536
log = logging.getLogger(__name__)

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Balancer:
    """Keeps listeners and health checks equal to what the project's load balancers are configured to be."""

    def __init__(self, project: Project) -> None:
        self._project = project
        self._listeners: dict[tuple[int, str, int], asyncio.Server] = {}
        self._checks: dict[Key, asyncio.Task[None]] = {}
        self._connections: set[asyncio.Task[Any]] = set()
        self._open: Counter[Key] = Counter()
        self._turns = itertools.count()
        self._refreshing = asyncio.Lock()

    async def refresh(self) -> None:
        """Begin and end listeners and checks after a change."""
        async with self._refreshing:
            await self._refresh_listeners()
            self._refresh_checks()

    async def stop(self) -> None:
        """Close every listener and connection."""
        tasks = [*self._checks.values(), *self._connections]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for listener in self._listeners.values():
            listener.close()
        self._listeners.clear()
        self._checks.clear()

    async def _refresh_listeners(self) -> None:
        wanted = {
            (int(balancer["id"]), str(balancer["ip"]), int(service["listen_port"]))
            for balancer in self._project.all("load_balancer")
            if balancer["public_interface"]
            for service in balancer["services"]
            if service["protocol"] == "tcp"
        }
        for key in self._listeners.keys() - wanted:
            self._listeners.pop(key).close()
        for key in wanted - self._listeners.keys():
            await self._listen(*key)

    async def _listen(self, balancer_id: int, address: str, port: int) -> None:
        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self._spawn(self._forward(balancer_id, port, (reader, writer)), self._connections)

        try:
            listener = await asyncio.start_server(accept, address, port)
        except OSError as error:
            log.warning("load balancer %s cannot listen on %s:%s: %s", balancer_id, address, port, error)
            return
        self._listeners[balancer_id, address, port] = listener

    def _refresh_checks(self) -> None:
        wanted = set(self._targets())
        for key in self._checks.keys() - wanted:
            self._checks.pop(key).cancel()
            self._project.health.pop(key, None)
        for key in wanted - self._checks.keys():
            self._checks[key] = self._spawn(self._check(key), set())

    def _targets(self) -> list[Key]:
        return [
            (balancer["id"], service["listen_port"], server["id"])
            for balancer in self._project.all("load_balancer")
            for service in balancer["services"]
            if service["health_check"]["protocol"] == "tcp"
            for target in balancer["targets"]
            for server in servers_of(self._project, balancer, target)
        ]

    def _spawn(self, work: Coroutine[Any, Any, None], group: set[asyncio.Task[Any]]) -> asyncio.Task[None]:
        # a context of its own: a request that changed the load balancer is not held by what follows from it
        task = asyncio.get_running_loop().create_task(work, context=contextvars.Context())
        group.add(task)
        task.add_done_callback(group.discard)
        return task

    async def _check(self, key: Key) -> None:
        """Check one target of one service for ever: the first answer counts, later failures after `retries`."""
        failures = 0
        while service := self._service(key):
            check = service["health_check"]
            streams = await self._dial(key, check["port"])
            failures = 0 if streams else failures + 1
            if streams:
                streams[1].close()
                self._project.health[key] = HEALTHY
            elif failures >= check["retries"] or self._project.health.get(key) != HEALTHY:
                self._project.health[key] = NO_CONNECTION
            await self._project.clock.sleep(check["interval"])

    async def _forward(self, balancer_id: int, port: int, client: Streams) -> None:
        key = self._choose(balancer_id, port)
        service = self._service(key) if key else None
        target = await self._dial(key, service["destination_port"]) if key and service else None
        if key is None or target is None:
            client[1].transport.abort()
            return
        self._open[key] += 1
        try:
            await asyncio.gather(_pump(client[0], target[1]), _pump(target[0], client[1]))
        finally:
            self._open[key] -= 1
            for _, writer in (client, target):
                writer.close()

    def _choose(self, balancer_id: int, port: int) -> Key | None:
        healthy = sorted(
            key for key in self._checks if key[:2] == (balancer_id, port) and self._project.health.get(key) == HEALTHY
        )
        if not healthy:
            return None
        balancer = self._project.get("load_balancer", balancer_id)
        if balancer["algorithm"]["type"] == "least_connections":
            return min(healthy, key=lambda key: self._open[key])
        return healthy[next(self._turns) % len(healthy)]

    async def _dial(self, key: Key, port: int) -> Streams | None:
        balancer, server = self._project.find("load_balancer", key[0]), self._project.find("server", key[2])
        if balancer is None or server is None or not self._may_reach(balancer, server, port):
            return None
        try:
            target = server_address(self._project, server["id"])
            return await asyncio.open_connection(target, port, local_addr=(balancer["ip"], 0))
        except OSError:
            return None

    def _may_reach(self, balancer: Document, server: Document, port: int) -> bool:
        return packet_filter.admits(self._project, server["id"], port, balancer["ip"])

    def _service(self, key: Key) -> Document | None:
        balancer = self._project.find("load_balancer", key[0])
        services = balancer["services"] if balancer else []
        return next((service for service in services if service["listen_port"] == key[1]), None)


def server_address(project: Project, server_id: int) -> str:
    """Return where a server's machine listens: its public IPv4 address, or one of the lab's when it has none."""
    public = primary_ips.of_server(project, server_id, "ipv4")
    return str(public["ip"]) if public else project.address("server", server_id)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy one direction until it ends; then tell the other side so."""
    with contextlib.suppress(OSError):
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
