"""The calls that an adapter makes: counted for the journal, and told to whoever wants to see each."""

from __future__ import annotations

import logging
from collections import Counter

LOG = logging.getLogger("tallship.calls")
"""Hears of every call, by its verb and noun alone: no address, no body, no secret."""


class Calls(Counter[str]):
    """How often an adapter asked the `outside` for what."""

    def __init__(self, outside: str) -> None:
        super().__init__()
        self._outside = outside

    def note(self, call: str) -> None:
        """Count a call that is about to be made."""
        self[call] += 1
        LOG.debug("%s: %s", self._outside, call)
