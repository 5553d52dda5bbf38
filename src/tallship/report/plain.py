"""Progress where nobody watches a terminal: one line for each thing that happens."""

from __future__ import annotations

import threading
from typing import Any, TextIO

from tallship.engine import Clock, Outcome, Seen, State, Step
from tallship.report.visible import visible

STILL_SECONDS = 60.0
"""After so long without a word the last one is said again."""


class Plain:
    """Writes a line when a step starts a change, when what it sees changes, each minute while not, and when it ends."""

    def __init__(self, stream: TextIO, clock: Clock) -> None:
        self._stream = stream
        self._clock = clock
        self._began = clock.now()
        self._last: dict[str, str] = {}
        self._said: dict[str, float] = {}
        """When a line about a step was written last, or it began."""
        self._lock = threading.Lock()

    def started(self, step: Step[Any]) -> None:
        """Say nothing yet: most steps of a second run are ready at once."""
        self._said[step.name] = self._clock.now()

    def saw(self, step: Step[Any], seen: Seen) -> None:
        """Write what the step waits for, once for each new detail, and each minute that it still does."""
        now = self._clock.now()
        if seen.detail and self._last.get(step.name) != seen.detail:
            self._last[step.name] = seen.detail
            self._write(step.name, seen.detail)
        elif now - self._said.get(step.name, now) >= STILL_SECONDS:
            still = self._last.get(step.name) or seen.change
            self._write(step.name, f"still {still} (late after {step.timeout:.0f} s)")

    def acting(self, step: Step[Any], seen: Seen) -> None:
        """Write the change that begins."""
        self._write(step.name, f"-> {seen.change or step.title}")

    def ended(self, step: Step[Any], outcome: Outcome) -> None:
        """Write how the step ended."""
        mark = "ok" if outcome.state is State.READY else "failed"
        self._write(step.name, f"{mark}{': ' + outcome.detail if outcome.detail else ''} ({outcome.seconds:.0f} s)")

    def close(self) -> None:
        """Nothing is left open."""

    def _write(self, name: str, text: str) -> None:
        with self._lock:
            self._said[name] = self._clock.now()
            self._stream.write(f"{self._clock.now() - self._began:7.1f} s  {name:<12} {visible(text)}\n")
            self._stream.flush()


class Silent:
    """Says nothing (`--quiet`)."""

    def started(self, step: Step[Any]) -> None:
        """Say nothing."""

    def saw(self, step: Step[Any], seen: Seen) -> None:
        """Say nothing."""

    def acting(self, step: Step[Any], seen: Seen) -> None:
        """Say nothing."""

    def ended(self, step: Step[Any], outcome: Outcome) -> None:
        """Say nothing."""

    def close(self) -> None:
        """Nothing is left open."""
