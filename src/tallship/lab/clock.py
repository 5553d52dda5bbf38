"""Time in the lab: scaled for people, virtual for tests.

Lab time is modelled seconds since the lab was first made. Nothing in the lab sleeps or reads the time but here.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import itertools
import selectors
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)

held_for_client: contextvars.ContextVar[bool] = contextvars.ContextVar("held_for_client", default=False)
"""True inside the handling of a request made by a client thread of the shared clock: while such a request sleeps,
the thread that waits for its answer counts as sleeping too."""

HELD_HEADER = "Tallship-Lab-Held"
"""Sent with a request that the lab makes of itself to answer one that is held: it is held then too."""


class LabClock(Protocol):
    """What every part of the lab may know of time."""

    def now(self) -> float:
        """Return modelled seconds since the lab was first made."""

    async def sleep(self, seconds: float) -> None:
        """Return when so many modelled seconds have passed."""

    def moment(self, stamp: datetime) -> datetime:
        """Return the lab time of a moment that an API server has stamped."""


def timestamp(clock: LabClock, after: float = 0) -> str:
    """Return lab time as RFC 3339 in whole seconds, as Kubernetes and Hetzner write it."""
    return wall(clock, after).strftime("%Y-%m-%dT%H:%M:%SZ")


def wall(clock: LabClock, after: float = 0) -> datetime:
    """Return lab time as a date."""
    return EPOCH + timedelta(seconds=clock.now() + after)


def created(clock: LabClock, item: Mapping[str, Any]) -> datetime:
    """Return when an object of an API server was created, in lab time."""
    return clock.moment(datetime.fromisoformat(item["metadata"]["creationTimestamp"]))


class ScaledClock:
    """Real time, `speed` times faster, going on from `start` modelled seconds.

    With `stamped_by_others` the API servers are real ones, which know no time but this machine's.
    """

    def __init__(self, speed: float, start: float = 0, *, stamped_by_others: bool = False) -> None:
        self.speed = speed
        self._start = start
        self._began = time.monotonic()
        self._today = datetime.now(UTC) if stamped_by_others else None

    def now(self) -> float:
        """Return modelled seconds since the lab was first made."""
        return self._start + (time.monotonic() - self._began) * self.speed

    async def sleep(self, seconds: float) -> None:
        """Return when so many modelled seconds have passed."""
        await asyncio.sleep(max(seconds, 0) / self.speed)

    def moment(self, stamp: datetime) -> datetime:
        """Return the lab time of a moment that an API server has stamped; what was before this process ran slower."""
        if self._today is None:
            return stamp
        since = stamp - self._today
        return EPOCH + timedelta(seconds=self._start) + since * (self.speed if since > timedelta() else 1)


class VirtualClock:
    """One clock for the lab's loop and the client threads of a test; time jumps when all of them wait.

    A client thread waits when it sleeps, when it has handed over to other threads, or when the lab itself holds
    its request. The loop waits when its selector has nothing ready. With no client thread time stands still.
    """

    def __init__(self, begin: float = 0) -> None:
        self._lock = threading.RLock()
        self._now = begin
        self._order = itertools.count()
        self._waiting: list[tuple[float, int, Callable[[], None]]] = []
        self._clients = 0
        self._idle_clients = 0
        self._loop: asyncio.AbstractEventLoop | None = None

    def now(self) -> float:
        """Return modelled seconds since the lab was first made."""
        return self._now

    def moment(self, stamp: datetime) -> datetime:
        """Return the lab time of a moment that an API server has stamped: the same."""
        return stamp

    def today(self) -> datetime:
        """Return lab time as a date, for the client's side."""
        return EPOCH + timedelta(seconds=self._now)

    def new_loop(self) -> asyncio.AbstractEventLoop:
        """Return the event loop that the lab must run in, so that its idleness is seen."""
        self._loop = asyncio.SelectorEventLoop(_IdleSelector(self._jump))
        return self._loop

    async def sleep(self, seconds: float) -> None:
        """Return when so many modelled seconds have passed (for tasks of the lab's loop)."""
        loop = asyncio.get_running_loop()
        woken = loop.create_future()
        held = held_for_client.get()

        def wake() -> None:
            self._idle_clients -= held
            if not woken.done():
                woken.set_result(None)

        with self._lock:
            self._idle_clients += held
            entry = (self._now + max(seconds, 0), next(self._order), wake)
            heapq.heappush(self._waiting, entry)
        try:
            await woken
        except asyncio.CancelledError:
            with self._lock:
                if entry in self._waiting:
                    self._waiting.remove(entry)
                    heapq.heapify(self._waiting)
                    self._idle_clients -= held
            raise

    def sleep_thread(self, seconds: float) -> None:
        """Return when so many modelled seconds have passed (for client threads)."""
        woken = threading.Event()

        def wake() -> None:
            self._idle_clients -= 1
            woken.set()

        with self._lock:
            heapq.heappush(self._waiting, (self._now + max(seconds, 0), next(self._order), wake))
            self._idle_clients += 1
        self._nudge_loop()
        woken.wait()

    def run_threads(self, bodies: Sequence[Callable[[], None]]) -> None:
        """Run the bodies side by side, one client thread each; return when all have ended."""
        if not bodies:
            return
        left = len(bodies)

        def counted(body: Callable[[], None]) -> None:
            nonlocal left
            try:
                body()
            finally:
                with self._lock:
                    left -= 1
                    self._idle_clients -= left == 0  # the caller wakes in the same moment as the last body ends
                    self._leave()

        with self._lock:
            self._clients += len(bodies)
            self._idle_clients += 1
        threads = [threading.Thread(target=counted, args=(body,), daemon=True) for body in bodies]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def run_client(self, body: Callable[[], None]) -> None:
        """Run the body in this thread as a client: time passes while it waits."""
        with self._lock:
            self._clients += 1
        try:
            body()
        finally:
            self._leave()

    def _leave(self) -> None:
        with self._lock:
            self._clients -= 1
        self._nudge_loop()

    def _nudge_loop(self) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(lambda: None)

    def _jump(self) -> bool:
        """Move to the next moment at which somebody wakes; False while a client is still busy."""
        with self._lock:
            if not self._waiting or not self._clients or self._idle_clients < self._clients:
                return False
            self._now = max(self._now, self._waiting[0][0])
            while self._waiting and self._waiting[0][0] <= self._now:
                heapq.heappop(self._waiting)[2]()
            return True


class _IdleSelector(selectors.DefaultSelector):
    """Calls `on_idle` when the loop is about to block with nothing ready."""

    def __init__(self, on_idle: Callable[[], bool]) -> None:
        super().__init__()
        self._on_idle = on_idle

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return what is ready; when nothing is, let time jump instead of blocking."""
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        if self._on_idle():
            return []
        return super().select(timeout)
