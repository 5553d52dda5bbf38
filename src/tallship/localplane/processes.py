"""Processes by number and start time, and ports that nobody listens on."""

from __future__ import annotations

import errno
import os
import random
import signal
import socket
import time
from collections.abc import Iterable
from pathlib import Path

PORTS = range(23000, 30000)
"""Below the ports that Linux gives to clients (32768 and up), so that a restart finds its own ports free."""

_TRIES = 200
_LOOK_SECONDS = 0.02


def started_at(pid: int) -> str:
    """Return when a process started, in the kernel's own count; empty when there is no such process."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if state[0] in "ZX" else state[19]  # field 22 of proc(5), after the name in brackets


def is_running(pid: int, started: str) -> bool:
    """True while that very process runs (a number alone may belong to another one by now)."""
    return bool(started) and started_at(pid) == started


def send(pid: int, started: str, number: signal.Signals) -> None:
    """Send a signal to that very process; nothing happens when it is gone."""
    if is_running(pid, started):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return


def gone(pid: int, started: str, seconds: float) -> bool:
    """True as soon as that very process has ended; False when it has not after so many seconds."""
    deadline = time.monotonic() + seconds
    while is_running(pid, started):
        if time.monotonic() > deadline:
            return False
        time.sleep(_LOOK_SECONDS)
    return True


def is_free(address: str, port: int) -> bool:
    """True when nobody listens there and this user may. Raises OSError for an address that is not of this machine."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                return False
            raise
    return True


def free_port(address: str, taken: Iterable[int] = ()) -> int:
    """Return a port that is free now and not among the taken ones. Raises OSError when none is found."""
    for port in random.sample(PORTS, _TRIES):
        if port not in taken and is_free(address, port):
            return port
    raise OSError(errno.EADDRINUSE, f"no free port at {address} between {PORTS.start} and {PORTS.stop}")
