"""What goes wrong on purpose. Every fault is data, injected at the socket by the server that it names."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from tallship.lab.store import Store


@dataclass
class Fault:
    """One thing that goes wrong `times` times (0 = until it is cleared)."""

    name: str
    """What goes wrong: `no-capacity`, `rate-limit`, `action-error`, `slow`, `reset`, `locked`, …"""
    match: dict[str, str] = field(default_factory=dict)
    """Where: every pair must equal what the server says of the request, e.g. `{"route": "POST /servers"}`."""
    values: dict[str, Any] = field(default_factory=dict)
    """How: e.g. `{"seconds": 30}`."""
    times: int = 1


class Faults:
    """The faults that are waiting to happen, in the order in which they were set."""

    def __init__(self, store: Store) -> None:
        self._table = store.table("faults")
        self._store = store

    def add(self, fault: Fault) -> str:
        """Remember a fault; returns its id."""
        key = str(self._store.next_id("fault"))
        self._table[key] = asdict(fault)
        return key

    def clear(self, name: str = "") -> int:
        """Forget all faults, or all of one name; returns how many."""
        gone = [key for key, fault in self._table.items() if name in ("", fault["name"])]
        for key in gone:
            del self._table[key]
        return len(gone)

    def list(self) -> list[Fault]:
        """Return what is waiting to happen."""
        return [Fault(**fault) for fault in self._table.values()]

    def take(self, name: str, **facts: str) -> Fault | None:
        """Return the first fault of that name that matches the facts, and use it up once."""
        for key, body in self._table.items():
            fault = Fault(**body)
            if fault.name != name or any(facts.get(k) != v for k, v in fault.match.items()):
                continue
            if fault.times == 1:
                del self._table[key]
            elif fault.times > 1:
                self._table[key] = {**body, "times": fault.times - 1}
            return fault
        return None
