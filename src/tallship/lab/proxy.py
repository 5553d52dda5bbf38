"""An HTTPS proxy to the lab's Hetzner, for programs that know no other endpoint than the real one.

CAPH v1.0.7 has no setting for the endpoint, but its transport honours HTTPS_PROXY and SSL_CERT_FILE: it asks for
`CONNECT api.hetzner.cloud:443` and gets the lab, whose certificate is also valid for that name. Nothing else passes,
and nothing that passes is read or logged.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Final

HOST: Final = "api.hetzner.cloud"
PORT: Final = 8446
CONNECTIONS: Final = 256
"""How many clients there may be at a time."""
HEAD_SECONDS: Final = 10.0
"""Real seconds in which a client must have said what it wants."""
IDLE_SECONDS: Final = 300.0
"""Real seconds after which a tunnel ends in which nothing moves; a client keeps an idle one for 90 s at most (Go)."""

_TARGET: Final = f"{HOST}:443"
_HEAD_BYTES: Final = 16384
_CHUNK: Final = 65536

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Proxy:
    """Tunnels to one address what asks for Hetzner's API; everything else is refused with a word why."""

    def __init__(
        self,
        target: tuple[str, int],
        *,
        connections: int = CONNECTIONS,
        head_seconds: float = HEAD_SECONDS,
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        self._target = target
        self._limit = connections
        self._head_seconds = head_seconds
        self._idle_seconds = idle_seconds
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def serve(self, host: str, port: int = PORT) -> None:
        """Listen until `stop`. Raises OSError when the port is in use."""
        self._server = await asyncio.start_server(self._accept, host, port, limit=_HEAD_BYTES)

    async def stop(self) -> None:
        """Stop listening and end every tunnel."""
        if self._server is not None:
            self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._connections) >= self._limit:
            writer.write(_refusal(HTTPStatus.SERVICE_UNAVAILABLE, f"{self._limit} connections are open already"))
            writer.close()
            return
        task = asyncio.get_running_loop().create_task(self._handle((reader, writer)))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _handle(self, client: Streams) -> None:
        try:
            if refusal := await self._asked(client[0]):
                client[1].write(refusal)
                client[1].close()
            else:
                await self._tunnel(client)
        except (OSError, asyncio.IncompleteReadError):  # TimeoutError is an OSError
            client[1].transport.abort()
        finally:
            client[1].close()

    async def _asked(self, reader: asyncio.StreamReader) -> bytes:
        """Read what a client wants; returns the refusal, or nothing for what may pass."""
        try:
            async with asyncio.timeout(self._head_seconds):
                head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            return _refusal(HTTPStatus.BAD_REQUEST, "the request's head is too long")
        words = head.partition(b"\r\n")[0].decode("latin-1").split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            return _refusal(HTTPStatus.BAD_REQUEST, "not a request of HTTP/1.1")
        if words[0] != "CONNECT":
            return _refusal(HTTPStatus.FORBIDDEN, "the lab's proxy takes CONNECT only")
        if words[1].lower() != _TARGET:
            return _refusal(HTTPStatus.FORBIDDEN, f"the lab's proxy leads to {_TARGET} only")
        return b""

    async def _tunnel(self, client: Streams) -> None:
        """Copy both ways until both sides have ended, one is cut, or nothing moves any more."""
        target = await asyncio.open_connection(*self._target)
        try:
            client[1].write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            async with asyncio.timeout(self._idle_seconds) as limit, asyncio.TaskGroup() as group:
                group.create_task(self._pump(client[0], target[1], limit))
                group.create_task(self._pump(target[0], client[1], limit))
        except* OSError:  # one side was cut, or both are idle
            for _, writer in (client, target):
                writer.transport.abort()
        finally:
            target[1].close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, limit: asyncio.Timeout) -> None:
        """Copy one direction until it ends; then tell the other side so."""
        while data := await reader.read(_CHUNK):
            limit.reschedule(asyncio.get_running_loop().time() + self._idle_seconds)
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()


def _refusal(status: HTTPStatus, why: str) -> bytes:
    """Return an answer that says why in its body and in its status line, the only part that Go's clients show."""
    body = f"{why}\n"
    head = f"HTTP/1.1 {status.value} {why}\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n"
    return f"{head}Connection: close\r\n\r\n{body}".encode()
