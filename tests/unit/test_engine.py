from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, ClassVar

import pytest

from tallship.engine import Lanes, Outcome, Run, Seen, State, Step, Surroundings, look, select
from tallship.errors import (
    ApiError,
    Interrupted,
    ManyErrors,
    SetupError,
    StepFailed,
    TimedOut,
    Unreachable,
)


class FakeClock:
    """Time passes only by sleeping; lanes run one after another."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> float:
        return self.seconds

    def today(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds

    def run_threads(self, bodies: Sequence[Callable[[], None]]) -> None:
        for body in bodies:
            body()


@dataclass
class Recorder:
    heard: list[str] = field(default_factory=list)

    def started(self, step: Step[Any]) -> None:
        self.heard.append(f"{step.name} started")

    def saw(self, step: Step[Any], seen: Seen) -> None:
        self.heard.append(f"{step.name} {seen.state.value}")

    def acting(self, step: Step[Any], seen: Seen) -> None:
        self.heard.append(f"{step.name} acting {seen.change}")

    def ended(self, step: Step[Any], outcome: Outcome) -> None:
        self.heard.append(f"{step.name} ended {outcome.state.value}")


@dataclass
class World(Surroundings):
    """What the steps of these tests look at: answers to give, in order; the last one is given for ever."""

    answers: dict[str, list[Seen | Exception]]
    acts: list[str] = field(default_factory=list)
    failures: list[Exception] = field(default_factory=list)
    is_silent: bool = False


class Scripted(Step[World]):
    timeout: ClassVar[float] = 60
    interval: ClassVar[float] = 2
    title = "A step"

    def probe(self, env: World) -> Seen:
        script = env.answers[self.name]
        answer = script.pop(0) if len(script) > 1 else script[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def act(self, env: World, seen: Seen) -> None:
        env.acts.append(f"{self.name}: {seen.change}")
        if env.failures:
            raise env.failures.pop(0)

    def explain(self, env: World) -> list[str]:
        if env.is_silent:
            raise Unreachable("nobody tells why")
        return ["evidence"]


class One(Scripted):
    name = "one"


class Two(Scripted):
    name = "two"


READY = Seen(State.READY)
MISSING = Seen(State.MISSING, change="make it")
WORKING = Seen(State.WORKING, "on its way")


def make(world: World, *flow: Any, timeout: float | None = None, stop: bool = False) -> tuple[list[Outcome], Recorder]:
    recorder = Recorder()
    run = Run(world, FakeClock(), recorder, timeout)
    if stop:
        run.stop.set()
    return run.make(flow or (One(),)), recorder


def test_a_ready_step_is_left_alone() -> None:
    world = World({"one": [READY]})
    outcomes, recorder = make(world)
    assert world.acts == []
    assert outcomes[0].acted == ()
    assert recorder.heard == ["one started", "one ended ready"]


def test_a_missing_step_acts_and_waits_until_it_is_ready() -> None:
    world = World({"one": [MISSING, WORKING, WORKING, READY]})
    outcomes, _ = make(world)
    assert world.acts == ["one: make it"]
    assert outcomes[0].seconds == 4


def test_a_change_is_made_at_most_once() -> None:
    world = World({"one": [MISSING, MISSING, MISSING, READY]})
    make(world)
    assert world.acts == ["one: make it"]


def test_each_distinct_change_is_made() -> None:
    world = World({"one": [MISSING, Seen(State.MISSING, change="the rest"), READY]})
    make(world)
    assert world.acts == ["one: make it", "one: the rest"]


def test_a_broken_step_stops_with_its_evidence() -> None:
    world = World({"one": [Seen(State.BROKEN, "two of them", hint="look")]})
    with pytest.raises(StepFailed) as failed:
        make(world)
    assert (failed.value.message, failed.value.detail, failed.value.hint) == ("two of them", "evidence", "look")
    assert world.acts == []


def test_a_blocked_step_never_acts() -> None:
    with pytest.raises(SetupError, match="needs `two` first"):
        make(World({"one": [Seen(State.BLOCKED, "needs `two` first")]}))


def test_a_late_step_tells_what_it_saw_last() -> None:
    with pytest.raises(TimedOut) as late:
        make(World({"one": [WORKING]}))
    assert late.value.exit_code == 3
    assert late.value.detail == "on its way\nevidence"


def test_the_time_of_the_whole_run_is_bounded() -> None:
    clock_limit = 10
    with pytest.raises(TimedOut, match="after 10 s"):
        make(World({"one": [WORKING]}), timeout=clock_limit)


def test_an_unreachable_server_counts_as_working_after_the_step_acted() -> None:
    silence: list[Seen | Exception] = [Unreachable("nobody answers")] * 15
    world = World({"one": [MISSING, *silence, READY]})
    outcomes, _ = make(world)
    assert outcomes[0].state is State.READY


def test_an_unreachable_server_is_an_error_when_nothing_was_done() -> None:
    with pytest.raises(Unreachable):
        make(World({"one": [Unreachable("nobody answers")]}))


def test_a_step_that_only_waits_goes_on_through_a_moments_silence() -> None:
    silence: list[Seen | Exception] = [Unreachable("nobody answers")] * 5
    outcomes, recorder = make(World({"one": [*[WORKING] * 10, *silence, READY]}))
    assert outcomes[0].state is State.READY
    assert recorder.heard.count("one working") == 15


def test_a_step_that_waits_for_the_silent_is_late() -> None:
    with pytest.raises(TimedOut) as caught:
        make(World({"one": [WORKING, Unreachable("nobody answers")]}))
    assert "nobody answers" in caught.value.detail


def test_a_late_step_is_late_even_where_nobody_tells_why() -> None:
    with pytest.raises(TimedOut, match="not there yet") as caught:
        make(World({"one": [WORKING]}, is_silent=True))
    assert "nobody tells why" in caught.value.detail


def test_a_passing_error_of_an_act_is_tried_again_after_a_look() -> None:
    world = World({"one": [MISSING, MISSING, READY]}, failures=[Unreachable("reset")])
    make(world)
    assert world.acts == ["one: make it", "one: make it"]


def test_an_act_whose_answer_was_lost_is_not_repeated_when_the_probe_sees_its_work() -> None:
    world = World({"one": [MISSING, READY]}, failures=[Unreachable("reset after the server acted")])
    make(world)
    assert world.acts == ["one: make it"]


def test_a_lasting_error_of_an_act_stops_the_run() -> None:
    world = World({"one": [MISSING]}, failures=[ApiError("no", code="forbidden")])
    with pytest.raises(ApiError):
        make(world)
    assert len(world.acts) == 1


def test_the_wish_to_stop_is_heeded_at_the_next_wait() -> None:
    with pytest.raises(Interrupted) as stopped:
        make(World({"one": [WORKING]}), stop=True)
    assert stopped.value.exit_code == 130


def test_all_errors_of_lanes_are_shown() -> None:
    broken = Seen(State.BROKEN, "bad")
    world = World({"one": [broken], "two": [broken]})
    with pytest.raises(ManyErrors) as many:
        make(world, Lanes(((One(),), (Two(),))))
    assert len(many.value.errors) == 2


def test_a_lane_stops_when_one_beside_it_fails() -> None:
    world = World({"one": [Seen(State.BROKEN, "bad")], "two": [WORKING]})
    with pytest.raises(StepFailed, match="bad"):
        make(world, Lanes(((One(),), (Two(),))))


def test_look_touches_nothing_and_sees_everything() -> None:
    world = World({"one": [MISSING], "two": [Unreachable("nobody answers")]})
    found = look((One(), Two()), world, FakeClock())
    assert [(each.name, each.state) for each in found] == [("one", State.MISSING), ("two", State.BLOCKED)]
    assert world.acts == []


def test_a_flow_can_be_cut() -> None:
    flow = (One(), Lanes(((Two(),),)))
    assert select(flow, only="one") == (flow[0],)
    assert select(flow, first="two") == (flow[1],)
    assert select(flow, last="one") == (flow[0],)
    with pytest.raises(SetupError, match="there is no step `three`"):
        select(flow, only="three")
    with pytest.raises(SetupError, match="comes after"):
        select(flow, first="two", last="one")


def test_lanes_run_in_threads_of_the_clock() -> None:
    seen: list[str] = []

    class Threads(FakeClock):
        def run_threads(self, bodies: Sequence[Callable[[], None]]) -> None:
            seen.append(f"{len(bodies)} threads")
            threads = [threading.Thread(target=body) for body in bodies]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

    world = World({"one": [READY], "two": [READY]})
    Run(world, Threads(), Recorder()).make((Lanes(((One(),), (Two(),))),))
    assert seen == ["2 threads"]


def looks(world: World, timeout: float | None = None) -> list[float]:
    """Return when each probe looked, until the step was late."""
    clock, seen = FakeClock(), []

    class Watched(Scripted):
        name = "one"
        timeout: ClassVar[float] = 600

        def probe(self, env: World) -> Seen:
            seen.append(clock.now())
            return super().probe(env)

    with pytest.raises(TimedOut):
        Run(world, clock, Recorder(), timeout).make((Watched(),))
    return seen


def test_what_does_not_change_is_looked_at_less_and_less_often() -> None:
    seen = looks(World({"one": [WORKING]}))
    pauses = [round(later - before, 6) for before, later in itertools.pairwise(seen)]
    assert pauses[:10] == [2.0] * 10
    assert pauses[:-1] == sorted(pauses[:-1])
    assert max(pauses) == 15
    assert len(seen) < 80, "with two seconds each it were 301"


def test_what_changes_is_looked_at_often_again() -> None:
    slow = len(looks(World({"one": [WORKING]}), timeout=300))
    script: list[Seen | Exception] = [*[WORKING] * slow, *[Seen(State.WORKING, "another")] * 3, WORKING]
    seen = looks(World({"one": script}))
    assert seen[slow + 1] - seen[slow] == 2


def test_the_last_look_is_when_time_is_up() -> None:
    assert looks(World({"one": [WORKING]}), timeout=333)[-1] == 333


def test_a_wish_to_stop_is_heeded_within_a_long_pause() -> None:
    clock, world = FakeClock(), World({"one": [WORKING]})
    run = Run(world, clock, Recorder())
    sleep = clock.sleep

    def asked(seconds: float) -> None:
        sleep(seconds)
        if clock.now() > 40:
            run.stop.set()

    clock.sleep = asked  # type: ignore[method-assign]
    with pytest.raises(Interrupted):
        run.make((One(),))
    assert clock.now() <= 42


def test_a_change_that_was_refused_for_coming_too_soon_is_tried_as_often_as_there_is_time() -> None:
    refused = ApiError("too many calls", may_pass=True, again_after=15)
    world = World({"one": [MISSING, MISSING, MISSING, MISSING, MISSING, READY]}, failures=[refused] * 4)
    clock, recorder = FakeClock(), Recorder()
    told: list[str] = []
    recorder.saw = lambda step, seen: told.append(seen.detail)  # type: ignore[method-assign]
    Run(world, clock, recorder).make((One(),))
    assert len(world.acts) == 5
    assert clock.now() == 60
    assert "too many calls; asked again in 15 s" in told


def test_one_that_is_refused_for_ever_is_late_and_says_so() -> None:
    refused = ApiError("too many calls", hint="wait", may_pass=True, again_after=15)
    with pytest.raises(TimedOut) as caught:
        make(World({"one": [MISSING]}, failures=[refused] * 99))
    assert "too many calls" in caught.value.detail
    assert caught.value.hint == "wait"


def test_a_first_look_that_was_refused_for_coming_too_soon_is_not_the_end() -> None:
    refused: list[Seen | Exception] = [ApiError("too many calls", may_pass=True, again_after=15)] * 3
    outcomes, _ = make(World({"one": [*refused, READY]}))
    assert outcomes[0].seconds == 45


def test_a_run_slows_down_and_says_why_where_it_is_asked_to() -> None:
    world = World({"one": [WORKING, READY]})
    world.brake = lambda: (20.0, "others need it too")  # type: ignore[method-assign]
    told: list[str] = []
    recorder = Recorder()
    recorder.saw = lambda step, seen: told.append(seen.detail)  # type: ignore[method-assign]
    clock = FakeClock()
    Run(world, clock, recorder).make((One(),))
    assert clock.now() == 20
    assert told == ["on its way", "on its way; others need it too"]


def test_what_was_seen_before_a_silence_is_in_the_verdict() -> None:
    with pytest.raises(TimedOut) as caught:
        make(World({"one": [WORKING, Unreachable("nobody answers")]}))
    assert caught.value.detail == "nobody answers\nseen before that: on its way\nevidence"
