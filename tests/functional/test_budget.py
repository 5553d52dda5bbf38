"""Hetzner's hourly calls are shared with the cluster's controllers: a run heeds what is left, and says so."""

from __future__ import annotations

from contextlib import closing
from itertools import islice

import pytest
from lab_world import LabWorld
from ship import Ship
from waits import MINUTE, another_builder, metered

from tallship.adapters.calls import Calls
from tallship.adapters.hetzner_budget import PAUSE, Budget
from tallship.cli.status import HETZNER_SECONDS, WATCH_SECONDS
from tallship.engine import select
from tallship.errors import TimedOut
from tallship.flows import UP
from tallship.ops import controller_logs
from tallship.ops.image import ImageExists
from tallship.ops.status import watch

HOUR = 3600


def leave(world: LabWorld, calls: int) -> None:
    """Let so many calls be left of this hour's."""
    bucket = world.lab.hetzner.bucket
    world.do(lambda: bucket._table.__setitem__("bucket", {"left": calls, "at": world.clock.now()}))


def told(headers: dict[str, str], later: float = 0.0) -> Budget:
    """Return what is known some seconds after an answer."""
    now = [100.0]
    budget = Budget(lambda: now[0])
    budget.hear(headers)
    now[0] += later
    return budget


def test_what_is_used_up_comes_back_evenly() -> None:
    headers = {"RateLimit-Limit": "3600", "RateLimit-Remaining": "100"}
    assert [told(headers, later).left for later in (0, 60, 259, 5000)] == [100, 160, 359, 3600]
    assert told(headers, 259).brake()[0] == PAUSE
    assert told(headers, 260).brake() == (0, "")


@pytest.mark.parametrize("limit", ["", "-5", "3600.5", "9" * 400, "³"])
def test_an_answer_without_numbers_tells_nothing(limit: str) -> None:
    assert told({"RateLimit-Limit": limit, "RateLimit-Remaining": "0"}).brake() == (0, "")


def test_a_run_that_finds_few_calls_left_slows_down_and_says_so(world: LabWorld) -> None:
    ship = Ship(world, with_image=False)
    with closing(ship.env()) as env:
        world.run(lambda: another_builder(env))
    leave(world, 60)
    with metered(world.clock) as meter, pytest.raises(TimedOut):
        ship.make(select(UP, only="image"))
    began = world.clock.now() - ImageExists.timeout
    assert "Cluster API needs some: next look in 30 s" in "\n".join(ship.recorder.heard)
    assert meter.in_all("Hetzner", began, began + 240) <= 3 * 9, "three each half a minute"
    assert meter.in_all("Hetzner", began + 600, began + 840) >= 3 * 16, "as often as ever when enough have come back"


def test_calls_that_are_used_up_are_waited_for_and_not_asked_for(world: LabWorld) -> None:
    ship = Ship(world)
    world.fault("rate-limit", {"api": "hetzner", "agent": "tallship"}, times=0)
    with metered(world.clock) as meter, pytest.raises(TimedOut) as caught:
        ship.make(select(UP, only="preflight"))
    assert "rate_limit_exceeded); asked again in 30 s" in caught.value.detail
    assert "3600 calls an hour" in caught.value.hint
    assert meter.worst_minute("Hetzner", 0, world.clock.now()) <= 3


def test_a_change_that_meets_used_up_calls_is_made_when_there_are_some_again(world: LabWorld) -> None:
    ship = Ship(world)
    world.fault("rate-limit", {"route": "POST /firewalls", "agent": "tallship"}, times=5)
    began = world.clock.now()
    ship.make(select(UP, only="firewall"))
    assert world.clock.now() - began >= 5 * 30
    assert any("asked again in 30 s" in line for line in ship.recorder.heard)


def test_watching_leaves_most_calls_to_the_controllers(done: Ship) -> None:
    looks = 3 * int(MINUTE / WATCH_SECONDS)
    with metered(done.world.clock) as meter, closing(done.env()) as env:
        began = done.world.clock.now()
        found = done.world.run(lambda: list(islice(watch(env, WATCH_SECONDS, HETZNER_SECONDS), looks)))
        ended = done.world.clock.now()
    assert len(found) == looks
    assert all(len(each.nodes) == 3 for each, _ in found)
    assert meter.in_all("Hetzner", began, ended) * HOUR / (ended - began) <= 360
    assert meter.worst_minute("Kubernetes", began, ended) <= 150


def test_a_log_that_is_silent_is_looked_at_less_often(done: Ship) -> None:
    with closing(done.env()) as env:
        lines = controller_logs.follow(env, "caph", 10, lambda _why: None)
        done.world.run(lambda: next(lines))
        made: Calls = env.management.calls
        began, before = done.world.clock.now(), made.total()
        done.world.run(lambda: [next(lines) for _ in range(40)])
        assert (made.total() - before) / (done.world.clock.now() - began) * MINUTE <= 30
