"""From which address the internet sees a client of the lab: its own loopback one, unless the machine has moved."""

from __future__ import annotations

from typing import Final

from tallship.lab.faults import Faults

THIS_MACHINE: Final = "127.0.0.1"
"""Linux: where connections to any loopback address come from, when a client does not choose."""


def seen_address(faults: Faults, source: str) -> str:
    """Return the public address of whoever connects from `source`. The fault `other-address` moves this machine."""
    moved = faults.standing("other-address") if source == THIS_MACHINE else None
    return str(moved.values.get("address", MOVED_TO)) if moved else source


MOVED_TO: Final = "203.0.113.99"
"""Where the fault `other-address` moves this machine when it does not say so (RFC 5737: an address of nobody)."""
