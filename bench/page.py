"""docs/performance.md: text that stays, figures of the last `--write`."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from pathlib import Path

from bench.figures import Figure, markdown_table
from bench.modelled import REPLICAS, Calls, Race

PAGE = Path(__file__).parents[1] / "docs/performance.md"
BEGIN, END = "<!-- figures: written by `make bench WRITE=1` -->", "<!-- end of figures -->"


def write(figures: Sequence[Figure], races: Sequence[Race], calls: Calls, durations: list[tuple[str, ...]]) -> None:
    """Put the figures between the page's two marks."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    body = "\n\n".join(_parts(figures, races, calls, durations))
    PAGE.write_text(f"{before}{BEGIN}\n\n{body}\n\n{END}{after}", encoding="utf-8")


def _parts(
    figures: Sequence[Figure], races: Sequence[Race], calls: Calls, durations: list[tuple[str, ...]]
) -> list[str]:
    nodes = tuple(f"{number} nodes" for number in REPLICAS)
    return [
        f"Measured with Python {platform.python_version()} on {os.cpu_count()} {platform.machine()} cores.",
        markdown_table(("what", "measured", "limit", "note"), [figure.cells() for figure in figures]),
        *(part for race in races for part in _race(race)),
        "## Calls to Hetzner",
        markdown_table(("command", "route", *nodes), calls.rows()),
        "## Modelled durations",
        markdown_table(("part", "name", "seconds", "source"), durations),
    ]


def _race(race: Race) -> list[str]:
    sea = "the image is there" if race.with_image else "the image is built"
    return [
        f"## Modelled seconds by step, {sea}",
        markdown_table(("step", "`up`", "the guide's order"), race.rows()),
    ]
