"""What goes wrong at the socket of an API server, when somebody has set a fault."""

from __future__ import annotations

from aiohttp import web

from tallship.lab.clock import LabClock
from tallship.lab.faults import Faults
from tallship.lab.kube.errors import RefusedRequest
from tallship.lab.kube.paths import collection

SLOW_SECONDS = 30.0
_REFUSALS = {
    "server-error": ("InternalError", "Internal error occurred: etcdserver: request timed out"),
    "conflict": ("Conflict", "Operation cannot be fulfilled: the object has been modified"),
    "unauthorized": ("Unauthorized", "Unauthorized"),
}
"""Kubernetes' reason and words, by the name of the fault."""


class FaultySocket:
    """Takes the faults that match `{"server": NAME, "route": "GET clusters"}`.

    Names: `slow` (values: `seconds`), `reset`, `server-error`, `conflict`, `unauthorized`.
    """

    def __init__(self, name: str, faults: Faults, clock: LabClock) -> None:
        self._name = name
        self._faults = faults
        self._clock = clock

    async def pass_on(self, request: web.Request) -> None:
        """Return when the request may go on. Raises RefusedRequest, or ConnectionResetError."""
        if not self._faults.list():
            return
        facts = {"server": self._name, "route": f"{request.method} {collection(request.path)}"}
        if (slow := self._faults.take("slow", **facts)) is not None:
            await self._clock.sleep(float(slow.values.get("seconds", SLOW_SECONDS)))
        if self._faults.take("reset", **facts) and request.transport is not None:
            request.transport.abort()
            raise ConnectionResetError("the fault `reset`")
        for name, (reason, text) in _REFUSALS.items():
            if self._faults.take(name, **facts):
                raise RefusedRequest(reason, text)
