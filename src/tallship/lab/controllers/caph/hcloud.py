"""The Hetzner Cloud client inside CAPH: hcloud-go 2.19.1's requests, retries and errors."""

from __future__ import annotations

import random
import ssl
from dataclasses import dataclass
from typing import Any

import aiohttp

from tallship.lab.clock import LabClock

USER_AGENT = "cluster-api-provider-hetzner hcloud-go/2.19.1"

RETRIES = 5
_RETRIED = ("conflict", "rate_limit_exceeded", "timeout")
_RETRIED_STATUS = (502, 504)
_FIRST_DELAY, _LONGEST_DELAY = 1.0, 60.0

Document = dict[str, Any]


class HCloudError(Exception):
    """Hetzner refused; the text is hcloud-go's."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(f"{message} ({code})")
        self.status = status
        self.code = code


@dataclass(frozen=True)
class Hetzner:
    """Where the Hetzner API is, and what is trusted there."""

    url: str
    """Ends with `/v1`."""
    tls: ssl.SSLContext


class HCloud:
    """The API as the owner of one token."""

    def __init__(self, session: aiohttp.ClientSession, hetzner: Hetzner, token: str, clock: LabClock) -> None:
        self._session = session
        self._hetzner = hetzner
        self._clock = clock
        self._headers = {"Authorization": f"Bearer {token}", "User-Agent": USER_AGENT}

    async def get(self, path: str, **query: str) -> Document:
        """Return the answer to a GET."""
        return await self._send("GET", path, None, query)

    async def find(self, path: str, **query: str) -> Document | None:
        """Return the answer to a GET; None when there is no such thing."""
        try:
            return await self.get(path, **query)
        except HCloudError as error:
            if error.code == "not_found":
                return None
            raise

    async def list(self, path: str, key: str, **query: str) -> list[Document]:
        """Return all pages of a list."""
        found: list[Document] = []
        page: int | None = 1
        while page:
            body = await self.get(path, **query, page=str(page))
            found += body[key]
            page = body.get("meta", {}).get("pagination", {}).get("next_page")
        return found

    async def post(self, path: str, body: Document | None = None) -> Document:
        """Return the answer to a POST."""
        return await self._send("POST", path, body, {})

    async def delete(self, path: str) -> None:
        """Delete; what is gone already is fine."""
        try:
            await self._send("DELETE", path, None, {})
        except HCloudError as error:
            if error.code != "not_found":
                raise

    async def _send(self, method: str, path: str, body: Document | None, query: dict[str, str]) -> Document:
        for attempt in range(RETRIES):
            try:
                return await self._once(method, path, body, query)
            except HCloudError as error:
                if error.code not in _RETRIED and error.status not in _RETRIED_STATUS:
                    raise
            longest = min(_FIRST_DELAY * 2**attempt, _LONGEST_DELAY)
            await self._clock.sleep(random.uniform(longest / 2, longest))  # noqa: S311 - jitter, no secret
        return await self._once(method, path, body, query)

    async def _once(self, method: str, path: str, body: Document | None, query: dict[str, str]) -> Document:
        async with self._session.request(
            method,
            f"{self._hetzner.url}{path}",
            json=body,
            params=query,
            headers=self._headers,
            ssl=self._hetzner.tls,
        ) as answer:
            text = await answer.read()
            found: Document = await answer.json() if text else {}
            if answer.status >= 400:
                error = found.get("error", {})
                raise HCloudError(answer.status, str(error.get("code", "")), str(error.get("message", "")))
            return found
