"""`python -m bench [sizes] [--write]`: measures, prints one table, and with --write puts it into docs/performance.md.

With `sizes` only the cost against size is measured, and nothing is written.
"""

from __future__ import annotations

import sys
import time

from bench import commands, durations, modelled, page, sizes, startup
from bench.figures import text_table


def main() -> int:
    """Measure everything; 1 when a limit is missed."""
    began = time.monotonic()
    if "sizes" in sys.argv[1:]:
        figures = sizes.measure()
        say(text_table([figure.cells() for figure in figures]))
        return 0 if all(figure.is_within for figure in figures) else 1
    figures = startup.measure() + commands.measure() + sizes.measure()
    calls, constant = modelled.count_calls()
    races = [modelled.race(with_image=True), modelled.race(with_image=False)]
    figures += constant + [figure for race in races for figure in race.figures()]
    say(text_table([figure.cells() for figure in figures]))
    say("\n" + text_table([("step (modelled s, image there)", "up", "guide"), *races[0].rows()]))
    say("\n" + text_table([("calls to Hetzner", "route", *map(str, modelled.REPLICAS)), *calls.rows()]))
    say(f"\nmeasured in {time.monotonic() - began:.0f} s")
    if "--write" in sys.argv[1:]:
        page.write(figures, races, calls, durations.table())
    return 0 if all(figure.is_within for figure in figures) else 1


def say(text: str) -> None:
    """Print at once: a benchmark is watched."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


sys.exit(main())
