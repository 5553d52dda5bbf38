"""One cluster's API server. The same objects may be served on several sockets."""

from __future__ import annotations

import logging
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from tallship.lab import bbolt
from tallship.lab.bbolt import Buckets
from tallship.lab.clock import LabClock
from tallship.lab.faults import Faults
from tallship.lab.kube import registry
from tallship.lab.kube.catalog import Catalog
from tallship.lab.kube.changes import Changes
from tallship.lab.kube.discovery import Discovery
from tallship.lab.kube.documents import encoded
from tallship.lab.kube.errors import RefusedRequest
from tallship.lab.kube.faulty import FaultySocket
from tallship.lab.kube.garbage import GarbageCollector
from tallship.lab.kube.objects import Change, Objects
from tallship.lab.kube.options import Options
from tallship.lab.kube.paths import Target, resolve
from tallship.lab.kube.reads import Reads
from tallship.lab.kube.requests import check_access, refuse, reply
from tallship.lab.kube.resources import custom
from tallship.lab.kube.sockets import Sockets
from tallship.lab.kube.watches import Watches
from tallship.lab.kube.writes import Writes
from tallship.lab.kubeserver import SnapshotRefused
from tallship.lab.store import Store
from tallship.lab.world import hold_clients, is_tallship

Document = dict[str, Any]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
HEALTH = ("/readyz", "/livez", "/healthz")
BODY_LIMIT = 3 * 1024 * 1024
"""Kubernetes: no request body is larger."""

_log = logging.getLogger(__name__)


