"""What goes wrong at the socket of an API server, when somebody has set a fault."""

from __future__ import annotations

from aiohttp import web

from tallship.lab import damage
from tallship.lab.clock import LabClock
from tallship.lab.faults import Faults
from tallship.lab.kube.errors import RefusedRequest
from tallship.lab.kube.paths import collection

SLOW_SECONDS = 30.0
_BY_STATUS = {503: "ServiceUnavailable", 504: "Timeout"}
"""Kubernetes' words for errors of its own that are not a plain 500."""
_REFUSALS = {
    "server-error": ("InternalError", "Internal error occurred: etcdserver: request timed out"),
    "rate-limit": ("TooManyRequests", "too many requests, please try again later"),
    "conflict": ("Conflict", "Operation cannot be fulfilled: the object has been modified"),
    "unauthorized": ("Unauthorized", "Unauthorized"),
}
"""Kubernetes' reason and words, by the name of the fault."""


class FaultySocket:
    """Takes the faults that match `{"server": NAME, "route": "GET clusters", "agent": "tallship"}`."""

    def __init__(self, name: str, faults: Faults, clock: LabClock) -> None:
        self._name = name
        self._faults = faults
        self._clock = clock

    async def pass_on(self, request: web.Request) -> None:
        """Return when the request may go on. Raises RefusedRequest, or ConnectionResetError."""
        if not self._faults.list():
            return
        facts = self._facts(request)
        if (slow := self._faults.take("slow", **facts)) is not None:
            await self._clock.sleep(float(slow.values.get("seconds", SLOW_SECONDS)))
        await self._cut("reset", request, facts)
        if "watch" in request.query:
            await self._cut("watch-cut", request, facts)
        for name, (reason, text) in _REFUSALS.items():
            if (fault := self._faults.take(name, **facts)) is not None:
                word = _BY_STATUS.get(int(fault.values.get("status", 0)), reason)
                raise RefusedRequest(word, str(fault.values.get("message", text)))

    async def answer(self, request: web.Request) -> None:
        """Return when the answer may go out. Raises ConnectionResetError when it is lost."""
        if self._faults.list():
            await self._cut("lost-answer", request, self._facts(request))

    def damaged(self, request: web.Request, answer: web.StreamResponse) -> web.StreamResponse:
        """Return an answer as it arrives."""
        return damage.damaged(answer, request, self._faults, self._facts(request)) if self._faults.list() else answer

    def _facts(self, request: web.Request) -> dict[str, str]:
        agent = request.headers.get("User-Agent", "").partition("/")[0]
        route = f"{request.method} {collection(request.path)}"
        return {"api": "kubernetes", "server": self._name, "route": route, "agent": agent}

    async def _cut(self, name: str, request: web.Request, facts: dict[str, str]) -> None:
        fault = self._faults.take(name, **facts)
        if fault is not None:
            if "seconds" in fault.values:
                await self._clock.sleep(float(fault.values["seconds"]))
            if request.transport is not None:
                request.transport.abort()
            raise ConnectionResetError(f"the fault `{name}`")
