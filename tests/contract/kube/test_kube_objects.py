"""Creating, reading, replacing and deleting objects."""

from __future__ import annotations

from typing import Any

import pytest
from api_lab import CONFIG_MAPS, MERGE, ONE, ApiLab, Refused, config_map
from clients import Cluster

DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"


def deployment(**spec: Any) -> dict[str, Any]:
    template = {"metadata": {"labels": {"a": "b"}}}
    full = {"selector": {"matchLabels": {"a": "b"}}, "template": template, **spec}
    metadata = {"name": "one", "namespace": "default"}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": full}


def refusal(lab: ApiLab, method: str, path: str, body: Any = None, **query: str) -> Refused:
    with pytest.raises(Refused) as caught:
        lab.send(method, path, body, **query)
    return caught.value


def test_lightkube_creates_lists_replaces_and_deletes(cluster: Cluster) -> None:
    made = cluster.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one"}, "data": {"a": "1"}})
    assert made["metadata"]["namespace"] == cluster.namespace
    assert [each["metadata"]["name"] for each in cluster.list("v1", "ConfigMap", labels={"x": "y"})] == []
    replaced = cluster.replace({**made, "data": {"a": "2"}})
    assert cluster.get("v1", "ConfigMap", "one")["data"] == {"a": "2"}
    assert replaced["metadata"]["uid"] == made["metadata"]["uid"]
    cluster.delete("v1", "ConfigMap", "one")
    assert "one" not in [each["metadata"]["name"] for each in cluster.list("v1", "ConfigMap")]


def test_created_object_has_what_the_server_gives(lab: ApiLab) -> None:
    made = lab.create(CONFIG_MAPS, config_map(a="1"))
    metadata = made["metadata"]
    assert metadata["creationTimestamp"] == "2026-01-01T00:00:00Z"
    assert len(metadata["uid"]) == 36
    assert int(metadata["resourceVersion"]) > 1
    assert lab.get(ONE) == made
    assert lab.writes == {"controllers": 1}


def test_generated_names_differ(lab: ApiLab) -> None:
    unnamed = {"metadata": {"generateName": "one-"}}
    first, second = (lab.create(CONFIG_MAPS, unnamed)["metadata"] for _ in range(2))
    assert first["name"].startswith("one-")
    assert first["name"] != second["name"]
    assert first["generateName"] == "one-"


def test_second_object_of_a_name_exists_already(lab: ApiLab) -> None:
    lab.create(CONFIG_MAPS, config_map())
    found = refusal(lab, "POST", CONFIG_MAPS, config_map())
    assert (found.code, found.reason) == (409, "AlreadyExists")
    assert found.message == 'configmaps "one" already exists'
    assert found.details == {"name": "one", "kind": "configmaps"}


def test_absent_object_and_absent_path_are_told_apart(lab: ApiLab) -> None:
    assert refusal(lab, "GET", ONE).message == 'configmaps "one" not found'
    unserved = lab.http.get("/apis/example.com/v1/wheels")
    assert (unserved.status_code, unserved.text) == (404, "404 page not found\n")


def test_namespace_must_be_there(lab: ApiLab) -> None:
    found = refusal(lab, "POST", "/api/v1/namespaces/nowhere/configmaps", {"metadata": {"name": "one"}})
    assert (found.code, found.message) == (404, 'namespaces "nowhere" not found')


def test_stale_version_is_a_conflict(lab: ApiLab) -> None:
    made = lab.create(CONFIG_MAPS, config_map(a="1"))
    lab.send("PUT", ONE, {**made, "data": {"a": "2"}})
    found = refusal(lab, "PUT", ONE, {**made, "data": {"a": "3"}})
    assert (found.code, found.reason) == (409, "Conflict")
    assert "the object has been modified" in found.message


def test_write_that_changes_nothing_keeps_the_version(lab: ApiLab) -> None:
    made = lab.create(CONFIG_MAPS, config_map(a="1"))
    assert lab.send("PUT", ONE, made) == made
    assert lab.send("PATCH", ONE, {"data": {"a": "1"}}, MERGE) == made
    assert lab.writes == {"controllers": 1}


def test_dry_run_answers_and_writes_nothing(lab: ApiLab) -> None:
    assert lab.create(CONFIG_MAPS, config_map(a="1"), dryRun="All")["data"] == {"a": "1"}
    assert refusal(lab, "GET", ONE).code == 404
    lab.create(CONFIG_MAPS, config_map(a="1"))
    assert lab.apply(ONE, config_map(a="2"), "other", force="true", dryRun="All")["data"] == {"a": "2"}
    lab.send("DELETE", ONE, dryRun="All")
    assert lab.get(ONE)["data"] == {"a": "1"}
    assert lab.writes == {"controllers": 1}


