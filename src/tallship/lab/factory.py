"""A Talos Image Factory: schematics, and images of them that say in one line what they are."""

from __future__ import annotations

import hashlib
import json
import lzma
import re
from typing import Any

import yaml
from aiohttp import web

from tallship.lab.store import Store
from tallship.lab.world import hold_clients

_IMAGE = re.compile(r"hcloud-(amd64|arm64)\.raw\.xz")
_VERSION = re.compile(r"v\d+\.\d+\.\d+")


class Factory:
    """Serves the two calls that building a snapshot needs."""

    def __init__(self, store: Store) -> None:
        self._schematics = store.table("schematics")

    def app(self) -> web.Application:
        """Return the application to serve."""
        app = web.Application(middlewares=[hold_clients])
        app.router.add_post("/schematics", self._post)
        app.router.add_get("/image/{schematic}/{version}/{file}", self._get)
        return app

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
        facts = {"talos": version, "schematic": schematic, "file": file}
        return web.Response(body=lzma.compress(json.dumps(facts).encode() + b"\n"))


def canonical(schematic: dict[str, Any]) -> str:
    """Return a schematic as the factory writes it: its id is the SHA-256 of this text."""
    customization = schematic.get("customization") or {}
    return yaml.dump({"customization": customization}, indent=4, Dumper=_Indented, sort_keys=False)


class _Indented(yaml.SafeDumper):
    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)
