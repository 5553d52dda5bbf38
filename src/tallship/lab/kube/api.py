"""The HTTP face of one cluster's API server. The same objects may be served on several sockets."""

from __future__ import annotations

import json
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import yaml
from aiohttp import web

from tallship.lab.clock import LabClock
from tallship.lab.faults import Faults
from tallship.lab.kube import discovery, patch
from tallship.lab.kube.errors import RefusedRequest, not_found, unknown_path
from tallship.lab.kube.garbage import GarbageCollector
from tallship.lab.kube.objects import Objects
from tallship.lab.kube.paths import Target, resolve
from tallship.lab.kube.reads import Reads
from tallship.lab.kube.resources import Resource, built_in, custom
from tallship.lab.kube.writes import Options, Writes
from tallship.lab.store import Store
from tallship.lab.world import hold_clients, is_tallship

Document = dict[str, Any]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
ANONYMOUS = ("/readyz", "/livez", "/healthz", "/version")
PATCHES = {
    "application/merge-patch+json": patch.merge_patch,
    "application/json-patch+json": patch.json_patch,
    "application/strategic-merge-patch+json": patch.strategic_patch,
}
APPLY = ("application/apply-patch+yaml", "application/apply-patch+cbor")
BODY_LIMIT = 3 * 1024 * 1024
"""Kubernetes: no request body is larger."""


