"""The end of a test's event loop: nothing of it is left that a later test would see destroyed."""

from __future__ import annotations

import asyncio
import threading

_SECONDS = 20.0


def end(loop: asyncio.AbstractEventLoop, thread: threading.Thread) -> None:
    """Cancel what still runs in the loop, and end it and its thread."""
    asyncio.run_coroutine_threadsafe(_cancel_all(), loop).result(_SECONDS)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(_SECONDS)
    loop.close()


async def _cancel_all() -> None:
    left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    for transport in list(getattr(asyncio.get_running_loop(), "_transports", {}).values()):
        transport.abort()  # a connection that came when its listener was already closing: nobody knows it
    for _ in range(20):
        await asyncio.sleep(0)  # closing connections takes a few rounds of the loop
