"""When each server was made, was behind its firewall, and could first be reached: nothing here is ever forgotten."""

from __future__ import annotations

from typing import Final

from tallship.lab.clock import LabClock
from tallship.lab.store import Document, Store

MADE: Final = "made"
PROTECTED: Final = "protected"
"""Hetzner has applied the first firewall."""
REACHABLE: Final = "reachable"
"""The Talos API took its first connections, from whoever is let in."""


class Births:
    """The first moments of every server there ever was, in lab time."""

    def __init__(self, store: Store, clock: LabClock) -> None:
        self._table = store.table("births")
        self._clock = clock

    def note(self, server_id: int, event: str, name: str = "") -> None:
        """Remember that something happened to a server for the first time; later times are not noted."""
        known = self._table.get(str(server_id), {"server": server_id})
        named = {"name": name} if name else {}
        self._table[str(server_id)] = {event: round(self._clock.now(), 1), **known, **named}

    def list(self) -> list[Document]:
        """Return what is known of each server, oldest first; a moment that has not come is absent."""
        return list(self._table.values())
