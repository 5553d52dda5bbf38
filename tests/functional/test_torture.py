"""Killed anywhere and run again, every command ends as if nothing had happened.

`make torture ROUNDS=n SEED=s` does it n times; what failed is repeated with the seed that it names. WRITE=1 puts the
counts into docs/reliability.md.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import counted
import pytest
from ship import Kept, Ship
from torture import VOYAGES, Boundaries, Killed, Killer, begun, state

from tallship.errors import Interrupted

SEED, ROUNDS = int(os.environ.get("SEED", "1")), int(os.environ.get("ROUNDS", "1"))
MOST_KILLS = 12
"""In one round; then the run is left alone."""
pytestmark = pytest.mark.timeout(600)
QUICK = ("image build", "up", "pivot", "backup save", "destroy")


@dataclass
class Count:
    """What was done with one voyage in this process, which all ended alike."""

    calls: int
    end: dict[str, Any]
    boundaries: int = 0
    rounds: int = 0
    kills: int = 0
    stops: int = 0

    def as_data(self) -> dict[str, int]:
        return {key: getattr(self, key) for key in ("calls", "boundaries", "rounds", "kills", "stops")}


COUNTS: dict[str, Count] = {}


@pytest.fixture
def count(name: str, kept: Kept, tmp_path: Path) -> Count:
    """What a run that nobody disturbed makes; done once."""
    if name not in COUNTS:
        killer = Killer()
        with begun(VOYAGES[name], kept, tmp_path / "undisturbed") as ship:
            VOYAGES[name].sail(ship, killer)
            COUNTS[name] = Count(killer.calls, state(ship))
    return COUNTS[name]


@pytest.fixture
def ship(name: str, count: Count, kept: Kept, tmp_path: Path) -> Iterator[Ship]:
    """Where the voyage begins."""
    with begun(VOYAGES[name], kept, tmp_path / "disturbed") as made:
        yield made


@pytest.fixture(scope="module", autouse=True)
def _counts_are_kept() -> Iterator[None]:
    yield
    counted.keep(counted.KILLS, {name: each.as_data() for name, each in COUNTS.items()})


def sail(name: str, ship: Ship, killers: Iterator[Killer], recorder: Boundaries | None = None) -> int:
    """Run it until a run is not killed; returns how many were."""
    for number, killer in enumerate(killers):
        if recorder is not None:
            recorder.killer = killer
        try:
            VOYAGES[name].sail(ship, killer, recorder)
        except (Killed, Interrupted):
            continue
        return number
    raise AssertionError("every run was killed")


def is_as_if_nothing_had_happened(name: str, ship: Ship, count: Count, told: str) -> None:
    assert state(ship) == count.end, told
    if VOYAGES[name].is_repeated:
        ship.world.reset_counters()
        VOYAGES[name].sail(ship, Killer())
        assert set(ship.world.writes.values()) == {0}, f"{told}: a run that has nothing to do writes"


def chosen(names: tuple[str, ...]) -> list[Any]:
    """Return every voyage as a parameter; those that are not named are `long`."""
    return [pytest.param(name, marks=() if name in names else pytest.mark.long) for name in VOYAGES]


@pytest.mark.parametrize("name", chosen(("pivot", "backup save", "destroy")))
def test_killed_at_every_boundary_of_a_step_it_ends_the_same(name: str, ship: Ship, count: Count) -> None:
    recorder = Boundaries()
    kills = sail(name, ship, (Killer() for _ in range(200)), recorder)
    assert kills == len(recorder.seen) >= 3
    is_as_if_nothing_had_happened(name, ship, count, "killed at every boundary")
    count.boundaries += kills


@pytest.mark.parametrize("number", range(ROUNDS))
@pytest.mark.parametrize("name", chosen(QUICK))
def test_killed_at_random_moments_it_ends_the_same(name: str, number: int, ship: Ship, count: Count) -> None:
    """The moments lie in the whole of a run, and close to its beginning: a run that goes on has less to do."""
    chance = random.Random(f"{SEED} {name} {number}")  # noqa: S311 - to be repeated, not to be secret
    spans = (count.calls, count.calls // 4, 12)
    moments = [(chance.randrange(chance.choice(spans)), chance.random() < 0.25) for _ in range(MOST_KILLS)]
    ended = sail(name, ship, iter([*(Killer(*each) for each in moments), Killer()]))
    is_as_if_nothing_had_happened(name, ship, count, f"SEED={SEED}, round {number}, (calls, Ctrl-C): {moments[:ended]}")
    count.rounds += 1
    stops = sum(asks for _, asks in moments[:ended])
    count.kills, count.stops = count.kills + ended - stops, count.stops + stops
