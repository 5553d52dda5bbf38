"""Answers that are whole in time: one who trickles is cut off, however soon each byte comes after the one before."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic as now

SECONDS = 60.0
"""How long the body of one answer of an API may take."""
CHUNK = 64 * 1024


class Late(TimeoutError):
    """The answer was not whole in time."""


class Clockwork:
    """Raises Late when it is asked after the time is up."""

    def __init__(self, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._late = now() + seconds

    def heed(self) -> None:
        """Raise Late when the time is up."""
        if now() > self._late:
            raise Late(f"the answer was not whole after {self._seconds:.0f} s")


def body(read: Callable[[int], bytes], limit: int, seconds: float = SECONDS) -> bytes:
    """Return what `read` gives until it gives nothing, at most `limit` bytes; `read` must not wait for a whole chunk.

    Raises Late, and ValueError for a longer one.
    """
    clockwork, found = Clockwork(seconds), bytearray()
    while piece := read(CHUNK):
        found += piece
        clockwork.heed()
        if len(found) > limit:
            raise ValueError(f"it is longer than {limit} bytes")
    return bytes(found)
