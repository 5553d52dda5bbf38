"""The lab's own interface: what it serves, what was written to it, what goes wrong next."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from typing import Any, Protocol

from aiohttp import web

from tallship.errors import SetupError
from tallship.lab.clock import LabClock
from tallship.lab.faults import Fault, Faults
from tallship.lab.hetzner.api import HetznerApi
from tallship.lab.own_address import seen_address
from tallship.lab.programs.conversation import Program
from tallship.lab.programs.routes import routes
from tallship.lab.world import Authority, hold_clients

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_OPEN = ("/address",)


class Lab(Protocol):
    """What this door opens on."""

    clock: LabClock
    faults: Faults
    hetzner: HetznerApi
    authority: Authority
    stopping: asyncio.Event

    def status(self) -> dict[str, Any]:
        """Return what it serves, what was written to it, and what goes wrong next."""

    def reset_counters(self) -> None:
        """Begin to count writes anew."""


class Control:
    """Plain HTTP on the lab's own loopback address; everything but /address needs the secret of the lab's folder."""

    def __init__(self, lab: Lab, secret: str, programs: Mapping[str, Program]) -> None:
        self._lab = lab
        self._secret = secret
        self._programs = programs

    def app(self) -> web.Application:
        """Return the application to serve."""
        app = web.Application(middlewares=[hold_clients, self._guard], client_max_size=64 * 2**20)
        app.add_routes(
            [
                web.get("/address", self._address),
                web.get("/status", self._status),
                web.post("/reset-counters", self._reset_counters),
                web.get("/faults", self._list_faults),
                web.post("/faults", self._add_fault),
                web.delete("/faults", self._clear_faults),
                web.post("/tokens", self._issue_token),
                web.post("/snapshots", self._add_snapshot),
                web.post("/certificates", self._issue_certificate),
                web.post("/stop", self._stop),
                *routes(self._programs, self._lab.faults, self._lab.clock),
            ]
        )
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        given = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if request.path not in _OPEN and not hmac.compare_digest(given.encode(), self._secret.encode()):
            raise web.HTTPUnauthorized(text="the secret is in the lab's folder\n")
        return await handler(request)

    async def _address(self, request: web.Request) -> web.Response:
        """The address that requests of this caller come from, as plain text."""
        return web.Response(text=f"{seen_address(self._lab.faults, request.remote or '')}\n")

    async def _status(self, request: web.Request) -> web.Response:
        return web.json_response(self._lab.status())

    async def _reset_counters(self, request: web.Request) -> web.Response:
        self._lab.reset_counters()
        return web.json_response(self._lab.status())

    async def _list_faults(self, request: web.Request) -> web.Response:
        return web.json_response({"faults": [asdict(fault) for fault in self._lab.faults.list()]})

    async def _add_fault(self, request: web.Request) -> web.Response:
        try:
            fault = Fault(**await request.json())
            return web.json_response({"id": self._lab.faults.add(fault)}, status=201)
        except SetupError as error:
            raise web.HTTPBadRequest(text=f"{error.message}; {error.hint}\n") from error
        except (TypeError, ValueError) as error:
            raise web.HTTPBadRequest(text=f"{error}\n") from error

    async def _clear_faults(self, request: web.Request) -> web.Response:
        return web.json_response({"cleared": self._lab.faults.clear(request.query.get("name", ""))})

    async def _issue_token(self, request: web.Request) -> web.Response:
        wanted = await request.json() if request.can_read_body else {}
        token = self._lab.hetzner.tokens.issue_token(writable=bool(wanted.get("writable", True)))
        return web.json_response({"token": token}, status=201)

    async def _add_snapshot(self, request: web.Request) -> web.Response:
        """Put a snapshot of Talos into the project as if it had been built there."""
        wanted = await request.json()
        facts = {"talos": str(wanted["talos"])}
        snapshot = self._lab.hetzner.add_snapshot(
            "Talos", dict(wanted["labels"]), architecture=str(wanted["architecture"]), disk_gb=10, content=facts
        )
        return web.json_response({"snapshot": snapshot}, status=201)

    async def _issue_certificate(self, request: web.Request) -> web.Response:
        """Sign for a server on this machine, as the lab's own servers are."""
        host = str((await request.json())["host"])
        certificate, key = self._lab.authority.issue(host, hosts=(host,))
        return web.json_response({"certificate": certificate, "key": key}, status=201)

    async def _stop(self, request: web.Request) -> web.Response:
        self._lab.stopping.set()
        return web.json_response({"stopping": True})
