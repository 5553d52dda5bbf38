"""What will happen later. A timer is in the store, so that a lab that was killed goes on where it stopped."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from tallship.lab.clock import LabClock
from tallship.lab.store import Store

Effect = Callable[..., Awaitable[None]]
log = logging.getLogger(__name__)


class Timers:
    """Named effects that are due at a moment of lab time."""

    def __init__(self, store: Store, clock: LabClock, effects: dict[str, Effect]) -> None:
        self._store = store
        self._table = store.table("hetzner.timers")
        self._clock = clock
        self._effects = effects
        self._tasks: set[asyncio.Task[None]] = set()

    def set(self, seconds: float, effect: str, **arguments: Any) -> None:
        """Remember to call the effect with the arguments in so many modelled seconds."""
        key = str(self._store.next_id("hetzner.timer"))
        self._table[key] = {"due": self._clock.now() + seconds, "effect": effect, "arguments": arguments}
        self._start(key)

    def resume(self) -> None:
        """Start to wait for everything that an earlier process left undone, in its order."""
        for key in self._table:
            self._start(key)

    async def stop(self) -> None:
        """Wait for nothing any more; what is due later stays in the store."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _start(self, key: str) -> None:
        # a context of its own: what a request started does not count as that request being held
        task = asyncio.get_running_loop().create_task(self._wait(key), context=contextvars.Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _wait(self, key: str) -> None:
        timer = self._table[key]
        if (left := float(timer["due"]) - self._clock.now()) > 0:
            await self._clock.sleep(left)
        try:
            await self._effects[timer["effect"]](**timer["arguments"])
        except Exception:
            log.exception("the effect %s failed", timer["effect"])
        del self._table[key]
