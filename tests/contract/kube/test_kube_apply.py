"""Server-side apply: the cases that the lab's API server and a real one must both pass."""

from __future__ import annotations

from typing import Any

import pytest
from clients import ApiError, Cluster, Document

APPS, CORE = "apps/v1", "v1"


def config_map(**data: str) -> Document:
    return {"apiVersion": CORE, "kind": "ConfigMap", "metadata": {"name": "one"}, "data": data}


def deployment(*containers: Document, **spec: Any) -> Document:
    labels = {"app": "one"}
    return {
        "apiVersion": APPS,
        "kind": "Deployment",
        "metadata": {"name": "one"},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": list(containers)}},
            **spec,
        },
    }


def partly(**spec: Any) -> Document:
    """Return a Deployment that says only some things, as a second manager applies it."""
    return {"apiVersion": APPS, "kind": "Deployment", "metadata": {"name": "one"}, "spec": spec}


def containers(document: Document) -> dict[str, Document]:
    return {each["name"]: each for each in document["spec"]["template"]["spec"]["containers"]}


def owned(document: Document, manager: str) -> Any:
    """Return the fields of a manager, in fieldsV1 form."""
    entries = document["metadata"]["managedFields"]
    return next((each["fieldsV1"] for each in entries if each["manager"] == manager), None)


def version(document: Document) -> str:
    return str(document["metadata"]["resourceVersion"])


def test_apply_creates_and_owns_what_it_says(cluster: Cluster) -> None:
    made = cluster.apply(config_map(a="1"), "first")
    assert made["data"] == {"a": "1"}
    assert owned(made, "first") == {"f:data": {"f:a": {}}}
    entry = made["metadata"]["managedFields"][0]
    assert (entry["operation"], entry["apiVersion"], entry["fieldsType"]) == ("Apply", "v1", "FieldsV1")


def test_apply_that_changes_nothing_is_not_written(cluster: Cluster) -> None:
    first = cluster.apply(config_map(a="1"), "first")
    assert version(cluster.apply(config_map(a="1"), "first")) == version(first)


def test_applied_value_replaces_the_old_one(cluster: Cluster) -> None:
    first = cluster.apply(config_map(a="1"), "first")
    second = cluster.apply(config_map(a="2"), "first")
    assert second["data"] == {"a": "2"}
    assert version(second) != version(first)


def test_field_that_is_no_longer_applied_goes(cluster: Cluster) -> None:
    cluster.apply(config_map(a="1", b="2"), "first")
    assert cluster.apply(config_map(a="1"), "first")["data"] == {"a": "1"}


def test_other_value_of_another_manager_is_a_conflict(cluster: Cluster) -> None:
    cluster.apply(config_map(a="1"), "first")
    with pytest.raises(ApiError) as caught:
        cluster.apply(config_map(a="2"), "second")
    status = caught.value.status
    assert (status.code, status.reason) == (409, "Conflict")
    assert status.message == 'Apply failed with 1 conflict: conflict with "first": .data.a'
    cause = status.details.causes[0]
    assert (cause.reason, cause.field) == ("FieldManagerConflict", ".data.a")
    assert cause.message == 'conflict with "first"'


def test_conflicts_are_told_manager_by_manager(cluster: Cluster) -> None:
    cluster.apply(config_map(a="1", b="1"), "first")
    with pytest.raises(ApiError) as caught:
        cluster.apply(config_map(a="2", b="2"), "second")
    expected = 'Apply failed with 2 conflicts: conflicts with "first":\n- .data.a\n- .data.b'
    assert caught.value.status.message == expected


def test_conflict_with_an_update_names_the_version(cluster: Cluster) -> None:
    cluster.apply(config_map(a="1"), "first")
    cluster.patch(CORE, "ConfigMap", "one", {"data": {"a": "2"}}, "patcher")
    with pytest.raises(ApiError) as caught:
        cluster.apply(config_map(a="1"), "first")
    assert caught.value.status.message.startswith('Apply failed with 1 conflict: conflict with "patcher" using v1')


def test_force_takes_the_field_over(cluster: Cluster) -> None:
    cluster.apply(config_map(a="1", b="1"), "first")
    forced = cluster.apply(config_map(a="2"), "second", force=True)
    assert forced["data"] == {"a": "2", "b": "1"}
    assert owned(forced, "first") == {"f:data": {"f:b": {}}}
    assert owned(forced, "second") == {"f:data": {"f:a": {}}}


def test_field_that_was_lost_by_force_stays_when_it_is_no_longer_applied(cluster: Cluster) -> None:
    cluster.apply(config_map(a="1", b="1"), "first")
    cluster.apply(config_map(a="2"), "second", force=True)
    assert cluster.apply(config_map(b="1"), "first")["data"] == {"a": "2", "b": "1"}


def test_same_value_is_owned_by_both_and_stays_until_both_let_go(cluster: Cluster) -> None:
    cluster.apply(config_map(a="1"), "first")
    both = cluster.apply(config_map(a="1"), "second")
    assert owned(both, "first") == owned(both, "second") == {"f:data": {"f:a": {}}}
    kept = cluster.apply(config_map(b="2"), "first")
    assert kept["data"] == {"a": "1", "b": "2"}
    assert cluster.apply(config_map(c="3"), "second")["data"] == {"b": "2", "c": "3"}


def test_update_takes_over_what_it_changes_only(cluster: Cluster) -> None:
    cluster.apply(config_map(a="1", b="1"), "first")
    patched = cluster.patch(CORE, "ConfigMap", "one", {"data": {"a": "2"}}, "patcher")
    assert owned(patched, "first") == {"f:data": {"f:b": {}}}
    assert owned(patched, "patcher") == {"f:data": {"f:a": {}}}