def test_tools_and_controllers_are_counted_apart(lab: ApiLab) -> None:
    lab.http.headers["User-Agent"] = "kubectl/v1.32.4"
    lab.create(CONFIG_MAPS, config_map())
    assert lab.writes == {"kubernetes": 1}


def test_status_belongs_to_its_subresource(lab: ApiLab) -> None:
    made = lab.create(DEPLOYMENTS, {**deployment(), "status": {"replicas": 9}})
    assert "status" not in made
    path = f"{DEPLOYMENTS}/one"
    changed = {**made, "status": {"replicas": 1}, "spec": {**made["spec"], "replicas": 5}}
    reported = lab.send("PUT", f"{path}/status", changed)
    assert (reported["status"], reported["spec"]["replicas"]) == ({"replicas": 1}, 1)
    assert reported["metadata"]["generation"] == 1
    assert lab.send("PATCH", path, {"status": {"replicas": 7}, "spec": {"replicas": 2}}, MERGE)["status"] == {
        "replicas": 1
    }


def test_scale_is_read_and_set(lab: ApiLab) -> None:
    lab.create(DEPLOYMENTS, deployment(replicas=2))
    path = f"{DEPLOYMENTS}/one/scale"
    scale = lab.get(path)
    assert (scale["kind"], scale["apiVersion"], scale["spec"]) == ("Scale", "autoscaling/v1", {"replicas": 2})
    assert lab.send("PUT", path, {**scale, "spec": {"replicas": 4}})["spec"] == {"replicas": 4}
    assert lab.send("PATCH", path, {"spec": {"replicas": 6}}, MERGE)["spec"] == {"replicas": 6}
    assert refusal(lab, "PUT", path, {**scale, "spec": {"replicas": 1}}).reason == "Conflict"
    assert lab.get(f"{DEPLOYMENTS}/one")["spec"]["replicas"] == 6
    assert refusal(lab, "GET", f"{DEPLOYMENTS}/other/scale").code == 404


def test_labels_and_fields_select(lab: ApiLab) -> None:
    for name, color in (("one", "red"), ("two", "blue"), ("three", "")):
        labels = {"color": color, "x": "y"} if color else {"x": "y"}
        lab.create(CONFIG_MAPS, {"metadata": {"name": name, "labels": labels}})

    def selected(**query: str) -> set[str]:
        return {each["metadata"]["name"] for each in lab.get(CONFIG_MAPS, **query)["items"]}

    assert selected(labelSelector="color=red") == {"one"}
    assert selected(labelSelector="color!=red,x=y") == {"two", "three"}
    assert selected(labelSelector="color in (red, blue),x") == {"one", "two"}
    assert selected(labelSelector="color notin (red)") == {"two", "three"}
    assert selected(labelSelector="!color") == {"three"}
    assert selected(fieldSelector="metadata.name=two") == {"two"}
    assert selected(fieldSelector="metadata.name!=two,metadata.namespace=default") == {"one", "three"}
    assert refusal(lab, "GET", CONFIG_MAPS, labelSelector="a b").code == 400