class KubeApi:
    """One cluster: its objects, its resources, and what keeps it tidy."""

    def __init__(self, store: Store, prefix: str, clock: LabClock, faults: Faults, writes: Counter[str]) -> None:
        self.name = prefix
        self._clock = clock
        self._faults = faults
        self._counted = writes
        self._resources = {each.id: each for each in built_in()}
        self._definitions = self._resources["customresourcedefinitions.apiextensions.k8s.io"]
        self._objects = Objects(store, prefix)
        self._changes = 0
        self.writes = Writes(self._objects, clock, self._resources["namespaces"], self._changed)
        self._garbage = GarbageCollector(self._objects, self.writes, clock, lambda: list(self._resources.values()))
        self._logs = store.table(f"{prefix}.logs")
        self._reads = Reads(self._objects, clock)
        self._runner: web.AppRunner | None = None
        self._sites = 0
        for definition in self._objects.list(self._definitions):
            self._serve_definition(definition)
        for name in NAMESPACES:
            if self._objects.find(self._resources["namespaces"], "", name) is None:
                body = {"metadata": {"name": name}}
                self.writes.create(self._resources["namespaces"], "", body, Options("kube-apiserver"))

    def objects(self, kind: str) -> list[Document]:
        """Return all objects of a kind, as stored."""
        resource = next((each for each in self._resources.values() if each.kind == kind), None)
        return list(self._objects.list(resource)) if resource else []

    def write_log(self, namespace: str, pod: str, text: str) -> None:
        """Set what `kubectl logs` shows of a pod."""
        self._logs[f"{namespace}/{pod}"] = {"text": text}

    def app(self) -> web.Application:
        """Return the server as an application."""
        app = web.Application(middlewares=[hold_clients, self._answered], client_max_size=BODY_LIMIT)
        app.router.add_route("*", "/{path:.*}", self._handle)
        return app

    async def serve(self, host: str, port: int, tls: ssl.SSLContext) -> Listener:
        """Serve on one more socket."""
        if self._runner is None:
            self._runner = web.AppRunner(self.app(), access_log=None, shutdown_timeout=0.1, handle_signals=False)
            await self._runner.setup()
            self._garbage.wake()
        site = web.TCPSite(self._runner, host, port, ssl_context=tls)
        await site.start()
        self._sites += 1
        return Listener(self, site)

    async def stop(self) -> None:
        """Close every socket."""
        self._garbage.stop()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    @web.middleware
    async def _answered(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refusals become a Status, faults happen here, and only known users get in."""
        try:
            await self._go_wrong(request)
            if request.path not in ANONYMOUS and user_of(request) is None:
                raise RefusedRequest("Unauthorized", "Unauthorized")
            return await handler(request)
        except RefusedRequest as refusal:
            return reply(refusal.body(), refusal.code)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        path = request.path.rstrip("/") or "/"
        known = self._plain(request, path)
        if known is not None:
            return known
        target = resolve(path, self._resources.values())
        if target is None:
            raise unknown_path()
        if request.method == "GET":
            return await self._get(request, target)
        before = self._changes
        body = await self._change(request, target)
        if self._changes != before:
            agent = request.headers.get("User-Agent", "")
            self._counted["kubernetes" if is_tallship(agent) else "controllers"] += 1
        return reply(body, 201 if request.method == "POST" else 200)

    def _plain(self, request: web.Request, path: str) -> web.Response | None:
        """Answer what is not about objects: health, version, discovery, schemas."""
        accept = request.headers.get("Accept", "")
        resources = list(self._resources.values())
        parts = path.strip("/").split("/")
        if path in ("/readyz", "/livez", "/healthz"):
            return web.Response(body=b"ok", content_type="text/plain")
        if path == "/version":
            return reply(discovery.version())
        if "APIGroupDiscoveryList" in accept and path in ("/api", "/apis"):
            kind = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
            return reply(discovery.aggregated(resources, path == "/api"), content_type=kind)
        if path == "/api":
            return reply({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []})
        if path == "/apis":
            return reply(discovery.groups(resources))
        if path == "/openapi/v3":
            return reply(discovery.openapi_index(resources))
        if parts[:2] == ["openapi", "v3"]:
            name, version = (parts[3], parts[4]) if parts[2] == "apis" else ("", parts[3])
            return reply(discovery.openapi(resources, name, version))
        found: Document | None = None
        if parts[0] == "apis" and len(parts) == 2:
            found = discovery.group(resources, parts[1])
        elif parts[0] == "apis" and len(parts) == 3:
            found = discovery.resource_list(resources, parts[1], parts[2])
        elif parts == ["api", "v1"]:
            found = discovery.resource_list(resources, "", "v1")
        return reply(found) if found else None

    async def _get(self, request: web.Request, target: Target) -> web.StreamResponse:
        resource = target.resource
        if not target.name:
            if request.query.get("watch") in ("true", "1"):
                return await self._reads.watch(request, target)
            return reply(self._reads.list(request, target))
        if target.subresource == "log":
            if self._objects.find(resource, target.namespace, target.name) is None:
                raise not_found(resource.plural, resource.group, target.name)
            text = str(self._logs.get(f"{target.namespace}/{target.name}", {"text": ""})["text"])
            return web.Response(body=text.encode(), content_type="text/plain")
        return reply(self._reads.get(request, target))

    async def _change(self, request: web.Request, target: Target) -> Document:
        resource, namespace, name = target.resource, target.namespace, target.name
        options = options_of(request, target.subresource)
        if request.method == "DELETE":
            wanted = (await _body(request) or {}).get("preconditions") if request.can_read_body else None
            if not name:
                for each in list(self._objects.list(resource, namespace)):
                    self.writes.delete(resource, namespace, each["metadata"]["name"], options)
                return {"kind": "Status", "apiVersion": "v1", "status": "Success"}
            return self.writes.delete(resource, namespace, name, options, wanted)
        body = await _body(request)
        if request.method == "POST":
            namespace = namespace or (body.get("metadata") or {}).get("namespace", "")
            return self.writes.create(resource, namespace, body, options)
        if target.subresource == "scale":
            return self._scale(target, body, options)
        if request.method == "PUT":
            return self.writes.update(resource, namespace, name, body, options)
        if request.method == "PATCH":
            return self._patch(request.content_type, target, body, options)
        raise RefusedRequest("MethodNotAllowed", "the server does not allow this method on the requested resource")

    def _patch(self, content_type: str, target: Target, body: Any, options: Options) -> Document:
        resource, namespace, name = target.resource, target.namespace, target.name
        if content_type in APPLY:
            return self.writes.apply(resource, namespace, name, body, options)
        change = PATCHES.get(content_type)
        if change is None or (resource.schema is not None and "strategic" in content_type):
            raise RefusedRequest(
                "UnsupportedMediaType", f"the body of the request was in an unknown format: {content_type}"
            )
        return self.writes.patch(resource, namespace, name, lambda old: change(old, body), options)

    def _scale(self, target: Target, body: Document, options: Options) -> Document:
        plain = Options(options.manager, options.dry_run)
        replicas = (body.get("spec") or {}).get("replicas")
        change = {"spec": {"replicas": replicas}}
        self.writes.patch(
            target.resource, target.namespace, target.name, lambda old: patch.merge_patch(old, change), plain
        )
        return self._reads.scale(target)

    def _changed(self, resource: Resource, new: Document, old: Document | None) -> None:
        self._changes += 1
        if resource.id == self._definitions.id:
            self._serve_definition(new)
        gone = old is None or "deletionTimestamp" in new["metadata"]
        if gone:
            self._garbage.wake()

    def _serve_definition(self, definition: Document) -> None:
        resource = custom(definition)
        self._resources[resource.id] = resource
        conditions = [
            {"type": kind, "status": "True", "reason": "Accepted"} for kind in ("NamesAccepted", "Established")
        ]
        definition["status"] = {
            "conditions": conditions,
            "acceptedNames": definition["spec"]["names"],
            "storedVersions": [resource.version],
        }

    async def _go_wrong(self, request: web.Request) -> None:
        facts = {"server": self.name, "route": f"{request.method} {_collection(request.path)}"}
        if (slow := self._faults.take("slow", **facts)) is not None:
            await self._clock.sleep(float(slow.values.get("seconds", 30)))
        if self._faults.take("reset", **facts) and request.transport is not None:
            request.transport.close()
            raise ConnectionResetError("the fault `reset`")
        for name, reason in (
            ("server-error", "InternalError"),
            ("conflict", "Conflict"),
            ("unauthorized", "Unauthorized"),
        ):
            if self._faults.take(name, **facts):
                raise RefusedRequest(reason, f"the fault `{name}`")


class Listener:
    """One socket of a server."""

    def __init__(self, api: KubeApi, site: web.TCPSite) -> None:
        self._api = api
        self._site = site

    async def stop(self) -> None:
        """Close the socket; the cluster stays as it is."""
        await self._site.stop()


def reply(document: Document, status: int = 200, content_type: str = "application/json") -> web.Response:
    """Return a JSON answer. Clients compare the content type as a whole: no charset in it."""
    body = json.dumps(document, separators=(",", ":")).encode()
    return web.Response(body=body, status=status, headers={"Content-Type": content_type})


def user_of(request: web.Request) -> str | None:
    """Return the common name of the client's certificate, or None without one."""
    certificate = request.transport.get_extra_info("peercert") if request.transport else None
    for part in (certificate or {}).get("subject", ()):
        for key, value in part:
            if key == "commonName":
                return str(value)
    return None


def options_of(request: web.Request, subresource: str) -> Options:
    """Return how a write was asked for. Kubernetes: without a manager its name is the user agent before the slash."""
    manager = request.query.get("fieldManager") or request.headers.get("User-Agent", "unknown").partition("/")[0]
    return Options(
        manager[:128],
        request.query.get("dryRun") == "All",
        request.query.get("fieldValidation") == "Strict",
        request.query.get("force") in ("true", "1"),
        subresource if subresource == "status" else "",
    )


async def _body(request: web.Request) -> Any:
    if "protobuf" in request.content_type or "cbor" in request.content_type:
        raise RefusedRequest("UnsupportedMediaType", f"this server speaks JSON only, not {request.content_type}")
    text = await request.text()
    try:
        return (
            yaml.safe_load(text)
            if "yaml" in request.content_type and not text.startswith("{")
            else json.loads(text or "{}")
        )
    except (ValueError, yaml.YAMLError) as error:
        raise RefusedRequest("BadRequest", f"the body cannot be read: {error}") from error


def _collection(path: str) -> str:
    parts = [part for part in path.split("/") if part]
    if parts[:1] == ["api"]:
        parts = parts[2:]
    elif parts[:1] == ["apis"]:
        parts = parts[3:]
    if parts[:1] == ["namespaces"] and len(parts) > 2:
        parts = parts[2:]
    return parts[0] if parts else ""
