"""The log file and the journal of a run: for people and diagnosis, never read for a decision."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

from tallship.engine import Clock, Outcome, Reporter, Seen, Step


class Journal:
    """Writes one JSON line for each thing that happens, and passes it on to another reporter."""

    def __init__(self, path: Path, clock: Clock, audience: Reporter) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._file = os.fdopen(descriptor, "a", encoding="utf-8")
        self._clock = clock
        self._audience = audience
        self._lock = threading.Lock()

    def started(self, step: Step[Any]) -> None:
        """A step begins."""
        self._write(step, "started")
        self._audience.started(step)

    def saw(self, step: Step[Any], seen: Seen) -> None:
        """A probe answered, and the step is not done."""
        self._write(step, "saw", state=seen.state.value, detail=seen.detail, change=seen.change)
        self._audience.saw(step, seen)

    def acting(self, step: Step[Any], seen: Seen) -> None:
        """A change is about to be made."""
        self._write(step, "acting", change=seen.change)
        self._audience.acting(step, seen)

    def ended(self, step: Step[Any], outcome: Outcome) -> None:
        """A step ended."""
        seconds = round(outcome.seconds, 3)
        self._write(step, "ended", state=outcome.state.value, detail=outcome.detail, seconds=seconds)
        self._audience.ended(step, outcome)

    def note(self, event: str, **facts: Any) -> None:
        """Write a line that belongs to no step."""
        self._line({"event": event, **facts})

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _write(self, step: Step[Any], event: str, **facts: Any) -> None:
        self._line({"step": step.name, "event": event, **facts})

    def _line(self, facts: dict[str, Any]) -> None:
        with self._lock:
            self._file.write(json.dumps({"at": self._clock.today().isoformat(), **facts}) + "\n")
            self._file.flush()