class KubeApi:
    """One cluster: its objects, its resources, and what keeps it tidy. Its tables' names begin with `prefix`."""

    def __init__(self, store: Store, prefix: str, clock: LabClock, faults: Faults, writes: Counter[str]) -> None:
        self.name = prefix
        self._resources = Catalog()
        self._definitions = self._resources["customresourcedefinitions.apiextensions.k8s.io"]
        self._objects = Objects(store, prefix, self._noticed)
        self.writes = Writes(self._objects, clock, self._resources["namespaces"])
        self._garbage = GarbageCollector(self._objects, self.writes, clock, self._resources)
        self._logs = store.table(f"{prefix}.logs")
        self._discovery = Discovery(self._resources)
        self._reads = Reads(self._objects, clock)
        self._watches = Watches(self._objects, clock)
        self._changes = Changes(self._objects, self.writes)
        self._socket = FaultySocket(prefix, faults, clock)
        self._counted = writes
        self._sockets = Sockets(self.app)
        self._apps = 0
        for definition in self._objects.list(self._definitions):
            self._resources.put(custom(definition))
        for name in NAMESPACES:
            if self._objects.find(self._resources["namespaces"], "", name) is None:
                body = {"metadata": {"name": name}}
                self.writes.create(self._resources["namespaces"], "", body, Options("kube-apiserver"))

    def objects(self, kind: str) -> list[Document]:
        """Return all objects of a kind, as stored."""
        resource = self._resources.of_kind(kind)
        return list(self._objects.list(resource)) if resource else []

    async def node_is_ready(self, name: str) -> bool:
        """True when the Node of that name says that it is Ready."""
        node = self._objects.find(self._resources["nodes"], "", name) or {}
        conditions = node.get("status", {}).get("conditions", [])
        return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)

    async def snapshot(self, own: Buckets) -> bytes:
        """Return etcd's database with every object."""
        stored = dict(pair for each in self._resources for pair in registry.pairs(each, self._objects.list(each)))
        newest = registry.pair(registry.COMPACTED, self._objects.revision, str(self._objects.revision).encode())
        stored.setdefault(*newest)  # the last change may have been a deletion
        return bbolt.write({**own, registry.BUCKET: sorted(stored.items())})

    async def restore(self, stored: bytes) -> None:
        """Put the objects of a database in the place of what there is. Raises SnapshotRefused."""
        try:
            revision, found = registry.newest(bbolt.read(stored).get(registry.BUCKET, []))
        except bbolt.BadDatabase as error:
            raise SnapshotRefused(str(error)) from error
        definitions = registry.folder(self._definitions)
        for key, document in found.items():
            if key.startswith(definitions):
                self._resources.put(custom(document))
        folders = {registry.folder(each): each for each in self._resources}
        places = [key[: -len(registry.own_part(each))] for key, each in found.items()]
        if unknown := set(places) - set(folders):
            raise SnapshotRefused(f"nothing is kept in {min(unknown)}")
        self._objects.replace(revision, zip(map(folders.__getitem__, places), found.values(), strict=True))

    def write_log(self, namespace: str, pod: str, text: str) -> None:
        """Set what `kubectl logs` shows of a pod."""
        self._logs[f"{namespace}/{pod}"] = {"text": text}

    def compact(self) -> None:
        """Forget the history, as etcd does every few minutes: watches from before are `Expired`."""
        self._objects.compact()

    def app(self) -> web.Application:
        """Return the server as an application; garbage is collected while one of them runs."""
        app = web.Application(middlewares=[hold_clients, self._answered], client_max_size=BODY_LIMIT)
        app.router.add_route("*", "/{path:.*}", self._handle)
        app.on_startup.append(self._begin)
        app.on_cleanup.append(self._end)
        return app

    async def serve(self, host: str, port: int, tls: ssl.SSLContext) -> None:
        """Serve on one more socket."""
        await self._sockets.open(host, port, tls)

    async def stop(self) -> None:
        """Close every socket that `serve` opened, and collect no more garbage."""
        await self._sockets.close()
        self._garbage.stop()

    async def _begin(self, app: web.Application) -> None:
        self._apps += 1
        self._garbage.start()

    async def _end(self, app: web.Application) -> None:
        self._apps -= 1
        if not self._apps:
            self._garbage.stop()

    def _noticed(self, change: Change) -> None:
        if change.resource.id == self._definitions.id:
            if change.kind == "DELETED":
                self._resources.drop(change.new["metadata"]["name"])
            else:
                self._resources.put(custom(change.new))
        self._garbage.notice(change)

    @web.middleware
    async def _answered(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refusals become a Status, faults happen here, and only known users get in."""
        try:
            await self._socket.pass_on(request)
            check_access(request)
            answer = await handler(request)
            await self._socket.answer(request)
            return self._socket.damaged(request, answer)
        except RefusedRequest as refusal:
            return refuse(refusal)
        except web.HTTPRequestEntityTooLarge:
            text = f"Request entity too large: limit is {BODY_LIMIT}"
            return refuse(RefusedRequest("RequestEntityTooLarge", text))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            _log.exception("%s %s", request.method, request.path)
            return refuse(RefusedRequest("InternalError", f"Internal error occurred: {error!r}"))

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        path = request.path.rstrip("/") or "/"
        if path in HEALTH:
            return web.Response(body=b"ok", content_type="text/plain")
        target = resolve(path, self._resources)
        if target is None:
            known = self._discovery.answer(path, request.headers.get("Accept", ""))
            if known is None or request.method != "GET":
                return web.Response(status=404, body=b"404 page not found\n", content_type="text/plain")
            return reply(known[0], content_type=known[1])
        if request.method == "GET":
            return await self._get(request, target)
        ask = await self._changes.read(request, target)
        before = self._objects.revision
        document, status = ask.make()
        if self._objects.revision != before:
            agent = request.headers.get("User-Agent", "")
            self._counted["kubernetes" if is_tallship(agent) else "controllers"] += 1
        answer = reply(encoded(document), status)
        for text in ask.warnings():
            answer.headers.add("Warning", f'299 - "{text}"')
        return answer

    async def _get(self, request: web.Request, target: Target) -> web.StreamResponse:
        if target.subresource == "log":
            return self._log_of(request, target)
        if target.name:
            return reply(self._reads.get(request, target))
        if request.query.get("watch") in ("true", "1"):
            return await self._watches.serve(request, target)
        return reply(self._reads.list(request, target))

    def _log_of(self, request: web.Request, target: Target) -> web.Response:
        self._objects.get(target.resource, target.namespace, target.name)
        text = str(self._logs.get(f"{target.namespace}/{target.name}", {"text": ""})["text"])
        tail = request.query.get("tailLines", "")
        if tail.isdigit():
            text = "".join(text.splitlines(keepends=True)[-int(tail) :] if int(tail) else [])
        return web.Response(body=text.encode(), content_type="text/plain")
