"""The controllers' runtime: what client-go's queues and controller-runtime promise."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import loops
import pytest

from tallship.lab.clock import VirtualClock
from tallship.lab.controllers.reconciler import (
    Again,
    Controller,
    Outcome,
    ProviderCrashed,
    ReconcileFailed,
    soonest,
)

KEY = ("default", "one")


class Looks:
    """A controller whose looks are noted, in a loop with a virtual clock."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.loop = self.clock.new_loop()
        self.at: list[float] = []
        self.answer: Callable[[int], Awaitable[Outcome]] = self._nothing
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self.controller = self.call(lambda: Controller("test", self._reconcile, self.clock, settle=0.5))
        self.task = self.call(lambda: asyncio.ensure_future(self.controller.run()))

    async def _nothing(self, _: int) -> Outcome:
        return None

    async def _reconcile(self, namespace: str, name: str) -> Outcome:
        self.at.append(round(self.clock.now(), 3))
        return await self.answer(len(self.at))

    def call(self, function: Callable[[], Any]) -> Any:
        async def work() -> Any:
            return function()

        return asyncio.run_coroutine_threadsafe(work(), self.loop).result(10)

    def wait(self, seconds: float) -> None:
        self.clock.run_client(lambda: self.clock.sleep_thread(seconds))

    def close(self) -> None:
        self.call(self.task.cancel)
        self.call(lambda: None)
        loops.end(self.loop, self._thread)


@pytest.fixture
def looks() -> Iterator[Looks]:
    found = Looks()
    yield found
    found.close()


def test_changes_that_come_together_are_looked_at_once(looks: Looks) -> None:
    looks.call(lambda: looks.controller.add([KEY, KEY, ("default", "one")]))
    looks.wait(10)
    assert looks.at == [0.5]


def test_a_change_does_not_bring_a_delayed_look_forward(looks: Looks) -> None:
    async def poll(number: int) -> Outcome:
        return Again(10) if number == 1 else None

    looks.answer = poll
    looks.call(lambda: looks.controller.add([KEY]))
    looks.wait(3)
    looks.call(lambda: looks.controller.add([KEY]))
    looks.wait(20)
    assert looks.at == [0.5, 3.5, 10.5]


def test_of_two_delayed_looks_the_earlier_one_happens(looks: Looks) -> None:
    async def poll(number: int) -> Outcome:
        return [None, Again(60), Again(10), None, None][number]

    looks.answer = poll
    looks.call(lambda: looks.controller.add([KEY]))
    looks.wait(3)
    looks.call(lambda: looks.controller.add([KEY]))
    looks.wait(100)
    assert looks.at == [0.5, 3.5, 13.5]


def test_failures_are_tried_again_after_delays_that_double(looks: Looks) -> None:
    async def fail(number: int) -> Outcome:
        if number < 5:
            raise ReconcileFailed("not yet")
        return None

    looks.answer = fail
    looks.call(lambda: looks.controller.add([KEY]))
    looks.wait(10)
    assert looks.at == [0.5, 0.505, 0.515, 0.535, 0.575]


def test_asking_again_without_a_delay_backs_off_the_same_way(looks: Looks) -> None:
    async def ask(number: int) -> Outcome:
        return Again() if number < 4 else None

    looks.answer = ask
    looks.call(lambda: looks.controller.add([KEY]))
    looks.wait(10)
    assert looks.at == [0.5, 0.505, 0.515, 0.535]


def test_success_makes_delays_short_again(looks: Looks) -> None:
    async def fail_twice_each_time(number: int) -> Outcome:
        if number in (1, 2, 4):
            raise ReconcileFailed("not yet")
        return None

    looks.answer = fail_twice_each_time
    looks.call(lambda: looks.controller.add([KEY]))
    looks.wait(5)
    looks.call(lambda: looks.controller.add([KEY]))
    looks.wait(5)
    assert looks.at == [0.5, 0.505, 0.515, 5.5, 5.505]


def test_a_change_during_a_look_leads_to_another_one_after_it(looks: Looks) -> None:
    async def slow(_: int) -> Outcome:
        await looks.clock.sleep(5)
        return None

    looks.answer = slow
    looks.call(lambda: looks.controller.add([KEY]))
    looks.wait(2)
    looks.call(lambda: looks.controller.add([KEY]))
    looks.wait(20)
    assert looks.at == [0.5, 5.5]


def test_a_crash_ends_the_whole_controller(looks: Looks) -> None:
    async def crash(_: int) -> Outcome:
        raise ProviderCrashed("panic")

    looks.answer = crash
    looks.call(lambda: looks.controller.add([KEY]))
    looks.wait(5)
    assert looks.task.done()
    failure = looks.task.exception()
    assert isinstance(failure, ExceptionGroup) and failure.subgroup(ProviderCrashed)


@pytest.mark.parametrize(
    ("first", "second", "wanted"),
    [
        (None, None, None),
        (None, Again(5), Again(5)),
        (Again(10), Again(5), Again(5)),
        (Again(), Again(5), Again(5)),
        (Again(), None, Again()),
    ],
)
def test_the_soonest_outcome_counts(first: Outcome, second: Outcome, wanted: Outcome) -> None:
    assert soonest(first, second) == wanted