def test_labels_of_two_managers_live_side_by_side(cluster: Cluster) -> None:
    def labelled(**labels: str) -> Document:
        return {"apiVersion": CORE, "kind": "ConfigMap", "metadata": {"name": "one", "labels": labels}}

    cluster.apply(labelled(a="1"), "first")
    assert cluster.apply(labelled(b="2"), "second")["metadata"]["labels"] == {"a": "1", "b": "2"}
    assert cluster.apply(labelled(), "first")["metadata"]["labels"] == {"b": "2"}


def test_containers_are_merged_by_name(cluster: Cluster) -> None:
    cluster.apply(deployment({"name": "a", "image": "a:1"}), "first")
    other = {"template": {"spec": {"containers": [{"name": "b", "image": "b:1"}]}}}
    merged = cluster.apply(partly(**other), "second")
    assert {name: each["image"] for name, each in containers(merged).items()} == {"a": "a:1", "b": "b:1"}
    key = 'k:{"name":"b"}'
    fields = owned(merged, "second")["f:spec"]["f:template"]["f:spec"]["f:containers"][key]
    assert fields == {".": {}, "f:image": {}, "f:name": {}}


def test_container_stays_while_another_manager_owns_part_of_it(cluster: Cluster) -> None:
    a, b = {"name": "a", "image": "a:1"}, {"name": "b", "image": "b:1"}
    cluster.apply(deployment(a, b), "first")
    with_env = {**b, "env": [{"name": "X", "value": "1"}]}
    cluster.apply(partly(template={"spec": {"containers": [with_env]}}), "second")
    left = containers(cluster.apply(deployment(a), "first"))
    assert (left["b"]["name"], left["b"]["image"]) == ("b", "b:1")
    assert left["b"]["env"] == [{"name": "X", "value": "1"}]


def test_container_goes_with_its_last_manager(cluster: Cluster) -> None:
    a, b = {"name": "a", "image": "a:1"}, {"name": "b", "image": "b:1"}
    cluster.apply(deployment(a, b), "first")
    assert set(containers(cluster.apply(deployment(a), "first"))) == {"a"}


def test_environment_is_merged_by_name_and_conflicts_are_told_by_key(cluster: Cluster) -> None:
    first = {"name": "a", "image": "a:1", "env": [{"name": "X", "value": "1"}]}
    cluster.apply(deployment(first), "first")
    more = [{"name": "a", "env": [{"name": "Y", "value": "2"}]}]
    merged = cluster.apply(partly(template={"spec": {"containers": more}}), "second")
    assert {each["name"]: each["value"] for each in containers(merged)["a"]["env"]} == {"X": "1", "Y": "2"}
    clash = [{"name": "a", "env": [{"name": "X", "value": "9"}]}]
    with pytest.raises(ApiError) as caught:
        cluster.apply(partly(template={"spec": {"containers": clash}}), "third")
    where = '.spec.template.spec.containers[name="a"].env[name="X"].value'
    assert caught.value.status.details.causes[0].field == where


def test_ports_with_and_without_their_protocol_are_the_same(cluster: Cluster) -> None:
    first = {"name": "a", "image": "a:1", "ports": [{"containerPort": 80, "name": "web", "protocol": "TCP"}]}
    cluster.apply(deployment(first), "first")
    again = {"name": "a", "image": "a:1", "ports": [{"containerPort": 80, "name": "web"}]}
    assert len(containers(cluster.apply(deployment(again), "first"))["a"]["ports"]) == 1


def test_finalizers_are_a_set(cluster: Cluster) -> None:
    def held(*finalizers: str) -> Document:
        metadata = {"name": "one", "finalizers": list(finalizers)}
        return {"apiVersion": CORE, "kind": "ConfigMap", "metadata": metadata}

    cluster.apply(held("example.com/a"), "first")
    both = cluster.apply(held("example.com/b"), "second")
    assert sorted(both["metadata"]["finalizers"]) == ["example.com/a", "example.com/b"]
    assert owned(both, "second") == {"f:metadata": {"f:finalizers": {'v:"example.com/b"': {}}}}
    left = cluster.apply(held(), "first")
    assert left["metadata"]["finalizers"] == ["example.com/b"]
    assert "finalizers" not in cluster.apply(held(), "second")["metadata"]


def test_lists_without_keys_are_replaced_as_a_whole(cluster: Cluster) -> None:
    cluster.apply(deployment({"name": "a", "image": "a:1", "args": ["x", "y"]}), "first")
    changed = cluster.apply(deployment({"name": "a", "image": "a:1", "args": ["z"]}), "first")
    assert containers(changed)["a"]["args"] == ["z"]


def test_generation_counts_changes_of_the_spec_only(cluster: Cluster) -> None:
    made = cluster.apply(deployment({"name": "a", "image": "a:1"}), "first")
    assert made["metadata"]["generation"] == 1
    assert cluster.apply(deployment({"name": "a", "image": "a:2"}), "first")["metadata"]["generation"] == 2
    labelled = deployment({"name": "a", "image": "a:2"})
    labelled["metadata"]["labels"] = {"x": "y"}
    assert cluster.apply(labelled, "first")["metadata"]["generation"] == 2


def test_apply_with_an_old_version_is_refused(cluster: Cluster) -> None:
    old = version(cluster.apply(config_map(a="1"), "first"))
    cluster.apply(config_map(a="2"), "first")
    stale = config_map(a="3")
    stale["metadata"]["resourceVersion"] = old
    with pytest.raises(ApiError) as caught:
        cluster.apply(stale, "first", force=True)
    assert (caught.value.status.code, caught.value.status.reason) == (409, "Conflict")