def test_list_comes_in_chunks_that_survive_a_deletion(lab: ApiLab) -> None:
    for number in range(5):
        lab.create(CONFIG_MAPS, config_map(f"c{number}"))
    first = lab.get(CONFIG_MAPS, limit="2")
    assert first["metadata"]["remainingItemCount"] == 3
    lab.send("DELETE", f"{CONFIG_MAPS}/c0")
    token = first["metadata"]["continue"]
    rest = lab.get(CONFIG_MAPS, limit="10", **{"continue": token})
    assert [each["metadata"]["name"] for each in rest["items"]] == ["c2", "c3", "c4"]
    assert "continue" not in rest["metadata"]
    assert rest["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    lab.call(lab.api.compact)
    assert refusal(lab, "GET", CONFIG_MAPS, **{"continue": token}).reason == "Expired"


def test_collection_is_deleted_by_selector(lab: ApiLab) -> None:
    for name, labels in (("one", {"a": "b"}), ("two", {})):
        lab.create(CONFIG_MAPS, {"metadata": {"name": name, "labels": labels}})
    lab.send("DELETE", CONFIG_MAPS, labelSelector="a=b")
    assert [each["metadata"]["name"] for each in lab.get(CONFIG_MAPS)["items"]] == ["two"]


def test_deletion_is_answered_with_a_status_and_keeps_to_its_preconditions(lab: ApiLab) -> None:
    made = lab.create(CONFIG_MAPS, config_map())
    wrong = refusal(lab, "DELETE", ONE, {"preconditions": {"uid": "other"}})
    assert (wrong.code, wrong.reason) == (409, "Conflict")
    gone = lab.send("DELETE", ONE, {"preconditions": {"uid": made["metadata"]["uid"]}})
    assert (gone["status"], gone["details"]["uid"]) == ("Success", made["metadata"]["uid"])


def test_finalizer_holds_an_object_until_it_is_gone(lab: ApiLab) -> None:
    lab.create(CONFIG_MAPS, {"metadata": {"name": "one", "finalizers": ["example.com/hold"]}})
    waiting = lab.send("DELETE", ONE)
    assert waiting["metadata"]["deletionTimestamp"]
    assert lab.send("DELETE", ONE)["metadata"] == waiting["metadata"]
    added = {"metadata": {"finalizers": ["example.com/hold", "example.com/more"]}}
    assert refusal(lab, "PATCH", ONE, added, kind=MERGE).fields() == ["metadata.finalizers"]
    lab.send("PATCH", ONE, {"metadata": {"finalizers": None}}, MERGE)
    assert refusal(lab, "GET", ONE).code == 404


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        (CONFIG_MAPS, {"metadata": {"name": "Not_A_Name"}}, "metadata.name"),
        (CONFIG_MAPS, {"metadata": {}}, "metadata.name"),
        (CONFIG_MAPS, {"metadata": {"name": "a", "labels": {"a": "b c"}}}, "metadata.labels"),
        (CONFIG_MAPS, {"metadata": {"name": "a", "labels": {"a/b/c": "d"}}}, "metadata.labels"),
        (CONFIG_MAPS, {"metadata": {"name": "a", "labels": {"a": "x" * 64}}}, "metadata.labels"),
        (CONFIG_MAPS, {"metadata": {"name": "a"}, "data": {"a b": "c"}}, "data[a b]"),
        (DEPLOYMENTS, deployment(selector={"matchLabels": {"a": "c"}}), "spec.template.metadata.labels"),
    ],
)
def test_invalid_object_is_told_by_field(lab: ApiLab, path: str, body: dict[str, Any], field: str) -> None:
    found = refusal(lab, "POST", path, body)
    assert (found.code, found.reason, found.fields()) == (422, "Invalid", [field])
    assert field in found.message


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (CONFIG_MAPS, {"metadata": {"name": "one", "labels": {"a": 1}}}),
        (CONFIG_MAPS, {"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "one"}}),
        (CONFIG_MAPS, {"metadata": {"name": "one", "namespace": "other"}}),
        (CONFIG_MAPS, "[1, 2]"),
        (CONFIG_MAPS, "{"),
        ("/api/v1/namespaces/default/secrets", {"metadata": {"name": "one"}, "data": {"a": "no base64"}}),
    ],
)
def test_what_cannot_be_read_is_a_bad_request(lab: ApiLab, path: str, body: Any) -> None:
    assert refusal(lab, "POST", path, body).code == 400


def test_name_of_the_object_must_be_the_name_in_the_path(lab: ApiLab) -> None:
    lab.create(CONFIG_MAPS, config_map())
    found = refusal(lab, "PUT", ONE, config_map("two"))
    assert found.message == "the name of the object (two) does not match the name on the URL (one)"


def test_plain_strings_of_a_secret_are_stored_as_data(lab: ApiLab) -> None:
    body = {"metadata": {"name": "s"}, "stringData": {"a": "value"}}
    made = lab.create("/api/v1/namespaces/default/secrets", body)
    assert (made["data"], made["type"]) == ({"a": "dmFsdWU="}, "Opaque")
    assert "stringData" not in made
    found = refusal(lab, "PATCH", "/api/v1/namespaces/default/secrets/s", {"type": "other"}, kind=MERGE)
    assert found.fields() == ["type"]


def test_log_of_a_pod_is_text(lab: ApiLab) -> None:
    pods = "/api/v1/namespaces/default/pods"
    lab.create(pods, {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}})
    lab.call(lambda: lab.api.write_log("default", "p", "one\ntwo\nthree\n"))
    answer = lab.http.get(f"{pods}/p/log", params={"tailLines": "2"})
    assert answer.text == "two\nthree\n"
    assert answer.headers["content-type"].startswith("text/plain")
    assert refusal(lab, "GET", f"{pods}/q/log").code == 404


def test_namespace_with_a_name_too_long_has_a_label_too_long(lab: ApiLab) -> None:
    found = refusal(lab, "POST", "/api/v1/namespaces", {"metadata": {"name": "x" * 64}})
    assert (found.code, found.fields()) == (422, ["metadata.name", "metadata.labels"])
