"""Every call that a command makes meets every fault: it passes, or it ends in a verdict and the next run goes on.

In one run each call meets the fault once. An end that a fault must not cause alone is looked at again: may several
faults of one moment cause it, one may not. `make faults WRITE=1` tries all and writes docs/fault-matrix.md;
`ONLY="up,destroy"` tries these commands.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import counted
import pytest
from adversity import ADVERSITIES, Adversity, Cell, everywhere
from ship import Kept, Recorder, Ship
from torture import VOYAGES, Killer, begun, state

from tallship.errors import ApiError, ManyErrors, TallshipError

pytestmark = pytest.mark.timeout(600)
BY_TITLE = {each.title: each for each in ADVERSITIES}
UP_MEETS = ("reset after",)
"""What `make test` tries, with `up`."""
LONG_MEETS = {"up": ("malformed", "500", "401", "action never ends", "program killed")}
"""What `make test-long` tries too; with other commands an answer that is lost. `make faults` tries all with all."""
FULL = [each for each in os.environ.get("FULL", "").split(",") if each]
"""Commands whose every call meets every fault; `all` of them."""
ONCE = {("talos", each) for each in ("Upgrade", "Reset", "Reboot", "Bootstrap")}
"""Calls that a node must not hear twice: what it refuses, a person looks at first."""
ENDS: dict[str, dict[str, Any]] = {}


@dataclass
class Matrix:
    """What came of each call and fault."""

    ended: dict[tuple[Cell, str], str] = field(default_factory=dict)
    """With the verdict; empty where the run went on."""
    runs: int = 0

    def note(self, cell: Cell, title: str, verdict: str = "") -> None:
        known = self.ended.get((cell, title), "")
        self.ended[cell, title] = known or verdict


MATRIX = Matrix()


@pytest.fixture
def end(name: str, kept: Kept, tmp_path: Path) -> dict[str, Any]:
    """What a run that nobody disturbed makes; done once."""
    if name not in ENDS:
        with begun(VOYAGES[name], kept, tmp_path / "undisturbed") as ship:
            VOYAGES[name].sail(ship, Killer())
            ENDS[name] = state(ship)
    return ENDS[name]


def cases() -> list[Any]:
    """Return commands with faults, the first time that a call is made, and in the whole of them the third."""
    if FULL:
        wanted = itertools.product(VOYAGES if FULL == ["all"] else FULL, BY_TITLE, (1, 3))
        return [each for each in wanted if each[2] == 1 or BY_TITLE[each[1]].passes]
    quick = [pytest.param("up", title, 1) for title in UP_MEETS]
    more = [(name, title) for name in VOYAGES for title in LONG_MEETS.get(name, ("reset after",))]
    return [*quick, *(pytest.param(name, title, 1, marks=pytest.mark.long) for name, title in more)]


@pytest.mark.parametrize(("name", "title", "turn"), cases())
def test_every_call_meets_it(name: str, title: str, turn: int, end: dict[str, Any], kept: Kept, tmp_path: Path) -> None:
    adversity = BY_TITLE[title]
    with begun(VOYAGES[name], kept, tmp_path / "all") as ship:
        met, ended = meet(name, ship, adversity, turn)
        assert state(ship) == end
    for number, (cell, verdict) in enumerate(ended.items()):
        if adversity.passes:
            with begun(VOYAGES[name], kept, tmp_path / f"alone-{number}") as ship:
                verdict = alone(name, ship, adversity, turn, cell)
        MATRIX.note(cell, title, verdict)
    for cell in met:
        MATRIX.note(cell, title)


def meet(name: str, ship: Ship, adversity: Adversity, turn: int) -> tuple[list[Cell], dict[Cell, str]]:
    """Run the command until it is done; returns the calls that met the fault, and the verdicts after which."""
    ended: dict[Cell, str] = {}
    with everywhere(ship.world, adversity, turn) as trouble:
        for _ in range(200):
            before = len(trouble.met)
            MATRIX.runs += 1
            try:
                VOYAGES[name].sail(ship, Killer())
            except TallshipError as error:
                assert len(trouble.met) > before, f"ends without a fault: {error!r} {error.detail}"
                ended[trouble.met[-1]] = verdict_of(error, ship)
            else:
                return trouble.met, ended
    raise AssertionError("it never ends well")


def alone(name: str, ship: Ship, adversity: Adversity, turn: int, cell: Cell) -> str:
    """Return how it ends when this call alone meets it: well, or before anything was begun, to be run again."""
    recorder = Recorder()
    with everywhere(ship.world, adversity, turn, cell):
        try:
            VOYAGES[name].sail(ship, Killer(), recorder)
        except ApiError as error:
            is_before = error.may_pass and not recorder.heard
            assert is_before or cell in ONCE, f"{cell} alone ends it: {error.message}"
            return verdict_of(error, ship)
    return ""


def verdict_of(error: TallshipError, ship: Ship) -> str:
    """Return the error's class and exit code, after a look that it tells what to do, and no secret."""
    for each in error.errors if isinstance(error, ManyErrors) else [error]:
        text = f"{each.message}\n{each.detail}\n{each.hint}"
        assert each.message and each.hint, f"{each!r} has no hint"
        assert ship.world.token not in text and "Traceback" not in text
    return f"{error.kind}, exit {error.exit_code}"


@pytest.fixture(scope="module", autouse=True)
def _cells_are_kept() -> Iterator[None]:
    yield
    ended = [[*cell, title, verdict] for (cell, title), verdict in MATRIX.ended.items()]
    counted.keep(counted.CELLS, {"runs": MATRIX.runs, "ended": ended})
