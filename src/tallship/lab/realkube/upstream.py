"""The real API server as the lab's sockets reach it: by loopback, as an administrator who acts for others."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import aiohttp
import yaml
from aiohttp import web
from yarl import URL

from tallship.lab.kube.requests import ANONYMOUS, User
from tallship.lab.world import load_pair

Document = dict[str, Any]

_OWN_HEADERS = frozenset(
    {"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "host", "content-length"}
)
"""RFC 9110: what is said to the next hop only."""
_NOBODY = User(ANONYMOUS, ("system:unauthenticated",))


class Upstream:
    """One real API server, by the kubeconfig of its administrator. Made in the loop that uses it."""

    def __init__(self, kubeconfig: str) -> None:
        config = yaml.safe_load(kubeconfig)
        (cluster,), (user,) = ([each["cluster"] for each in config["clusters"]], [u["user"] for u in config["users"]])
        self._url = str(cluster["server"])
        authority = _decoded(cluster["certificate-authority-data"])
        administrator = ssl.create_default_context(cadata=authority)
        load_pair(administrator, _decoded(user["client-certificate-data"]), _decoded(user["client-key-data"]))
        self._as_administrator = _session(administrator)
        self._as_nobody = _session(ssl.create_default_context(cadata=authority))

    async def close(self) -> None:
        """Close all connections."""
        await asyncio.gather(self._as_administrator.close(), self._as_nobody.close())

    async def read(self, path: str) -> Document:
        """Return an object, as an administrator sees it; empty when it cannot be had."""
        headers = {"Accept": "application/json"}
        try:
            async with self._as_administrator.get(self._url + path, headers=headers) as answer:
                return await answer.json() if answer.status == 200 else {}
        except (aiohttp.ClientError, OSError):
            return {}

    async def version_of(self, request: web.Request) -> str:
        """Return the resourceVersion of what a request is about; empty when it is not there."""
        return str((await self.read(request.path)).get("metadata", {}).get("resourceVersion", ""))

    async def forward(
        self, request: web.Request, before_answer: Callable[[web.Request], Awaitable[None]] | None = None
    ) -> web.StreamResponse:
        """Pass a request on for its user, and the answer back as it comes.

        A bearer token is the real server's to judge. Raises ConnectionResetError when the server is gone.
        """
        session, identity = self._as_administrator, _impersonation(User.of(request) or _NOBODY)
        if "Authorization" in request.headers:
            session, identity = self._as_nobody, []
        headers = [*_passed_on(request.headers), *identity]
        body = await request.read() if request.can_read_body else None
        url = URL(self._url + request.raw_path, encoded=True)
        asking = session.request(request.method, url, headers=headers, data=body, allow_redirects=False)
        with _same_fate(request):
            found = await asking
        async with found:
            if before_answer is not None:
                await before_answer(request)
            answer = web.StreamResponse(status=found.status, headers=dict(_passed_on(found.headers)))
            await answer.prepare(request)
            while chunk := await self._next(request, found):
                await answer.write(chunk)
            await answer.write_eof()
            return answer

    async def _next(self, request: web.Request, found: aiohttp.ClientResponse) -> bytes:
        with _same_fate(request):
            return await found.content.readany()


@contextmanager
def _same_fate(request: web.Request) -> Iterator[None]:
    """Cut the client off when the real server cuts us off, and say so with ConnectionResetError."""
    try:
        yield
    except (aiohttp.ClientError, OSError) as error:
        if request.transport is not None:
            request.transport.abort()
        raise ConnectionResetError(f"the API server is gone: {error}") from error


def _session(tls: ssl.SSLContext) -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(limit=0, ssl=tls)
    return aiohttp.ClientSession(
        connector=connector,
        auto_decompress=False,
        timeout=aiohttp.ClientTimeout(total=None),
        skip_auto_headers=("Accept", "Accept-Encoding", "User-Agent", "Content-Type"),
    )


def _impersonation(user: User) -> list[tuple[str, str]]:
    """Kubernetes: a request with these headers is the named user's, when its sender may act for others."""
    return [("Impersonate-User", user.name), *(("Impersonate-Group", group) for group in user.groups)]


def _passed_on(headers: Any) -> Iterator[tuple[str, str]]:
    for name, value in headers.items():
        if name.lower() not in _OWN_HEADERS and not name.lower().startswith("impersonate-"):
            yield name, value


def _decoded(text: str) -> str:
    return base64.b64decode(text).decode()
