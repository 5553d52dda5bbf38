"""One program under supervision: how it is ended, how long it rests, what happens to its log."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tallship.localplane import child as child_module
from tallship.localplane.child import Child, State
from tallship.localplane.files import Layout
from tallship.localplane.program import Program

WAIT_SECONDS = 20.0


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout(tmp_path / "plane")
    made.make()
    return made


def look_until(child: Child, claim: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not claim():
        assert time.monotonic() < deadline, f"it did not come true: {child.facts()}"
        child.look(lambda program: True)
        time.sleep(0.01)


def test_rest_doubles_with_each_failure_up_to_a_longest(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_module, "FIRST_REST_SECONDS", 0.02)
    monkeypatch.setattr(child_module, "LONGEST_REST_SECONDS", 0.08)
    child = Child(Program("one", ("/bin/false",)), layout)
    rests = []
    for failures in range(1, 5):
        look_until(child, lambda failures=failures: child.facts()["failures"] == failures)  # type: ignore[misc]
        assert child.pause <= child._rest
        rests.append(child._rest)
    assert rests == pytest.approx([0.02, 0.04, 0.08, 0.08])
    assert child.facts()["last_end"] == "exit code 1"


def test_failures_of_long_ago_do_not_count(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_module, "STEADY_SECONDS", 0.0)
    child = Child(Program("one", ("/bin/false",)), layout)
    look_until(child, lambda: child.restarts == 2 and child.state is State.RESTING)
    assert child.facts()["failures"] == 1


def test_program_that_does_not_end_is_killed(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_module, "END_SECONDS", 0.0)
    deaf = "trap '' TERM; echo deaf; while :; do sleep 0.1; done"
    child = Child(Program("one", ("/bin/sh", "-c", deaf)), layout)
    look_until(child, lambda: layout.log("one").exists() and layout.log("one").read_text() == "deaf\n")
    child.end()
    look_until(child, lambda: not child.is_alive)
    assert child.facts()["last_end"] == "signal 9"


def test_program_that_is_not_there_is_told(layout: Layout) -> None:
    child = Child(Program("one", (str(layout.folder / "nothing"),)), layout)
    look_until(child, lambda: child.state is State.RESTING)
    assert "No such file" in child.facts()["last_end"]


def test_long_log_is_put_aside_while_it_is_written(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_module, "_LOG_BYTES", 4)
    child = Child(
        Program("one", ("/bin/sh", "-c", "echo before; read line <$HOME/gate; echo after; sleep 1000")), layout
    )
    gate = layout.home / "gate"
    os.mkfifo(gate)
    log = layout.log("one")
    look_until(child, lambda: log.exists() and log.read_text() == "before\n")
    child.rotate_log()
    gate.write_text("go\n")
    look_until(child, lambda: log.read_text() == "after\n")
    assert log.with_suffix(".log.1").read_text() == "before\n"
    child.end()
    look_until(child, lambda: not child.is_alive)
