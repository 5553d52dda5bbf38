"""The table of faults: what cannot happen is refused, and the page that lists them is true."""

from __future__ import annotations

from pathlib import Path

import pytest

from tallship.errors import SetupError
from tallship.lab.faults import FACTS, KINDS, PLACES, Fault

PAGE = Path(__file__).parents[2] / "docs" / "lab.md"


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (Fault("no-such"), "there is no fault"),
        (Fault("slow", {"colour": "red"}), "cannot be matched by `colour`"),
        (Fault("slow", {"rpc": "Version", "route": "GET /servers"}), "cannot be matched by `route` and `rpc`"),
        (Fault("slow", {}, {"minutes": 3}), "has no value `minutes`"),
        (Fault("watch-cut", {}, {"seconds": 3}), "has no value `seconds`"),
        (Fault("slow", {}, {"seconds": "long"}), "is not a number"),
        (Fault("slow", times=-1), "less than no times"),
    ],
)
def test_a_fault_that_could_never_happen_is_refused(fault: Fault, says: str) -> None:
    with pytest.raises(SetupError, match=says) as caught:
        fault.check()
    assert caught.value.hint


@pytest.mark.parametrize("name", KINDS)
def test_every_fault_can_be_set_at_each_of_its_places(name: str) -> None:
    for place in KINDS[name].places:
        Fault(name, dict.fromkeys(PLACES[place], "x")).check()


def test_what_can_be_matched_is_explained() -> None:
    assert {fact for facts in PLACES.values() for fact in facts} == set(FACTS)


def test_the_page_lists_every_fault_and_every_fact() -> None:
    page = PAGE.read_text()
    for name, kind in KINDS.items():
        assert f"| `{name}` | {', '.join(kind.places)} | {kind.does}" in page
    for fact, meaning in FACTS.items():
        assert f"| `{fact}` | {meaning} |" in page
