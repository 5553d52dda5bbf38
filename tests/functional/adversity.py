"""One fault at every call of a run: each call that a command makes meets it once, at the socket."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tallship.lab.faults import Fault

if TYPE_CHECKING:
    from lab_world import LabWorld

Cell = tuple[str, str]
"""Whom a call asks, and what for: such as `hetzner` and `POST /servers`."""


def _always(_call: str) -> bool:
    return True


def _changes(call: str) -> bool:
    return not call.startswith(("GET ", "HEAD "))


def _creates(call: str) -> bool:
    return call.startswith("POST ") and "/actions/" not in call


@dataclass(frozen=True)
class Adversity:
    """A fault, the calls that can meet it, and whether a run passes it by itself."""

    title: str
    fault: str
    values: dict[str, Any] = field(default_factory=dict)
    strikes: Callable[[str], bool] = _always
    passes: bool = True
    """False where a run may end in a verdict, and must go on from there when it is run again."""


ADVERSITIES = (
    Adversity("429", "rate-limit"),
    Adversity("429 without headers", "rate-limit", {"bare": True}),
    Adversity("500", "server-error"),
    Adversity("503", "server-error", {"status": 503}),
    Adversity("504", "server-error", {"status": 504}),
    Adversity("502 of a gateway", "malformed", {"status": 502}),
    Adversity("slow", "slow"),
    Adversity("reset before", "reset"),
    Adversity("reset after", "lost-answer"),
    Adversity("truncated", "truncated"),
    Adversity("malformed", "malformed"),
    Adversity("other JSON", "malformed", {"body": '{"meta": null}'}),
    Adversity("401", "unauthorized", passes=False),
    Adversity("409", "conflict", strikes=_changes),
    Adversity("423", "locked", strikes=_changes),
    Adversity("412 sold out", "no-capacity", strikes=_creates, passes=False),
    Adversity("quota", "quota", strikes=_creates, passes=False),
    Adversity("action fails", "action-error", passes=False),
    Adversity("action never ends", "action-stuck", passes=False),
    Adversity("not listed for 10 s", "unlisted", strikes=_creates),
    Adversity("program fails", "program-fails", passes=False),
    Adversity("program killed", "program-killed", {"seconds": 1}, passes=False),
    Adversity("program slow", "program-slow"),
)


class Everywhere:
    """Stands in for the lab's faults: what tallship asks meets the adversity once, call by call."""

    def __init__(self, world: LabWorld, adversity: Adversity, turn: int = 1, only: Cell | None = None) -> None:
        self.met: list[Cell] = []
        """In the order in which they met it."""
        self._adversity, self._turn, self._only = adversity, turn, only
        self._asked: Counter[Cell] = Counter()
        self._faults = world.lab.faults
        self._take_set = self._faults.take

    def take(self, name: str, **facts: str) -> Fault | None:
        """Return the fault for a call whose turn it is; else what else is set."""
        cell = _cell(facts)
        if name == self._adversity.fault and cell is not None and self._adversity.strikes(cell[1]):
            self._asked[cell] += 1
            if self._asked[cell] == self._turn and self._only in (None, cell):
                self.met.append(cell)
                return Fault(name, {}, self._adversity.values)
        return self._take_set(name, **facts)

    def begin(self) -> None:
        """Let it happen from now on. Some servers ask only while a fault is set: one is, that nobody meets."""
        self._faults.add(Fault("slow", {"agent": "nobody"}, times=0))
        self._faults.take = self.take  # type: ignore[method-assign]

    def end(self) -> None:
        """Let nothing more happen."""
        self._faults.take = self._take_set  # type: ignore[method-assign]
        self._faults.clear()


def _cell(facts: dict[str, str]) -> Cell | None:
    """Return which call of tallship's own a server asks about, or None for anybody else's."""
    if "program" in facts:
        return facts["program"], facts["command"]
    if facts.get("agent") != "tallship" and facts.get("api") != "factory":
        return None
    return facts["api"], facts.get("route", facts.get("rpc", ""))


@contextmanager
def everywhere(world: LabWorld, adversity: Adversity, turn: int = 1, only: Cell | None = None) -> Iterator[Everywhere]:
    """Let every call of tallship meet the adversity when it is asked for that time; or one call alone."""
    made = Everywhere(world, adversity, turn, only)
    world.do(made.begin)
    try:
        yield made
    finally:
        world.do(made.end)
