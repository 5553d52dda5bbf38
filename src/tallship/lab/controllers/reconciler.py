"""A small runtime for controllers: queues that forget nothing, one object at a time, and no memory of their own.

Everything a controller decides it reads from the API, so it goes on where it was after a restart.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

import aiohttp

from tallship.lab.clock import LabClock
from tallship.lab.kubeclient import KubeRefused

log = logging.getLogger(__name__)

Key = tuple[str, str]
"""Namespace and name."""

SETTLE = 0.02
"""Seconds from a change to the look at it: changes that come together are looked at once, as by a busy process."""

FIRST_DELAY, LONGEST_DELAY = 0.005, 1000.0
"""controller-runtime's default rate limiter: 5 ms, doubled with each failure."""

UNREACHABLE = (aiohttp.ClientError, OSError, TimeoutError)
"""What a request raises when nobody answers."""


@dataclass(frozen=True)
class Again:
    """The object wants another look: after so many seconds, or after a delay that grows with each (None)."""

    after: float | None = None


Outcome = Again | None


def soonest(first: Outcome, second: Outcome) -> Outcome:
    """Return the earlier of two outcomes; a named delay goes before a growing one."""
    if first is None or second is None:
        return first or second
    if first.after is None or second.after is None:
        return first if second.after is None else second
    return first if first.after <= second.after else second


class ReconcileFailed(Exception):
    """This pass failed in a way that the controller knows; it tries again with a growing delay."""


class ProviderCrashed(Exception):
    """The whole process of the provider dies of this, as from a nil pointer."""


class _Alarms:
    """One pending moment for each key; an earlier one replaces a later one."""

    def __init__(self, clock: LabClock, fire: Callable[[Key], None]) -> None:
        self._clock = clock
        self._fire = fire
        self._pending: dict[Key, tuple[float, asyncio.Task[None]]] = {}

    def set(self, key: Key, seconds: float) -> None:
        due = self._clock.now() + seconds
        if key in self._pending:
            if self._pending[key][0] <= due:
                return
            self._pending[key][1].cancel()
        self._pending[key] = (due, asyncio.create_task(self._wait(key, seconds)))

    def clear(self) -> None:
        for _, task in self._pending.values():
            task.cancel()
        self._pending.clear()

    async def _wait(self, key: Key, seconds: float) -> None:
        await self._clock.sleep(seconds)
        del self._pending[key]
        self._fire(key)


class WorkQueue:
    """Keys to look at: each at most once in the queue, and never by two workers at a time.

    A look that was asked for "after so many seconds" is not brought forward by an earlier change: both happen,
    as in client-go's delaying queue.
    """

    def __init__(self, clock: LabClock, settle: float) -> None:
        self._settle = settle
        self._changes = _Alarms(clock, self._push)
        self._delayed = _Alarms(clock, self._push)
        self._ready: deque[Key] = deque()
        self._busy: set[Key] = set()
        self._dirty: set[Key] = set()
        self._failures: dict[Key, int] = {}
        self._arrived = asyncio.Event()

    def add(self, key: Key) -> None:
        """Look at the key soon."""
        self._changes.set(key, self._settle)

    def add_after(self, key: Key, seconds: float) -> None:
        """Look at the key after so many seconds."""
        self._delayed.set(key, seconds)

    def add_backing_off(self, key: Key) -> None:
        """Look at the key after a delay that doubles each time, until `forget`."""
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        self._delayed.set(key, min(FIRST_DELAY * 2**failures, LONGEST_DELAY))

    def forget(self, key: Key) -> None:
        """Begin with short delays again."""
        self._failures.pop(key, None)

    async def take(self) -> Key:
        """Return the next key; `done` must be called with it."""
        while not self._ready:
            self._arrived.clear()
            await self._arrived.wait()
        key = self._ready.popleft()
        self._busy.add(key)
        return key

    def done(self, key: Key) -> None:
        """Say that the look at this key is over."""
        self._busy.discard(key)
        if key in self._dirty:
            self._dirty.discard(key)
            self._push(key)

    def close(self) -> None:
        """Forget everything that was to come."""
        self._changes.clear()
        self._delayed.clear()

    def _push(self, key: Key) -> None:
        if key in self._busy:
            self._dirty.add(key)
        elif key not in self._ready:
            self._ready.append(key)
            self._arrived.set()


class Controller:
    """Calls `reconcile` for every object that changed, and again as its outcomes ask for."""

    def __init__(
        self,
        name: str,
        reconcile: Callable[[str, str], Awaitable[Outcome]],
        clock: LabClock,
        *,
        workers: int = 4,
        settle: float = SETTLE,
    ) -> None:
        self.name = name
        self.queue = WorkQueue(clock, settle)
        self._reconcile = reconcile
        self._workers = workers

    def add(self, keys: Iterable[Key]) -> None:
        """Look at these objects soon."""
        for key in keys:
            self.queue.add(key)

    async def run(self) -> None:
        """Work until cancelled; raises ProviderCrashed when the whole process dies."""
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._workers):
                    group.create_task(self._work())
        finally:
            self.queue.close()

    async def _work(self) -> None:
        while True:
            key = await self.queue.take()
            try:
                await self._look(key)
            finally:
                self.queue.done(key)

    async def _look(self, key: Key) -> None:
        try:
            outcome = await self._reconcile(*key)
        except ProviderCrashed:
            raise
        except (ReconcileFailed, KubeRefused, *UNREACHABLE) as failure:
            log.info("%s %s/%s: %s", self.name, *key, failure)
            self.queue.add_backing_off(key)
        except Exception:
            log.exception("%s %s/%s", self.name, *key)
            self.queue.add_backing_off(key)
        else:
            self._follow(key, outcome)

    def _follow(self, key: Key, outcome: Outcome) -> None:
        if outcome is None:
            self.queue.forget(key)
        elif outcome.after is None:
            self.queue.add_backing_off(key)
        else:
            self.queue.forget(key)
            self.queue.add_after(key, outcome.after)
