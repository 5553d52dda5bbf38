"""Waiting for what real programs do in their own time."""

from __future__ import annotations

import time
from collections.abc import Callable

WAIT_SECONDS = 60.0


def wait_until(claim: Callable[[], object]) -> None:
    """Return when something is so; fails when it does not come true within a minute."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not claim():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.05)
