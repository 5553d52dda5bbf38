"""Answers that are whole in time: one who trickles is cut off, however soon each byte comes after the one before."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic as now

SECONDS = 60.0
"""How long the body of one answer of an API may take."""
CHUNK = 64 * 1024


class Late(TimeoutError):
    """The answer was not whole in time."""


def body(read: Callable[[int], bytes], limit: int) -> bytes:
    """Return what `read` gives until it gives nothing, at most `limit` bytes; `read` must not wait for a whole chunk.

    Raises Late, and ValueError for a longer one.
    """
    late, found = now() + SECONDS, bytearray()
    while piece := read(CHUNK):
        found += piece
        if now() > late:
            raise Late(f"the answer was not whole after {SECONDS:.0f} s")
        if len(found) > limit:
            raise ValueError(f"it is longer than {limit} bytes")
    return bytes(found)
