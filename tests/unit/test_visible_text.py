"""What others wrote reaches a person as it is, and never speaks to the terminal."""

from __future__ import annotations

import io
from dataclasses import dataclass, field

import pytest
from rich.text import Text

from tallship.engine import Outcome, Seen, State, Step
from tallship.env import SystemClock
from tallship.errors import StepFailed
from tallship.report.answer import print_error
from tallship.report.console import TidyConsole
from tallship.report.live import Live
from tallship.report.plain import Plain
from tallship.report.tables import facts_table, plan_table, steps_table
from tallship.report.visible import visible

HOSTILE = "\x1b[2J\x1b]0;owned\x07 \r\x9b31m \u202egnp.exe [/] [red]node[/red] :smile: \x00"
SEEN = "\\x1b[2J\\x1b]0;owned\\x07 \\r\\x9b31m \\u202egnp.exe [/] [red]node[/red] :smile: \\x00"


@dataclass
class Paper:
    """A console and what it wrote."""

    is_terminal: bool = False
    file: io.StringIO = field(default_factory=io.StringIO)

    def console(self) -> TidyConsole:
        return TidyConsole(file=self.file, width=200, force_terminal=self.is_terminal, no_color=True)


class Waiting(Step[None]):
    """Something takes its time."""

    name = "wait"
    title = "Wait"


def outcome(text: str) -> Outcome:
    return Outcome("wait", "Wait", State.MISSING, text, (text,), 2.0, text)


def test_every_character_can_be_seen() -> None:
    assert visible(HOSTILE) == SEEN
    assert visible("größer\n\t✓ 漢字") == "größer\n\t✓ 漢字"


@pytest.mark.parametrize(
    "part",
    [
        HOSTILE,
        Text(HOSTILE),
        steps_table([outcome(HOSTILE)]),
        plan_table([outcome(HOSTILE)]),
        facts_table([("node", HOSTILE)]),
    ],
)
def test_nothing_that_is_shown_speaks_to_a_pipe(part: object) -> None:
    paper = Paper()
    paper.console().print(part)
    written = paper.file.getvalue()
    assert written.replace("\n", "").isprintable()
    assert "[red]node[/red] :smile:" in written
    assert "\\x1b[2J" in written


def test_an_error_is_shown_in_full() -> None:
    paper = Paper()
    print_error(paper.console(), StepFailed(HOSTILE, detail=HOSTILE, hint=HOSTILE), None)
    assert paper.file.getvalue().count("\\x1b]0;owned") == 3
    assert paper.file.getvalue().replace("\n", "").isprintable()


def test_live_progress_writes_only_its_own_sequences() -> None:
    paper = Paper(is_terminal=True)
    live, step = Live(paper.console(), SystemClock()), Waiting()
    live.started(step)
    live.saw(step, Seen(State.WORKING, HOSTILE))
    live.ended(step, outcome(HOSTILE))
    live.close()
    written = paper.file.getvalue()
    assert "\\x1b]0;owned" in written
    assert not {"\x1b]0;owned", "\x1b[2J", "\x07", "\x9b", "\u202e", "\x00"} & {
        each for each in ("\x1b]0;owned", "\x1b[2J", "\x07", "\x9b", "\u202e", "\x00") if each in written
    }


def test_plain_progress_is_one_line_for_each_thing() -> None:
    file = io.StringIO()
    plain = Plain(file, SystemClock())
    plain.saw(Waiting(), Seen(State.WORKING, HOSTILE))
    plain.acting(Waiting(), Seen(State.MISSING, change=HOSTILE))
    assert file.getvalue().replace("\n", "").isprintable()
    assert file.getvalue().count("\n") == 2
