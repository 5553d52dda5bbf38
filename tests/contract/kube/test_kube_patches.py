"""Merge, strategic merge and JSON patches."""

from __future__ import annotations

from typing import Any

import pytest
from api_lab import CONFIG_MAPS, JSON_PATCH, MERGE, ONE, STRATEGIC, ApiLab, Refused, config_map

from tallship.lab.kube.patch import json_patch, merge_patch, strategic_patch
from tallship.lab.kube.structures import built_in_structure

POD = built_in_structure("Pod")


def pod(**container: Any) -> dict[str, Any]:
    return {"spec": {"containers": [{"name": "a", "image": "a:1", **container}, {"name": "b", "image": "b:1"}]}}


def test_merge_patch_removes_by_null_and_replaces_lists() -> None:
    assert merge_patch({"a": {"b": 1, "c": 2}, "d": [1]}, {"a": {"b": None}, "d": [2]}) == {"a": {"c": 2}, "d": [2]}
    assert merge_patch([1], {"a": {"b": None, "c": 1}}) == {"a": {"c": 1}}


def test_strategic_patch_merges_containers_by_name() -> None:
    change = {"spec": {"containers": [{"name": "b", "image": "b:2"}, {"name": "c", "image": "c:1"}]}}
    found = strategic_patch(pod(), change, POD)
    images = {each["name"]: each["image"] for each in found["spec"]["containers"]}
    assert images == {"a": "a:1", "b": "b:2", "c": "c:1"}


def test_strategic_patch_understands_its_directives() -> None:
    gone = strategic_patch(pod(), {"spec": {"containers": [{"name": "b", "$patch": "delete"}]}}, POD)
    assert [each["name"] for each in gone["spec"]["containers"]] == ["a"]
    new = strategic_patch(pod(), {"spec": {"containers": [{"$patch": "replace"}, {"name": "z"}]}}, POD)
    assert new["spec"]["containers"] == [{"name": "z"}]
    kept = strategic_patch({"spec": {"x": 1, "y": 2}}, {"spec": {"$retainKeys": ["y"], "y": 3}}, POD)
    assert kept == {"spec": {"y": 3}}
    metadata = {"metadata": {"finalizers": ["a", "b"]}}
    change = {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"], "$setElementOrder/finalizers": ["b"]}}
    assert strategic_patch(metadata, change, POD) == {"metadata": {"finalizers": ["b"]}}


def test_strategic_patch_leaves_no_directive_behind() -> None:
    change = {"spec": {"volumes": [{"name": "v", "$setElementOrder/x": []}], "$setElementOrder/volumes": []}}
    assert strategic_patch({}, change, POD) == {"spec": {"volumes": [{"name": "v"}]}}


@pytest.mark.parametrize(
    ("operations", "expected"),
    [
        ([{"op": "add", "path": "/a/-", "value": 3}], {"a": [1, 2, 3]}),
        ([{"op": "add", "path": "/a/0", "value": 0}], {"a": [0, 1, 2]}),
        ([{"op": "add", "path": "/b~1c", "value": 0}], {"a": [1, 2], "b/c": 0}),
        ([{"op": "remove", "path": "/a/0"}], {"a": [2]}),
        ([{"op": "replace", "path": "/a/1", "value": 9}], {"a": [1, 9]}),
        ([{"op": "replace", "path": "/a", "value": {}}], {"a": {}}),
        ([{"op": "move", "from": "/a", "path": "/b"}], {"b": [1, 2]}),
        ([{"op": "copy", "from": "/a", "path": "/b"}], {"a": [1, 2], "b": [1, 2]}),
        ([{"op": "test", "path": "/a/0", "value": 1}, {"op": "remove", "path": "/a"}], {}),
    ],
)
def test_json_patch_does_what_rfc_6902_says(operations: list[Any], expected: Any) -> None:
    before = {"a": [1, 2]}
    assert json_patch(before, operations) == expected
    assert before == {"a": [1, 2]}


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "test", "path": "/data/a", "value": "2"},
        {"op": "remove", "path": "/data/b"},
        {"op": "replace", "path": "/data/b", "value": "1"},
        {"op": "add", "path": "/metadata/finalizers/5", "value": "x"},
        {"op": "jump", "path": "/data"},
    ],
)
def test_json_patch_that_cannot_be_done_changes_nothing(lab: ApiLab, operation: dict[str, Any]) -> None:
    made = lab.create(CONFIG_MAPS, config_map(a="1"))
    with pytest.raises(Refused) as caught:
        lab.send("PATCH", ONE, [{"op": "add", "path": "/data/c", "value": "3"}, operation], JSON_PATCH)
    assert (caught.value.code, caught.value.reason) == (422, "Invalid")
    assert lab.get(ONE) == made


def test_every_patch_works_on_the_wire(lab: ApiLab) -> None:
    lab.create(CONFIG_MAPS, config_map(a="1"))
    assert lab.send("PATCH", ONE, {"data": {"b": "2"}}, MERGE)["data"] == {"a": "1", "b": "2"}
    assert lab.send("PATCH", ONE, {"data": {"a": None}}, STRATEGIC)["data"] == {"b": "2"}
    assert "data" not in lab.send("PATCH", ONE, [{"op": "remove", "path": "/data/b"}], JSON_PATCH)


def test_patch_with_an_old_version_is_a_conflict(lab: ApiLab) -> None:
    old = lab.create(CONFIG_MAPS, config_map(a="1"))["metadata"]["resourceVersion"]
    lab.send("PATCH", ONE, {"data": {"a": "2"}}, MERGE)
    with pytest.raises(Refused) as caught:
        lab.send("PATCH", ONE, {"metadata": {"resourceVersion": old}, "data": {"a": "3"}}, MERGE)
    assert caught.value.reason == "Conflict"


def test_force_and_no_manager_are_refused_where_they_make_no_sense(lab: ApiLab) -> None:
    lab.create(CONFIG_MAPS, config_map(a="1"))
    with pytest.raises(Refused) as caught:
        lab.send("PATCH", ONE, {"data": {}}, MERGE, force="true")
    assert caught.value.fields() == ["force"]
    with pytest.raises(Refused) as caught:
        lab.apply(ONE, config_map(a="1"), manager="")
    assert caught.value.fields() == ["fieldManager"]


def test_patch_of_an_unknown_form_is_refused(lab: ApiLab) -> None:
    lab.create(CONFIG_MAPS, config_map(a="1"))
    with pytest.raises(Refused) as caught:
        lab.send("PATCH", ONE, {"data": {}}, "application/json")
    assert (caught.value.code, caught.value.reason) == (415, "UnsupportedMediaType")


def test_json_patch_that_is_no_list_is_a_bad_request(lab: ApiLab) -> None:
    lab.create(CONFIG_MAPS, config_map(a="1"))
    with pytest.raises(Refused) as caught:
        lab.send("PATCH", ONE, {"data": {}}, JSON_PATCH)
    assert caught.value.code == 400
