"""The virtual clock: time jumps when every client waits and the lab's loop is idle, and never before."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import loops
import pytest

from tallship.lab.clock import ScaledClock, VirtualClock, held_for_client, wall


class Loop:
    """A lab's loop in a thread."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.loop = self.clock.new_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self.loop)

    def close(self) -> None:
        loops.end(self.loop, self._thread)


@pytest.fixture
def lab() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.close()


def test_time_stands_still_without_clients(lab: Loop) -> None:
    woken: list[float] = []

    async def sleeper() -> None:
        await lab.clock.sleep(1)
        woken.append(lab.clock.now())

    lab.spawn(sleeper())
    assert lab.clock.now() == 0
    lab.clock.run_client(lambda: lab.clock.sleep_thread(2))
    assert woken == [1.0]


def test_sleepers_wake_in_order_whoever_they_are(lab: Loop) -> None:
    heard: list[tuple[str, float]] = []

    async def ticker() -> None:
        for _ in range(3):
            await lab.clock.sleep(10)
            heard.append(("lab", lab.clock.now()))

    def client() -> None:
        for seconds in (15, 20):
            lab.clock.sleep_thread(seconds)
            heard.append(("client", lab.clock.now()))

    lab.spawn(ticker())
    lab.clock.run_client(client)
    assert heard == [("lab", 10.0), ("client", 15.0), ("lab", 20.0), ("lab", 30.0), ("client", 35.0)]


def test_lanes_share_the_clock_and_the_caller_wakes_with_the_last(lab: Loop) -> None:
    ended: list[float] = []

    def lane(seconds: float) -> Callable[[], None]:
        def body() -> None:
            lab.clock.sleep_thread(seconds)
            ended.append(lab.clock.now())

        return body

    def client() -> None:
        lab.clock.run_threads([lane(5), lane(12)])
        ended.append(lab.clock.now())

    lab.clock.run_client(client)
    assert ended == [5.0, 12.0, 12.0]


def test_a_client_whose_request_is_held_counts_as_waiting(lab: Loop) -> None:
    answered = threading.Event()

    async def handler() -> None:
        held_for_client.set(True)
        await lab.clock.sleep(30)
        answered.set()

    def client() -> None:
        lab.spawn(handler())
        assert answered.wait(10)

    lab.clock.run_client(client)
    assert lab.clock.now() == 30


def test_a_cancelled_sleeper_is_forgotten(lab: Loop) -> None:
    async def cancelled() -> None:
        task = asyncio.ensure_future(lab.clock.sleep(100))
        await asyncio.sleep(0)
        task.cancel()

    lab.spawn(cancelled())
    lab.clock.run_client(lambda: lab.clock.sleep_thread(1))
    assert lab.clock.now() == 1


def test_real_servers_moments_are_told_in_lab_time() -> None:
    clock = ScaledClock(10, 100, stamped_by_others=True)
    now = datetime.now(UTC)
    since = clock.moment(now + timedelta(seconds=3)) - clock.moment(now)
    assert since == timedelta(seconds=30)
    before = clock.moment(now - timedelta(hours=1)) - clock.moment(now - timedelta(hours=2))
    assert before == timedelta(hours=1)  # what was before this process
    assert abs((clock.moment(now) - wall(clock)).total_seconds()) < 100
    assert ScaledClock(10).moment(now) == now
