"""Progress for a person at a terminal: finished steps scroll up, running ones move at the bottom."""

from __future__ import annotations

import threading
from typing import Any

from rich.console import Console, Group
from rich.live import Live as RichLive
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from tallship.engine import Clock, Outcome, Seen, State, Step

TITLE_WIDTH = 40
FRAME_SECONDS = 1 / 12
LONG_SECONDS = 60.0
"""Who waits longer is told when it is given up."""


class Live:
    """Draws on the console of stderr."""

    def __init__(self, console: Console, clock: Clock) -> None:
        self._console = console
        self._clock = clock
        self._lock = threading.Lock()
        self._running: dict[str, _Row] = {}
        self._live = RichLive(Group(), console=console, auto_refresh=False, transient=True)
        self._live.start()
        self._closed = threading.Event()
        self._frames = threading.Thread(target=self._refresh, daemon=True)
        self._frames.start()

    def started(self, step: Step[Any]) -> None:
        """Add a moving line for the step."""
        with self._lock:
            self._running[step.name] = _Row(step, self._clock)
            self._draw()

    def saw(self, step: Step[Any], seen: Seen) -> None:
        """Show what the step waits for."""
        self._set(step, seen.detail)

    def acting(self, step: Step[Any], seen: Seen) -> None:
        """Show the change that begins."""
        self._set(step, seen.change)

    def ended(self, step: Step[Any], outcome: Outcome) -> None:
        """Turn the moving line into a finished one."""
        with self._lock:
            self._running.pop(step.name, None)
            self._draw()
            self._console.print(_finished(outcome))

    def close(self) -> None:
        """Remove the moving part from the screen."""
        self._closed.set()
        self._frames.join()
        self._live.stop()

    def _set(self, step: Step[Any], detail: str) -> None:
        with self._lock:
            if step.name in self._running and detail:
                self._running[step.name].detail = detail
                self._draw()

    def _refresh(self) -> None:
        """Draw frames under the same lock as lines are printed: rich computes and writes a frame in two moves."""
        while not self._closed.wait(FRAME_SECONDS):
            with self._lock:
                self._live.refresh()

    def _draw(self) -> None:
        self._live.update(Group(*self._running.values()))


class _Row:
    """One moving line; measures its time when it is drawn."""

    def __init__(self, step: Step[Any], clock: Clock) -> None:
        self._title = step.title
        self._timeout = step.timeout
        self._clock = clock
        self._began = clock.now()
        self._spinner = Spinner("dots", style="cyan")
        self.detail = ""

    def __rich__(self) -> Table:
        line = _line()
        seconds = self._clock.now() - self._began
        late = f"late after {self._timeout:.0f} s" if seconds >= LONG_SECONDS else ""
        told = Text("; ".join(filter(None, (self.detail, late))), style="dim")
        line.add_row(self._spinner, Text(self._title), Text(f"{seconds:.0f} s", style="dim"), told)
        return line


def _finished(outcome: Outcome) -> Table:
    good = outcome.state is State.READY
    mark = Text("✓", style="green") if good else Text("✗", style="red")
    line = _line()
    seconds = Text(f"{outcome.seconds:.0f} s" if outcome.acted or outcome.seconds >= 1 else "", style="dim")
    detail = Text(outcome.detail, style="dim" if good else "red", no_wrap=True, overflow="ellipsis")
    line.add_row(mark, Text(outcome.title), seconds, detail)
    return line


def _line() -> Table:
    """Return an empty line, whose last part alone makes room where the screen is narrow."""
    table = Table.grid(padding=(0, 1))
    table.add_column(width=1, no_wrap=True)
    table.add_column(width=TITLE_WIDTH, no_wrap=True)
    table.add_column(width=6, no_wrap=True, justify="right")
    table.add_column(overflow="fold")
    return table
