"""One owner's HTTP connections."""

from __future__ import annotations

from collections.abc import Callable

import aiohttp


class HttpSession:
    """A session that is made when it is first asked for. After `close` it is never made again."""

    def __init__(self, make: Callable[[], aiohttp.ClientSession] = aiohttp.ClientSession) -> None:
        self._make = make
        self._session: aiohttp.ClientSession | None = None
        self._is_closed = False

    def get(self) -> aiohttp.ClientSession:
        """Return the session. Raises ClientConnectionError after `close`: its owner ends, and a task of it goes on."""
        if self._is_closed:
            raise aiohttp.ClientConnectionError("the program has ended")
        if self._session is None:
            self._session = self._make()
        return self._session

    async def renew(self) -> None:
        """Close what is open; who asks next gets another session."""
        session, self._session = self._session, None  # before the wait: somebody may ask meanwhile
        if session is not None:
            await session.close()

    async def close(self) -> None:
        """Close all connections for ever."""
        self._is_closed = True
        await self.renew()
