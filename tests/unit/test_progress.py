"""What a person sees of a run that waits: the reason, whole, and when it is given up."""

from __future__ import annotations

import io

import pytest
from test_engine import FakeClock

from tallship.engine import Outcome, Seen, State, Step
from tallship.report.console import TidyConsole
from tallship.report.live import Live
from tallship.report.plain import Plain

REASON = "k8s-control-plane-5kjlp is being made; etcd has 3 members; the new server does not answer"


class Waiting(Step[None]):
    """Something takes its time."""

    name = "wait"
    title = "Wait for something"


class Minutes(FakeClock):
    """A clock of which each look at it is a quarter of a minute later."""

    def now(self) -> float:
        self.seconds += 15
        return self.seconds


def test_plain_progress_says_each_minute_that_it_still_waits() -> None:
    file = io.StringIO()
    plain = Plain(file, Minutes())
    for _ in range(10):
        plain.saw(Waiting(), Seen(State.WORKING, REASON))
    first, *still = file.getvalue().splitlines()
    assert first.endswith(f"wait         {REASON}")
    assert 1 <= len(still) <= 3
    assert all(each.endswith(f"still {REASON} (late after 300 s)") for each in still)


def test_plain_progress_does_not_say_still_of_a_step_that_has_just_begun() -> None:
    file, clock = io.StringIO(), FakeClock()
    plain = Plain(file, clock)
    clock.seconds = 600
    plain.started(Waiting())
    plain.saw(Waiting(), Seen(State.MISSING, change="make it"))
    assert file.getvalue() == ""


@pytest.mark.parametrize("width", [80, 200])
def test_live_progress_shows_the_whole_reason_and_when_a_long_wait_is_given_up(width: int) -> None:
    file, clock = io.StringIO(), FakeClock()
    live, step = Live(TidyConsole(file=file, width=width, force_terminal=True, no_color=True), clock), Waiting()
    live.started(step)
    live.saw(step, Seen(State.WORKING, REASON))
    live._live.refresh()
    assert "late after" not in file.getvalue()
    clock.seconds = 61
    live._live.refresh()
    live.close()
    words = f"{REASON}; late after 300 s".replace("-", " ").split()
    assert [word for word in words if word not in file.getvalue()] == []


@pytest.mark.parametrize("width", [60, 80, 200])
def test_a_finished_step_is_one_line_with_its_mark_and_its_time(width: int) -> None:
    file = io.StringIO()
    live = Live(TidyConsole(file=file, width=width, force_terminal=True, no_color=True), FakeClock())
    live.started(Waiting())
    live.ended(Waiting(), Outcome("wait", "Wait for something", State.READY, REASON, (), 77.0))
    live.close()
    (line,) = (each for each in file.getvalue().splitlines() if "77 s" in each)
    assert "✓ Wait for something" in line
    assert REASON[:6] in line
