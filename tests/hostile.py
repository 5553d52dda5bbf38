"""Answers that no API gives: real ones, in which something was dropped or is something else."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

BOUNDED = settings(
    deadline=None,
    derandomize=True,
    database=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
"""The same examples each time, however slow the machine is."""
Place = tuple[str | int, ...]
DROPPED = object()
DEEP: Any = []
for _ in range(90):
    DEEP = [DEEP]
ODD: tuple[Any, ...] = (
    DROPPED,
    None,
    True,
    0,
    -1,
    10**30,
    1.5,
    float("nan"),
    "",
    "x" * 5000,
    "9" * 5000,
    "\u202e\x1b[2J\x07\ud800 漢 [/]",
    "2026-13-45T99:00:00Z",
    "2026-01-01T00:00:00",
    [],
    {},
    [None],
    ["a", 1],
    {"a": None},
    DEEP,
)
"""What stands in the place of a value: nothing, or a value of another kind or size."""
NO_JSON = (
    b"",
    b"null",
    b"[]",
    b"5",
    b'"text"',
    b"{",
    b"\xff\xfe\x00",
    b"<html>Sign in</html>",
    b"[" * 100_000,
    b'{"a":' * 50_000,
    b"9" * 5000,
    b'{"a": NaN}',
    b'{"metadata": {"name": "\\ud800"}}',
    b'{"items": [null], "metadata": {"continue": "again"}}',
)
"""Bodies that hold no document, or none that can be meant."""


def places(document: Any, at: Place = ()) -> Iterator[Place]:
    """Yield where something stands in a document; of a list the first three entries alone."""
    yield at
    if isinstance(document, dict):
        for key, value in document.items():
            yield from places(value, (*at, key))
    elif isinstance(document, list):
        for number, value in enumerate(document[:3]):
            yield from places(value, (*at, number))


def with_odd(document: Any, place: Place, value: Any) -> Any:
    """Return a document with a value of `ODD` at a place."""
    if not place:
        return {} if value is DROPPED else copy.copy(value)
    first: Any = place[0]
    if isinstance(document, list):
        is_there = isinstance(first, int) and first < len(document)
    else:
        is_there = isinstance(document, dict) and first in document
    if not is_there:
        return document  # an earlier change took it away
    changed = copy.copy(document)
    if value is DROPPED and len(place) == 1:
        del changed[first]
    else:
        changed[first] = with_odd(document[first], place[1:], value)
    return changed


def odd(document: Any, *, most: int = 3) -> st.SearchStrategy[Any]:
    """Return what makes documents like this one with a few odd values."""
    known = list(places(document))
    # By their numbers: what failed is shown, and some of these values are long.
    change = st.tuples(st.integers(0, len(known) - 1), st.integers(0, len(ODD) - 1))

    def made(changes: list[tuple[int, int]]) -> Any:
        found = document
        for place, value in changes:
            found = with_odd(found, known[place], ODD[value])
        return found

    return st.lists(change, min_size=1, max_size=most).map(made)


def every_odd(document: Any) -> Iterator[Any]:
    """Yield the document with each odd value at each place, one at a time."""
    for place in places(document):
        for value in ODD:
            yield with_odd(document, place, value)


def body(document: Any) -> bytes:
    """Return a document as it goes over the wire, whatever it holds."""
    return json.dumps(document).encode()
