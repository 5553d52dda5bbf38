"""What tests counted in several processes, brought together in pages: `python counted.py FOLDER` writes them.

`make torture WRITE=1`, `make faults WRITE=1` and `make waits WRITE=1` do so.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from adversity import ADVERSITIES, Cell

DOCS = Path(__file__).parents[2] / "docs"
KILLS, CELLS, WAITS = "kills", "cells", "waits"
BEGIN, END = "<!-- {}: written by `make {} WRITE=1` -->", "<!-- end of {} -->"
KILL_HEAD = (
    "command",
    "calls of a run",
    "killed at steps' boundaries",
    "rounds",
    "killed before a call",
    "stopped by Ctrl-C",
)
WAIT_HEAD = (
    *("step", "in vain, because", "seconds"),
    *(f"{whom}: most in a minute" for whom in ("Hetzner", "Kubernetes", "Talos")),
    *(f"{whom}: an hour" for whom in ("Hetzner", "Kubernetes", "Talos")),
)


def keep(kind: str, found: Any) -> None:
    """Keep what this process has counted, where somebody wants to write a page of it."""
    if folder := os.environ.get("COUNTED"):
        (Path(folder) / f"{kind}-{os.getpid()}.json").write_text(json.dumps(found), encoding="utf-8")


def kill_table(parts: Iterable[dict[str, dict[str, int]]]) -> str:
    """Return how often each command was killed; `calls` is that of one run."""
    summed: dict[str, Counter[str]] = defaultdict(Counter)
    for part in parts:
        for name, count in part.items():
            calls = max(count["calls"], summed[name]["calls"])
            summed[name].update(count)
            summed[name]["calls"] = calls
    keys = ("boundaries", "rounds", "kills", "stops")
    rows = [[f"`{name}`", each["calls"], *(each[key] for key in keys)] for name, each in sorted(summed.items())]
    rows.append(["all", "", *(sum(each[key] for each in summed.values()) for key in keys)])
    return _table([KILL_HEAD, *rows])


def cell_tables(parts: Iterable[dict[str, Any]]) -> str:
    """Return what came of each call and fault, and how a run ended that did not go on."""
    runs, ended = 0, dict[tuple[Cell, str], str]()
    for part in parts:
        runs += part["runs"]
        for asked, call, title, verdict in part["ended"]:
            known = ended.get(((asked, call), title), "")
            ended[(asked, call), title] = known or verdict
    titles = [each.title for each in ADVERSITIES if any(title == each.title for _, title in ended)]
    rows = [
        [f"`{asked}`", f"`{call}`", *(_mark(ended.get(((asked, call), title))) for title in titles)]
        for asked, call in sorted({cell for cell, _ in ended})
    ]
    verdicts = {title: {told for (_, each), told in ended.items() if each == title} - {""} for title in titles}
    ends = [[title, "; ".join(sorted(told))] for title, told in verdicts.items() if told]
    gone_on = sum(not verdict for verdict in ended.values())
    counted = f"{len(ended)} cells in {runs} runs: {gone_on} go on, {len(ended) - gone_on} end.\n"
    return "\n".join(
        [
            counted,
            _table([["asked", "call", *titles], *rows]),
            "",
            _table([["fault", "how a run ends that does not go on"], *ends]),
        ]
    )


def wait_table(parts: Iterable[list[list[Any]]]) -> str:
    """Return how long each step waited, and how often it asked whom, in its worst minute and in an hour."""
    rows = sorted(row for part in parts for row in part)
    worst = [max(row[at] for row in rows) for at in range(2, len(WAIT_HEAD))]
    return _table([WAIT_HEAD, *([f"`{step}`", *rest] for step, *rest in rows), ["the most of each", "", *worst]])


def put(page: Path, begin: str, end: str, text: str) -> None:
    """Put a text between two marks of a page."""
    before, mark, rest = page.read_text(encoding="utf-8").partition(begin)
    _, closing, after = rest.partition(end)
    assert mark and closing, f"{page} has not the marks {begin} and {end}"
    page.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}", encoding="utf-8")


def write(folder: Path, environment: dict[str, str]) -> None:
    """Write the pages of what is in the folder."""
    parts: dict[str, list[Any]] = defaultdict(list)
    for path in sorted(folder.glob("*.json")):
        parts[path.name.partition("-")[0]].append(json.loads(path.read_text(encoding="utf-8")))
    if parts[KILLS]:
        told = f"`make torture SEED={environment['SEED']} ROUNDS={environment['ROUNDS']} WRITE=1`\n\n"
        text = told + kill_table(parts[KILLS])
        put(DOCS / "reliability.md", BEGIN.format(KILLS, "torture"), END.format(KILLS), text)
    if parts[WAITS]:
        put(DOCS / "reliability.md", BEGIN.format(WAITS, "waits"), END.format(WAITS), wait_table(parts[WAITS]))
    if parts[CELLS]:
        told = "`make faults ONLY='{FULL}' WRITE=1`\n\n".format_map(environment)
        text = told + cell_tables(parts[CELLS])
        put(DOCS / "fault-matrix.md", BEGIN.format("commands", "faults"), END.format("commands"), text)


def _mark(verdict: str | None) -> str:
    return "" if verdict is None else "■" if verdict else "✓"


def _table(rows: list[Any]) -> str:
    lines = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


if __name__ == "__main__":
    write(Path(sys.argv[1]), dict(os.environ))
