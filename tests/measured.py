"""A program as a process of its own: the most memory that it has had, and what it took of the processor."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROGRAM = str(Path(sys.executable).parent / "tallship")
SECONDS = 100.0
MOST_MB = 150
"""What a command may have at most, however much there is to read."""

# A process inherits the peak of who starts it, so somebody small stands between.
_BETWEEN = """
import json, os, sys
own = os.spawnv(os.P_NOWAIT, sys.argv[2], sys.argv[2:])
_, status, usage = os.wait4(own, 0)
with open(sys.argv[1], "w") as file:
    json.dump([os.waitstatus_to_exitcode(status), usage.ru_maxrss, usage.ru_utime + usage.ru_stime], file)
"""


@dataclass(frozen=True)
class Measured:
    """How a process ended."""

    code: int
    peak_mb: float
    seconds: float
    """Of the processor, in the process itself."""
    out: str
    err: str

    @property
    def data(self) -> dict[str, Any]:
        """The `data` of the envelope."""
        found: dict[str, Any] = json.loads(self.out)["data"]
        return found


def tallship(folder: Path, environment: Mapping[str, str], *words: str) -> Measured:
    """Run `tallship` to its end in a folder."""
    return run([PROGRAM, *words], folder, environment)


def run(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> Measured:
    """Run a program to its end in a folder."""
    told = folder / "measured.json"
    done = subprocess.run(
        [sys.executable, "-S", "-c", _BETWEEN, str(told), *command],
        cwd=folder,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=True,
    )
    code, peak_kb, seconds = json.loads(told.read_text())
    return Measured(code, peak_kb / 1024, seconds, done.stdout, done.stderr)
