"""A Talos Image Factory: schematics, and images of them that say in one line what they are."""

from __future__ import annotations

import hashlib
import json
import lzma
import re
from collections.abc import Awaitable, Callable
from functools import lru_cache
from typing import Any

import yaml
from aiohttp import web

from tallship.lab.clock import LabClock
from tallship.lab.damage import damaged
from tallship.lab.faults import Faults
from tallship.lab.store import Store
from tallship.lab.world import hold_clients

_IMAGE = re.compile(r"hcloud-(amd64|arm64)\.raw\.xz")
_VERSION = re.compile(r"v\d+\.\d+\.\d+")
BLOCKS = 8192
"""Of 32 bytes each: an image of a quarter of a megabyte, more than any buffer on its way."""
SLOW_SECONDS = 30.0
"""How long the fault `slow` holds a request when it does not say so itself."""


class Factory:
    """Serves the calls that building a snapshot needs: a schematic's id, and its images behind a redirect."""

    def __init__(self, store: Store, clock: LabClock, faults: Faults) -> None:
        self._schematics = store.table("schematics")
        self._clock = clock
        self._faults = faults

    def app(self) -> web.Application:
        """Return the application to serve."""
        app = web.Application(middlewares=[hold_clients, self._go_wrong])
        app.router.add_post("/schematics", self._post)
        app.router.add_get("/image/{schematic}/{version}/{file}", self._get)
        app.router.add_get("/cdn/{schematic}/{version}/{file}", self._send)
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
            text = str(fault.values.get("message", "internal server error\n"))
            return web.Response(status=int(fault.values.get("status", 500)), text=text)
        return damaged(await handler(request), request, self._faults, facts)

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
        raise web.HTTPFound(f"/cdn/{schematic}/{version}/{file}")

    async def _send(self, request: web.Request) -> web.StreamResponse:
        """Send what the redirect leads to, as the public factory's storage does."""
        names = [request.match_info[key] for key in ("schematic", "version", "file")]
        image = packed_image(*names)
        facts = {**_facts(request), "route": "GET /image"}
        if request.method == "HEAD":
            return web.Response(headers={"Content-Length": str(len(image))})
        if self._faults.take("short-image", **facts):
            image = image[: len(image) // 2]
        if self._faults.take("cut-image", **facts):
            return await _cut(request, image)
        return web.Response(body=image)


def raw_image(schematic: str, version: str, file: str) -> bytes:
    """Return what a builder must have on its disk: a line that says what it is, and bytes that cannot be packed."""
    facts = {"talos": version, "schematic": schematic, "file": file}
    head = json.dumps(facts).encode() + b"\n"
    return head + b"".join(hashlib.sha256(head + bytes((n & 255, n >> 8))).digest() for n in range(BLOCKS))


@lru_cache(maxsize=8)
def packed_image(schematic: str, version: str, file: str) -> bytes:
    """Return an image as it is sent."""
    return lzma.compress(raw_image(schematic, version, file), preset=0)


async def _cut(request: web.Request, image: bytes) -> web.StreamResponse:
    """Send half of what was promised."""
    answer = web.StreamResponse(headers={"Content-Length": str(len(image))})
    await answer.prepare(request)
    await answer.write(image[: len(image) // 2])
    if request.transport is not None:
        request.transport.close()
    return answer


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


def _is_scalar(text: str) -> bool:
    """True for text that YAML reads as a number, a truth, a date or nothing."""
    try:
        return not isinstance(yaml.safe_load(text), str | dict | list)
    except yaml.YAMLError:
        return False


def _text(dumper: _Indented, text: str) -> yaml.ScalarNode:
    """yaml.v3, which the factory writes with: text that would be read as something else has double quotes."""
    tag = "tag:yaml.org,2002:str"
    return dumper.represent_scalar(tag, text, '"' if _is_scalar(text) or text in "yYnN" else None)


_Indented.add_representer(str, _text)
