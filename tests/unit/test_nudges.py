"""Each event is told once, to whoever listens, and remembered on the object itself."""

from __future__ import annotations

from typing import Any

from tallship.engine import State
from tallship.ops import nudges
from tallship.ops.nudges import News


def live(*told: str) -> dict[str, Any]:
    return {"metadata": {"annotations": {nudges.ANNOTATION: " ".join(told)}}}


def test_what_is_new_is_told() -> None:
    seen = nudges.see("waiting", News("CAPH", live("running-1"), ["running-1", "running-2"]))
    assert (seen.state, seen.detail, seen.change) == (State.MISSING, "waiting", "tell CAPH: running-2")
    assert nudges.is_news(seen)


def test_what_is_known_is_not_told_again() -> None:
    seen = nudges.see("waiting", News("CAPH", live("running-1"), ["running-1"]), News("CACPPT", {"metadata": {}}, []))
    assert (seen.state, seen.change) == (State.WORKING, "")
    assert not nudges.is_news(seen)


def test_one_listener_is_told_at_a_time() -> None:
    seen = nudges.see("", News("CAPH", live(), ["a"]), News("CACPPT", live(), ["b"]))
    assert seen.change == "tell CAPH: a"
    assert nudges.see("", News("CAPH", live("a"), ["a"]), News("CACPPT", live(), ["b"])).change == "tell CACPPT: b"


def test_nobody_is_told_through_an_object_that_is_not_there() -> None:
    assert nudges.see("", News("CAPH", None, ["a"])).state is State.WORKING
