"""Which backups stay."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from tallship.manifests.retention import reasons

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)  # a Monday
TIMES = st.lists(
    st.datetimes(datetime(2026, 1, 1), datetime(2026, 3, 1)).map(lambda each: each.replace(tzinfo=UTC)), max_size=60
)
COUNTS = st.integers(0, 8)


def kept(times: list[datetime], last: int = 0, daily: int = 0, weekly: int = 0) -> set[datetime]:
    return {made for made, why in reasons(times, last, daily, weekly).items() if why}


def test_the_newest_of_each_day_and_week_stays() -> None:
    hours = [NOON - timedelta(hours=6 * each) for each in range(4 * 21)]
    assert kept(hours, last=2) == {NOON, NOON - timedelta(hours=6)}
    evenings = [NOON.replace(hour=18) - timedelta(days=each) for each in range(1, 21)]
    assert kept(hours, daily=3) == {NOON, *evenings[:2]}
    assert kept(hours, weekly=3) == {NOON, evenings[0], evenings[7]}


def test_a_backup_may_stay_for_several_reasons() -> None:
    assert reasons([NOON], 1, 1, 1) == {NOON: ["last", "daily", "weekly"]}


def test_a_pause_in_saving_costs_nothing() -> None:
    old = [NOON - timedelta(days=400 + each) for each in range(3)]
    assert kept(old, daily=3) == set(old)


@given(TIMES, COUNTS, COUNTS, COUNTS)
def test_the_newest_stays_and_no_rule_keeps_more_than_it_says(
    times: list[datetime], last: int, daily: int, weekly: int
) -> None:
    found = reasons(times, last, daily, weekly)
    assert set(found) == set(times)
    if times:
        assert found[max(times)]
    for rule, limit in (("last", max(last, 1)), ("daily", daily), ("weekly", weekly)):
        assert sum(rule in why for why in found.values()) <= limit


@given(TIMES, COUNTS, COUNTS, COUNTS)
def test_pruning_again_takes_nothing_more(times: list[datetime], last: int, daily: int, weekly: int) -> None:
    once = kept(times, last, daily, weekly)
    assert kept(list(once), last, daily, weekly) == once
    assert once <= kept(times, last + 1, daily + 1, weekly + 1)
