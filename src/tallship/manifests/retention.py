"""Which backups stay: pure, from their times alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime

RULES: dict[str, Callable[[datetime], object]] = {
    "last": lambda made: made,
    "daily": lambda made: made.date(),
    "weekly": lambda made: made.isocalendar()[:2],
}
"""What each rule counts: backups, days, or weeks that begin on Monday. A period's newest backup stands for it."""


def reasons(times: Iterable[datetime], last: int, daily: int, weekly: int) -> dict[datetime, list[str]]:
    """Return for every time why that backup stays; no reason: it goes. The newest always stays.

    Periods without a backup are not counted, so a pause in saving costs no old backup. Days are those of the
    times' own zone.
    """
    newest_first = sorted(set(times), reverse=True)
    found: dict[datetime, list[str]] = {each: [] for each in newest_first}
    for rule, limit in (("last", max(last, 1)), ("daily", daily), ("weekly", weekly)):
        counted: set[object] = set()
        for made in newest_first:
            period = RULES[rule](made)
            if period not in counted and len(counted) < limit:
                counted.add(period)
                found[made].append(rule)
    return found
