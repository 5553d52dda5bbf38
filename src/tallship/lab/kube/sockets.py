"""The sockets on which one API server is served."""

from __future__ import annotations

import ssl
from collections.abc import Callable

from aiohttp import web


class Sockets:
    """Serves an application on as many sockets as are asked for, until all are closed together."""

    def __init__(self, app: Callable[[], web.Application]) -> None:
        self._app = app
        self._runner: web.AppRunner | None = None

    async def open(self, host: str, port: int, tls: ssl.SSLContext) -> None:
        """Serve on one more socket. Raises what the application's start raises, and OSError."""
        if self._runner is None:
            self._runner = web.AppRunner(
                self._app(), access_log=None, shutdown_timeout=0.1, handle_signals=False, handler_cancellation=True
            )
            await self._runner.setup()
        await web.TCPSite(self._runner, host, port, ssl_context=tls).start()

    async def close(self) -> None:
        """Close them all."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
