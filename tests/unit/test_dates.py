"""Who waits counts the seconds that pass, and never looks at the date."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tallship.engine import Outcome, Run, Seen, State, Step, Surroundings
from tallship.env import SystemClock
from tallship.errors import TimedOut, Unreachable
from tallship.ops.node_list import look_at_etcd
from tallship.report.journal import Journal
from tallship.report.plain import Silent


class Dateless:
    """Time passes only by sleeping; whoever asks for the date is wrong."""

    seconds = 0.0

    def now(self) -> float:
        return self.seconds

    def today(self) -> datetime:
        raise AssertionError("somebody looks at the date")

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds

    def run_threads(self, bodies: Sequence[Callable[[], None]]) -> None:
        for body in bodies:
            body()


class Waiting(Step[Surroundings]):
    """Something is never so."""

    name = "wait"
    title = "Wait"
    timeout = 60

    def probe(self, env: Surroundings) -> Seen:
        return Seen(State.WORKING, "on its way")


def test_a_step_is_late_by_the_seconds_that_have_passed() -> None:
    clock = Dateless()
    with pytest.raises(TimedOut, match="60 s"):
        Run(Surroundings(), clock, Silent()).make((Waiting(),))
    assert clock.seconds == 60


def test_real_seconds_pass_whatever_the_date_is(monkeypatch: pytest.MonkeyPatch) -> None:
    class Other(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
            return datetime(1999, 1, 1, tzinfo=tz)

    clock = SystemClock()
    before = clock.now()
    monkeypatch.setattr("tallship.env.datetime", Other)
    assert clock.today().year == 1999
    assert 0 <= clock.now() - before < 3600


class Calendar(Dateless):
    """Dates that go forwards and backwards."""

    def __init__(self, *days: int) -> None:
        self._days = list(days)

    def today(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=self._days.pop(0))


def test_a_journal_of_the_same_name_is_gone_on_with_when_the_clock_goes_back(tmp_path: Path) -> None:
    path = tmp_path / "20260101-000000-1.jsonl"
    for days in ((3, -400), (0, 4)):
        journal = Journal(path, Calendar(*days), Silent())
        journal.note("calls", hetzner=1)
        journal.ended(Waiting(), Outcome("wait", "Wait", State.READY, "", (), 1.0, ""))
        journal.close()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["at"][:10] for line in lines] == ["2026-01-04", "2024-11-27", "2026-01-01", "2026-01-05"]


class SilentTalos:
    """Takes ten seconds to say nothing."""

    def __init__(self, clock: Dateless) -> None:
        self.asked: list[str] = []
        self._clock = clock

    def members(self, node: str) -> list[Any]:
        self.asked.append(node)
        self._clock.sleep(10)
        raise Unreachable(f"Talos on {node} cannot be reached")

    def etcd_status(self, nodes: list[str]) -> dict[str, Any]:
        return {}

    services = stage = etcd_status


def test_silent_control_planes_are_asked_for_half_a_minute_and_not_for_ever() -> None:
    clock = Dateless()
    talos: Any = SilentTalos(clock)
    env: Any = SimpleNamespace(clock=clock)
    nodes = [
        {
            "metadata": {"name": f"node-{number}", "labels": {"node-role.kubernetes.io/control-plane": ""}},
            "status": {"addresses": [{"type": "InternalIP", "address": f"10.0.0.{number}"}]},
        }
        for number in range(1, 10)
    ]
    view = look_at_etcd(env, nodes, talos)
    assert talos.asked == ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"]
    assert len(view.unseen) == 4
