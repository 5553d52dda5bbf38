"""Cluster API's own rules for conditions."""

from __future__ import annotations

from typing import Any

from tallship.lab.controllers.conditions import (
    Conditions,
    aggregate_new,
    bullet,
    find,
    find_new,
    summarize_new,
)

NOW, LATER = "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z"


def machine(name: str = "m", **meta: Any) -> dict[str, Any]:
    return {"kind": "Machine", "metadata": {"name": name, **meta}, "status": {}}


def test_ready_comes_first_and_the_others_by_name() -> None:
    item = machine()
    for kind in ("Zebra", "Ready", "Ant"):
        Conditions(item, NOW).true(kind)
    assert [each["type"] for each in item["status"]["conditions"]] == ["Ready", "Ant", "Zebra"]


def test_the_same_condition_again_keeps_its_time() -> None:
    item = machine()
    Conditions(item, NOW).false("Server", "Starting", "Info", "soon")
    Conditions(item, LATER).false("Server", "Starting", "Info", "soon")
    assert find(item, "Server") == {
        "type": "Server",
        "status": "False",
        "reason": "Starting",
        "severity": "Info",
        "message": "soon",
        "lastTransitionTime": NOW,
    }
    Conditions(item, LATER).false("Server", "Starting", "Info", "later")
    assert (find(item, "Server") or {})["lastTransitionTime"] == LATER


def test_a_summary_takes_the_gravest_and_then_the_first_named() -> None:
    item = machine()
    conditions = Conditions(item, NOW)
    conditions.false("A", "Waiting", "Info")
    conditions.false("B", "Broken", "Warning", "look")
    conditions.false("C", "Broken", "Warning", "no, here")
    conditions.summarize(("C", "B", "A"))
    assert (find(item, "Ready") or {})["message"] == "no, here"


def test_a_summary_counts_steps() -> None:
    item = machine()
    conditions = Conditions(item, NOW)
    conditions.true("BootstrapReady")
    conditions.false("InfrastructureReady", "ServerStarting", "Info", "server is starting")
    conditions.summarize(("InfrastructureReady", "BootstrapReady"), ("BootstrapReady", "InfrastructureReady"))
    assert (find(item, "Ready") or {})["message"] == "1 of 2 completed"


def test_with_nothing_said_there_is_no_summary() -> None:
    item = machine()
    Conditions(item, NOW).summarize()
    assert find(item, "Ready") is None


def test_a_summary_of_true_conditions_is_true_though_something_was_never_said() -> None:
    item = machine()
    Conditions(item, NOW).true("ServerCreateSucceeded")
    Conditions(item, NOW).summarize()
    assert find(item, "Ready") == {"type": "Ready", "status": "True", "lastTransitionTime": NOW}


def test_an_aggregate_names_where_it_comes_from() -> None:
    plane, one, two = machine("plane"), machine("one"), machine("two")
    Conditions(one, NOW).true("Ready")
    Conditions(two, NOW).false("Ready", "ServerStarting", "Info", "1 of 2 completed")
    Conditions(plane, NOW).aggregate("MachinesReady", [one, two, machine("silent")])
    found = find(plane, "MachinesReady") or {}
    assert (found["reason"], found["message"]) == ("ServerStarting @ Machine/two", "1 of 2 completed")


def test_the_new_form_changes_its_time_only_with_its_status() -> None:
    item = machine()
    Conditions(item, NOW).new("Available", "False", "NotReady")
    Conditions(item, LATER).new("Available", "False", "Other")
    assert (find_new(item, "Available") or {})["lastTransitionTime"] == NOW
    Conditions(item, LATER).new("Available", "True", "Available")
    assert (find_new(item, "Available") or {})["lastTransitionTime"] == LATER


def test_a_new_summary_lists_what_is_wrong_and_false_goes_before_unknown() -> None:
    item = machine()
    conditions = Conditions(item, NOW)
    conditions.new("Deleting", "False", "NotDeleting")
    conditions.new("NodeHealthy", "Unknown", "InspectionFailed", "waiting")
    conditions.new("InfrastructureReady", "False", "NotReady", "not yet")
    kinds = ("Deleting", "InfrastructureReady", "NodeHealthy")
    found = summarize_new(item, kinds, lambda each: str(each["message"]))
    assert found == ("False", "* InfrastructureReady: not yet\n* NodeHealthy: waiting")


def test_a_list_goes_below_its_name() -> None:
    assert bullet("NodeHealthy", "* Node.Ready: no network") == "* NodeHealthy:\n  * Node.Ready: no network"


def test_machines_that_say_the_same_are_told_together_and_no_more_than_three_by_name() -> None:
    machines = [machine(name) for name in "abcd"]
    found = aggregate_new(machines, "UpToDate")
    assert found == ("Unknown", "* Machines a, b, c, ... (1 more): Condition UpToDate not yet reported")


def test_what_is_wrong_is_told_before_what_is_unknown() -> None:
    wrong = machine("z")
    Conditions(wrong, NOW).new("Ready", "False", "NotReady", "* InfrastructureReady: broken")
    found = aggregate_new([machine("a"), machine("b"), wrong], "Ready")
    assert found == (
        "False",
        "* Machine z:\n  * InfrastructureReady: broken\n* Machines a, b: Condition Ready not yet reported",
    )
