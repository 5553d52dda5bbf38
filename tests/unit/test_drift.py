"""What differs between an object and ours, and who has changed it, as a person reads it."""

from __future__ import annotations

from typing import Any

import pytest

from tallship.manifests.drift import differences, taken_back, told


def stored(manager: str = "kubectl-edit", kind: str = "Thing", **spec: Any) -> dict[str, Any]:
    owned = {"f:spec": {f"f:{key}": {} for key in spec}}
    owner = {"manager": manager, "operation": "Update", "fieldsV1": owned}
    return {"kind": kind, "metadata": {"name": "a", "resourceVersion": "7", "managedFields": [owner]}, "spec": spec}


def applied(kind: str = "Thing", **spec: Any) -> dict[str, Any]:
    return {"kind": kind, "metadata": {"name": "a", "resourceVersion": "7"}, "spec": spec}


def test_a_value_that_somebody_has_set_is_told_with_who_and_what_comes_of_it() -> None:
    found = differences(stored(replicas=5, version="v1"), applied(replicas=3, version="v1"))
    assert told(found) == "spec.replicas is 5 and becomes 3"
    assert taken_back(found) == ", taking back what kubectl-edit changed: spec.replicas is 5 and becomes 3"


def test_what_is_ours_is_nobody_elses_change() -> None:
    found = differences(stored("tallship", replicas=5), applied(replicas=3))
    assert (told(found), taken_back(found)) == ("spec.replicas is 5 and becomes 3", "")


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [
        ({"a": 1}, {}, "spec.a is 1 and becomes absent"),
        ({}, {"a": 1}, "spec.a is absent and becomes 1"),
        ({"a": [1]}, {"a": [2]}, "spec.a differs"),
        ({"a": "x" * 100}, {"a": "y"}, "spec.a differs"),
        ({"a": "x\ny"}, {"a": "y"}, "spec.a differs"),
        ({"a": {"b": True}}, {"a": {"b": False}}, "spec.a.b is True and becomes False"),
        ({"a": 1, "b": 1, "c": 1, "d": 1, "e": 1}, {}, "spec.a is 1 and becomes absent"),
    ],
)
def test_a_difference_is_one_short_line(before: dict[str, Any], after: dict[str, Any], text: str) -> None:
    assert told(differences(stored(**before), applied(**after))).startswith(text)


def test_many_differences_are_counted() -> None:
    found = differences(stored(**dict.fromkeys("abcde", 1)), applied())
    assert told(found).endswith("spec.c is 1 and becomes absent, 2 more")


def test_no_value_of_a_secret_is_told() -> None:
    found = differences(stored(kind="Secret", token="c2VjcmV0"), applied(kind="Secret", token="b3Vycw=="))
    assert told(found) == "spec.token differs"
    assert "c2VjcmV0" not in repr(found)
    assert taken_back(found) == ", taking back what kubectl-edit changed: spec.token differs"


def test_what_the_api_server_notes_and_a_controllers_status_are_no_change() -> None:
    live = stored("controller", replicas=3)
    live["metadata"]["managedFields"][0]["subresource"] = "status"
    other = applied(replicas=3)
    other["metadata"]["resourceVersion"] = "8"
    assert differences(live, other) == []
    assert differences(live, applied(replicas=4))[0].by == ""
