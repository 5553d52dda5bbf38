"""A real etcd, kube-apiserver and kube-controller-manager for one cluster of the lab.

The lab's sockets stand before them as an authenticating proxy does: they end TLS, with the certificate of the machine
that is called, and pass each request on for the user of the client's certificate. So machines come and go, firewalls
filter, faults happen and writes are counted as with the built-in server, and every answer is the real one.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections import Counter
from pathlib import Path

from aiohttp import web

from tallship.lab.bbolt import Buckets
from tallship.lab.clock import LabClock
from tallship.lab.faults import Faults
from tallship.lab.kube.errors import RefusedRequest
from tallship.lab.kube.faulty import FaultySocket
from tallship.lab.kube.requests import refuse
from tallship.lab.kube.sockets import Sockets
from tallship.lab.kubeserver import ClusterFacts
from tallship.lab.realkube import database
from tallship.lab.realkube.upstream import Upstream
from tallship.lab.store import Store
from tallship.lab.world import is_tallship
from tallship.localplane import plane
from tallship.localplane.certificates import Pair
from tallship.localplane.plane import LocalPlane, Settings

BODY_LIMIT = 3 * 1024 * 1024
"""Kubernetes: no request body is larger."""
_CHANGING = ("PUT", "PATCH")
_CREATES_NOTHING = ("authorization.k8s.io", "authentication.k8s.io")

log = logging.getLogger(__name__)


class RealKubeServer:
    """One cluster's real API server; its data, keys and logs are in a folder of `folder`."""

    def __init__(
        self,
        folder: Path,
        programs: Path,
        facts: ClusterFacts,
        store: Store,
        clock: LabClock,
        faults: Faults,
        writes: Counter[str],
    ) -> None:
        self.name = facts.name
        self._folder = folder / facts.name
        authority = Pair(facts.authority, facts.authority_key)
        self._settings = Settings(programs, services=facts.services, authority=authority)
        self._logs = store.table(f"{facts.name}.logs")
        self._socket = FaultySocket(facts.name, faults, clock)
        self._counted = writes
        self._starting: asyncio.Task[Upstream] | None = None
        self._sockets = Sockets(self.app)

    def app(self) -> web.Application:
        """Return the server as an application, to be served with TLS that asks for client certificates."""
        app = web.Application(client_max_size=BODY_LIMIT)
        app.router.add_route("*", "/{path:.*}", self._handle)
        app.on_startup.append(self._begin)
        return app

    async def serve(self, host: str, port: int, tls: ssl.SSLContext) -> None:
        """Serve on one more socket. Raises SetupError or ProgramError when the server cannot run."""
        await self._sockets.open(host, port, tls)

    async def stop(self) -> None:
        """End the programs and close every socket that `serve` opened; etcd's data stay."""
        await self._sockets.close()
        if self._starting is not None:
            (upstream,) = await asyncio.gather(self._starting, return_exceptions=True)
            self._starting = None
            if isinstance(upstream, Upstream):
                await upstream.close()
            await asyncio.to_thread(plane.stop, self._folder)

    async def node_is_ready(self, name: str) -> bool:
        """True when the Node of that name says that it is Ready."""
        node = await (await self._upstream()).read(f"/api/v1/nodes/{name}")
        conditions = node.get("status", {}).get("conditions", [])
        return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)

    async def snapshot(self, own: Buckets) -> bytes:
        """Return the database of the real etcd, which has what it is told of itself. Raises SnapshotRefused."""
        await self._upstream()
        return await database.snapshot(self._folder)

    async def restore(self, stored: bytes) -> None:
        """Let etcd begin with a database, before the server first serves. Raises SnapshotRefused."""
        await database.restore(self._folder, self._settings.programs, stored)

    def write_log(self, namespace: str, pod: str, text: str) -> None:
        """Set what `kubectl logs` shows of a pod."""
        self._logs[f"{namespace}/{pod}"] = {"text": text}

    async def _begin(self, app: web.Application) -> None:
        await self._upstream()

    async def _upstream(self) -> Upstream:
        """Return the real server, starting it at first. Who is cancelled meanwhile leaves it starting."""
        if self._starting is None or _has_failed(self._starting):
            self._starting = asyncio.create_task(self._start())
        return await asyncio.shield(self._starting)

    async def _start(self) -> Upstream:
        found: LocalPlane = await asyncio.to_thread(plane.start, self._folder, self._settings)
        return Upstream(found.kubeconfig.read_text())

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        try:
            await self._socket.pass_on(request)
            return await self._answer(request, await self._upstream())
        except RefusedRequest as refusal:
            return refuse(refusal)
        except ConnectionResetError:
            return web.Response()  # nobody is there to read it

    async def _answer(self, request: web.Request, upstream: Upstream) -> web.StreamResponse:
        if request.method == "GET" and _is_log(request.path):
            return await self._log_of(request, upstream)
        if not is_tallship(request.headers.get("User-Agent", "")):
            return await upstream.forward(request)
        before = await upstream.version_of(request) if request.method in _CHANGING else ""
        answer = await upstream.forward(request, self._socket.answer)
        if await _has_written(request, answer, upstream, before):
            self._counted["kubernetes"] += 1
        return answer

    async def _log_of(self, request: web.Request, upstream: Upstream) -> web.StreamResponse:
        """Answer as kubelet does, which no node here has; a Pod that is not there is told by the real server."""
        pod = request.path.rstrip("/").removesuffix("/log")
        found = await upstream.read(pod)
        if not found:
            return await upstream.forward(request)
        meta = found["metadata"]
        text = str(self._logs.get(f"{meta['namespace']}/{meta['name']}", {"text": ""})["text"])
        tail = request.query.get("tailLines", "")
        if tail.isdigit():
            text = "".join(text.splitlines(keepends=True)[-int(tail) :] if int(tail) else [])
        return web.Response(body=text.encode(), content_type="text/plain")


async def _has_written(request: web.Request, answer: web.StreamResponse, upstream: Upstream, before: str) -> bool:
    """True when the request changed what is stored: an apply that changes nothing answers like one that does."""
    if request.method == "GET" or answer.status >= 400 or "dryRun" in request.query:
        return False
    if request.method in _CHANGING:
        return await upstream.version_of(request) != before
    return not any(group in request.path for group in _CREATES_NOTHING)


def _is_log(path: str) -> bool:
    parts = path.strip("/").split("/")
    return len(parts) == 7 and (parts[4], parts[6]) == ("pods", "log")


def _has_failed(task: asyncio.Task[Upstream]) -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)
