"""Modelled time of `up` against the guide's order, and the calls of each command, by the number of nodes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from bench import guide
from bench.figures import Figure
from bench.voyage import Made, voyage

REPLICAS = (1, 3, 5)


@dataclass(frozen=True)
class Calls:
    """Calls to Hetzner by command, then by number of control planes."""

    by_command: dict[str, dict[int, Counter[str]]]

    def rows(self) -> list[tuple[str, ...]]:
        """Return command, route and the count for each number of nodes."""
        found: list[tuple[str, ...]] = []
        for command, counts in self.by_command.items():
            routes = sorted(set().union(*counts.values()))
            found += [(command, route, *(str(counts[number][route]) for number in REPLICAS)) for route in routes]
            found.append((command, "in all", *(str(counts[number].total()) for number in REPLICAS)))
        return found


def count_calls() -> tuple[Calls, list[Figure]]:
    """Return the calls, and how far they depend on the number of nodes."""
    by_command: dict[str, dict[int, Counter[str]]] = {"first up": {}, "second up": {}, "status": {}, "plan": {}}
    for replicas in REPLICAS:
        with voyage(replicas) as ship:
            for command, make in zip(by_command, (ship.up, ship.up, ship.status, ship.plan), strict=True):
                by_command[command][replicas] = make().calls
    return Calls(by_command), [_constant(command, counts) for command, counts in by_command.items()]


def _constant(command: str, counts: dict[int, Counter[str]]) -> Figure:
    totals = [counts[number].total() for number in REPLICAS]
    note = f"for {', '.join(map(str, REPLICAS))} nodes: {', '.join(map(str, totals))}"
    waits = command == "first up"
    limit = None if waits else 0
    note += "; the difference is looks while waiting" if waits and max(totals) != min(totals) else ""
    return Figure(f"calls to Hetzner, {command}: most less fewest", max(totals) - min(totals), "", limit, note)


@dataclass(frozen=True)
class Race:
    """`up` and the guide's order over the same sea."""

    with_image: bool
    ours: Made
    guides: Made
    told: Made
    """The guide's order without the wait that our own correction brings."""

    def figures(self) -> list[Figure]:
        """Return both times and their ratio."""
        sea = "the image is there" if self.with_image else "with the image built"
        limit = 0.85 if self.with_image else 0.7
        fair = "no limit: without the 30 s poll that our own correction costs it"
        return [
            Figure(f"`up`, {sea}", self.ours.seconds, "modelled s"),
            Figure(f"the guide's order, {sea}", self.guides.seconds, "modelled s"),
            Figure(f"ratio, {sea}", self.ours.seconds / self.guides.seconds, "ratio", limit),
            Figure(f"the guide's order, told, {sea}", self.told.seconds, "modelled s"),
            Figure(f"ratio to that, {sea}", self.ours.seconds / self.told.seconds, "ratio", None, fair),
        ]

    def rows(self) -> list[tuple[str, ...]]:
        """Return each step's seconds in both."""
        names = list(self.ours.steps)
        return [(name, _seconds(self.ours, name), _seconds(self.guides, name)) for name in names]


def race(with_image: bool) -> Race:
    """Make the same cluster in both orders, each in a new lab."""
    with voyage(with_image=with_image) as ship:
        ours = ship.up()
    with voyage(with_image=with_image) as ship, guide.without_nudges():
        guides = ship.up(guide.flow())
    with voyage(with_image=with_image) as ship, guide.without_nudges():
        told = ship.up(guide.flow(told=True))
    return Race(with_image, ours, guides, told)


def _seconds(made: Made, name: str) -> str:
    return f"{made.steps[name]:.0f}" if name in made.steps else "-"
