"""Answers that arrive in another shape than the one they were sent in: cut short, or in somebody else's words."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from tallship.lab.faults import Faults

PORTAL: Final = "<html><body>Sign in to use this network</body></html>"
"""What stands between a client and its server says so, as a hotel's network does."""


def damaged(
    answer: web.StreamResponse, request: web.Request, faults: Faults, facts: dict[str, str]
) -> web.StreamResponse:
    """Return the answer as the client gets it: `truncated` and `malformed` happen after the request has acted."""
    if not isinstance(answer, web.Response):
        return answer
    if fault := faults.take("malformed", **facts):
        text = str(fault.values.get("body", PORTAL))
        kind = "text/html" if text.startswith("<") else "application/json"
        return web.Response(text=text, status=int(fault.values.get("status", 200)), content_type=kind)
    if faults.take("truncated", **facts):
        return _Half(request, answer)
    return answer


class _Half(web.Response):
    """Promises a whole body, sends half of it, and hangs up."""

    def __init__(self, request: web.Request, whole: web.Response) -> None:
        super().__init__(body=whole.body or b" ", status=whole.status, headers={"Content-Type": whole.content_type})
        self._asking = request

    async def write_eof(self, data: bytes = b"") -> None:
        """Send what arrives."""
        body = self.body
        await self.write(bytes(body)[: len(body) // 2] if isinstance(body, bytes) else b"")
        if self._asking.transport is not None:
            self._asking.transport.close()
