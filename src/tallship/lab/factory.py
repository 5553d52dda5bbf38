"""A Talos Image Factory: schematics, and images of them that say in one line what they are."""

from __future__ import annotations

import hashlib
import json
import lzma
import re
from collections.abc import Awaitable, Callable
from typing import Any

import yaml
from aiohttp import web

from tallship.lab.clock import LabClock
from tallship.lab.faults import Faults
from tallship.lab.store import Store
from tallship.lab.world import hold_clients

_IMAGE = re.compile(r"hcloud-(amd64|arm64)\.raw\.xz")
_VERSION = re.compile(r"v\d+\.\d+\.\d+")
SLOW_SECONDS = 30.0
"""How long the fault `slow` holds a request when it does not say so itself."""


class Factory:
    """Serves the two calls that building a snapshot needs."""

    def __init__(self, store: Store, clock: LabClock, faults: Faults) -> None:
        self._schematics = store.table("schematics")
        self._clock = clock
        self._faults = faults

    def app(self) -> web.Application:
        """Return the application to serve."""
        app = web.Application(middlewares=[hold_clients, self._go_wrong])
        app.router.add_post("/schematics", self._post)
        app.router.add_get("/image/{schematic}/{version}/{file}", self._get)
        return app

    @web.middleware
    async def _go_wrong(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Let the faults happen that are set for this request."""
        facts = _facts(request)
        if slow := self._faults.take("slow", **facts):
            await self._clock.sleep(float(slow.values.get("seconds", SLOW_SECONDS)))
        if self._faults.take("reset", **facts) and request.transport is not None:
            request.transport.abort()
            raise ConnectionResetError("the fault `reset`")
        if fault := self._faults.take("server-error", **facts):
            raise web.HTTPInternalServerError(text=str(fault.values.get("message", "internal server error\n")))
        return await handler(request)

    async def _post(self, request: web.Request) -> web.Response:
        try:
            schematic = yaml.safe_load(await request.text()) or {}
        except yaml.YAMLError as error:
            raise web.HTTPBadRequest(text=str(error)) from error
        text = canonical(schematic)
        number = hashlib.sha256(text.encode()).hexdigest()
        self._schematics[number] = {"schematic": text}
        return web.json_response({"id": number, "schematic": text}, status=201)

    async def _get(self, request: web.Request) -> web.Response:
        schematic, version, file = (request.match_info[key] for key in ("schematic", "version", "file"))
        if file.endswith((".sha256", ".sha512")):
            raise web.HTTPPaymentRequired(text="checksums are a feature of the enterprise factory\n")
        if not _IMAGE.fullmatch(file):
            raise web.HTTPBadRequest(text=f"unknown image {file!r}\n")
        if schematic not in self._schematics or not _VERSION.fullmatch(version):
            raise web.HTTPNotFound(text="schematic or version not found\n")
        if self._faults.take("no-image", **_facts(request)):
            raise web.HTTPNotFound(text="schematic or version not found\n")
        facts = {"talos": version, "schematic": schematic, "file": file}
        image = lzma.compress(json.dumps(facts).encode() + b"\n")
        if self._faults.take("short-image", **_facts(request)):
            image = image[: len(image) // 2]
        return web.Response(body=image)


def _facts(request: web.Request) -> dict[str, str]:
    agent = request.headers.get("User-Agent", "").partition("/")[0]
    return {"api": "factory", "route": f"{request.method} /{request.path.split('/')[1]}", "agent": agent}


def canonical(schematic: dict[str, Any]) -> str:
    """Return a schematic as the factory writes it: its id is the SHA-256 of this text."""
    customization = schematic.get("customization") or {}
    return yaml.dump({"customization": customization}, indent=4, Dumper=_Indented, sort_keys=False)


class _Indented(yaml.SafeDumper):
    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)
