"""One program of a plane as its supervisor sees it: started, waited for, ended, and started again."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from enum import StrEnum
from typing import Any

from tallship.localplane.files import Layout
from tallship.localplane.processes import started_at
from tallship.localplane.program import Program

END_SECONDS = 15.0
"""How long a program may take to end after SIGTERM before it is killed (an API server: 3 s, etcd up to 8 s)."""

FIRST_REST_SECONDS, LONGEST_REST_SECONDS = 0.25, 30.0
STEADY_SECONDS = 60.0
"""After so long a program's earlier failures no longer count."""

_LOG_BYTES = 16 * 2**20
_PR_SET_PDEATHSIG = 1  # prctl(2)
_libc = ctypes.CDLL(None)


class State(StrEnum):
    """What a program is doing."""

    WAITING = "waiting"
    """for the programs that come before it"""
    STARTING = "starting"
    READY = "ready"
    ENDING = "ending"
    RESTING = "resting"
    """it failed, and is started again a little later"""


class Child:
    """A program, its process and its failures."""

    def __init__(self, program: Program, layout: Layout) -> None:
        self.program = program
        self.state = State.WAITING
        self.restarts = 0
        self._layout = layout
        self._process: subprocess.Popen[bytes] | None = None
        self._started = ""
        self._failures = 0
        self._last_end = ""
        self._why = ""
        self._since = time.monotonic()

    @property
    def is_alive(self) -> bool:
        """True while there is a process that has not ended."""
        return self._process is not None

    @property
    def pause(self) -> float:
        """How many seconds may pass before it must be looked at again, if no signal comes."""
        if self.state in (State.STARTING, State.ENDING):
            return 0.05
        if self.state is State.RESTING:
            return max(0.0, self._since + self._rest - time.monotonic())
        return 60.0

    @property
    def _rest(self) -> float:
        return min(LONGEST_REST_SECONDS, FIRST_REST_SECONDS * 2.0 ** (self._failures - 1))

    def facts(self) -> dict[str, Any]:
        """Return what the supervisor publishes of it."""
        process = self._process
        return {
            "state": self.state.value,
            "pid": 0 if process is None else process.pid,
            "started": self._started,
            "restarts": self.restarts,
            "failures": self._failures,
            "last_end": self._last_end,
            "description": self.program.mark,
        }

    def look(self, may_start: Callable[[Program], bool]) -> None:
        """Do what is due; never waits, but for a probe's answer."""
        if self._process is not None and (status := self._process.poll()) is not None:
            self._ended(status)
        if self.state is State.RESTING and self.pause == 0:
            self._become(State.WAITING)
        if self.state is State.WAITING and may_start(self.program):
            self._start()
        elif self.state is State.STARTING:
            self._look_at_start()
        elif self.state is State.ENDING and time.monotonic() > self._since + END_SECONDS:
            self._signal(signal.SIGKILL)

    def end(self, because: str = "") -> None:
        """Ask it to end."""
        if self._process is not None and self.state is not State.ENDING:
            self._why = because
            self._signal(signal.SIGTERM)
            self._become(State.ENDING)

    def rotate_log(self) -> None:
        """Put a long log aside; what was aside before is lost. The process goes on writing to the same file."""
        log = self._layout.log(self.program.name)
        if log.exists() and log.stat().st_size > _LOG_BYTES:
            shutil.copyfile(log, log.with_suffix(".log.1"))
            os.truncate(log, 0)

    def _start(self) -> None:
        if self._last_end:
            self.restarts += 1
        home = str(self._layout.home)
        fixed = {"PATH": os.defpath, "HOME": home, "TMPDIR": home}
        try:
            with self._layout.open_log(self.program.name) as log:
                self._process = subprocess.Popen(
                    self.program.argv,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=home,
                    env={**fixed, **self.program.environment},
                    preexec_fn=_end_with(os.getpid()),
                )
        except OSError as error:
            self._failed(str(error))
            return
        self._started = started_at(self._process.pid)
        self._become(State.STARTING if self.program.probe else State.READY)

    def _look_at_start(self) -> None:
        probe = self.program.probe
        if probe is None or probe.answers():
            self._become(State.READY)
        elif time.monotonic() > self._since + self.program.ready_seconds:
            self.end(f"not ready after {self.program.ready_seconds:.0f} s")

    def _ended(self, status: int) -> None:
        self._process, self._started = None, ""
        if self.state is State.READY and time.monotonic() > self._since + STEADY_SECONDS:
            self._failures = 0
        word = f"signal {-status}" if status < 0 else f"exit code {status}"
        self._failed(self._why or word)
        self._why = ""

    def _failed(self, word: str) -> None:
        self._failures += 1
        self._last_end = word
        self._become(State.RESTING)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def _become(self, state: State) -> None:
        self.state, self._since = state, time.monotonic()


def _end_with(supervisor: int) -> Callable[[], None]:
    """Return what makes a new process die with its supervisor, so that none is ever left without one."""

    def prepare() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != supervisor:
            os._exit(1)

    return prepare
