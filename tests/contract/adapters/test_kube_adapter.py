"""The Kubernetes adapter against the lab's API server, over TLS."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kube_lab import ADDRESS, KubeLab

from tallship.adapters.kube import Kube
from tallship.errors import ApiError, SetupError, Unreachable
from tallship.lab.kube.schemas import crds
from tallship.lab.store import Store
from tallship.lab.world import Authority

CONFIG: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "one", "namespace": "default"},
    "data": {"a": "1", "b": "2"},
}
CLUSTER = "cluster.x-k8s.io/v1beta1", "Cluster"


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[KubeLab]:
    made = KubeLab(tmp_path)
    yield made
    made.close()


@pytest.fixture
def kube(lab: KubeLab) -> Kube:
    return lab.kube()


def test_what_is_not_there_is_none(kube: Kube) -> None:
    assert kube.find("v1", "ConfigMap", "one", "default") is None
    assert kube.list("v1", "ConfigMap", "default") == []
    kube.delete("v1", "ConfigMap", "one", "default")


def test_applied_object_is_found_listed_and_deleted(kube: Kube) -> None:
    stored = kube.apply(CONFIG)
    assert stored["data"] == CONFIG["data"]
    assert kube.find("v1", "ConfigMap", "one", "default") == stored
    assert [each["metadata"]["name"] for each in kube.list("v1", "ConfigMap")] == ["one"]
    kube.delete("v1", "ConfigMap", "one", "default")
    assert kube.find("v1", "ConfigMap", "one", "default") is None


def test_documents_are_plain_json(kube: Kube) -> None:
    stored = kube.apply(CONFIG)
    assert json.loads(json.dumps(stored)) == stored
    assert stored["metadata"]["managedFields"][0]["manager"] == "tallship"
    assert isinstance(stored["metadata"]["creationTimestamp"], str)


def test_second_apply_writes_nothing(lab: KubeLab, kube: Kube) -> None:
    first = kube.apply(CONFIG)
    assert kube.apply(CONFIG)["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    assert lab.writes == {"kubernetes": 1}


def test_dry_run_tells_what_would_be_and_writes_nothing(lab: KubeLab, kube: Kube) -> None:
    kube.apply(CONFIG)
    would = kube.apply({**CONFIG, "data": {"a": "3"}}, dry_run=True)
    assert would["data"] == {"a": "3"}
    assert lab.writes == {"kubernetes": 1}


def test_field_that_is_no_longer_applied_goes_away(kube: Kube) -> None:
    kube.apply(CONFIG)
    assert kube.apply({**CONFIG, "data": {"a": "1"}})["data"] == {"a": "1"}


def test_field_of_another_manager_is_a_conflict_unless_forced(kube: Kube) -> None:
    kube.patch("v1", "ConfigMap", "one", "default", kube.apply(CONFIG) and {"data": {"a": "theirs"}})
    _as_another_manager(kube, {**CONFIG, "data": {"a": "theirs"}})
    with pytest.raises(ApiError) as caught:
        kube.apply(CONFIG, force=False)
    assert caught.value.code == "Conflict"
    assert not caught.value.may_pass
    assert ".data.a" in caught.value.detail
    assert kube.apply(CONFIG)["data"]["a"] == "1"


def test_labels_select(kube: Kube) -> None:
    for name, color in (("one", "red"), ("two", "blue")):
        kube.apply({**CONFIG, "metadata": {"name": name, "namespace": "default", "labels": {"color": color, "x": "y"}}})
    assert [each["metadata"]["name"] for each in kube.list("v1", "ConfigMap", labels="color=blue,x=y")] == ["two"]


def test_kinds_of_cluster_api_are_known_once_installed(kube: Kube) -> None:
    with pytest.raises(ApiError) as caught:
        kube.find(*CLUSTER, "k8s", "default")
    assert caught.value.code == "unknown-kind"
    assert kube.list(*CLUSTER) == []
    for definition in crds("cluster.x-k8s.io"):
        kube.apply(definition)
    assert kube.find(*CLUSTER, "k8s", "default") is None


def test_kind_that_nobody_told_us_of_is_discovered(kube: Kube) -> None:
    role: dict[str, Any] = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "r"},
        "rules": [],
    }
    kube.apply(role)
    assert kube.find(role["apiVersion"], "ClusterRole", "r") is not None
    assert kube.calls["discover rbac.authorization.k8s.io/v1"] == 1
    with pytest.raises(ApiError) as caught:
        kube.find("example.com/v1", "Wheel", "w", "default")
    assert caught.value.code == "unknown-kind"


def test_invalid_document_is_told_field_by_field(kube: Kube) -> None:
    for definition in crds("cluster.x-k8s.io"):
        kube.apply(definition)
    wrong = {"apiVersion": CLUSTER[0], "kind": "Cluster", "metadata": {"name": "k8s", "namespace": "default"}}
    with pytest.raises(ApiError) as caught:
        kube.apply({**wrong, "spec": {"paused": "perhaps"}})
    assert caught.value.code == "Invalid"
    assert "spec.paused: expected boolean" in caught.value.message
    assert not caught.value.may_pass


def test_secret_value_is_decoded(kube: Kube) -> None:
    assert kube.secret_value("s", "default", "k") is None
    metadata = {"name": "s", "namespace": "default"}
    kube.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": {"k": "dmFsdWU="}})
    assert kube.secret_value("s", "default", "k") == "value"
    assert kube.secret_value("s", "default", "other") is None


def test_events_are_the_warnings_oldest_first(kube: Kube) -> None:
    for name, kind, who, when in (
        ("e2", "Warning", "a", "02"),
        ("e1", "Warning", "b", "01"),
        ("e3", "Normal", "a", "03"),
    ):
        kube.apply(
            {
                "apiVersion": "v1",
                "kind": "Event",
                "metadata": {"name": name, "namespace": "default"},
                "involvedObject": {"name": who},
                "type": kind,
                "reason": "Failed",
                "message": name,
                "lastTimestamp": f"2026-01-01T00:00:{when}Z",
            }
        )
    assert kube.events("default") == ["b: Failed: e1", "a: Failed: e2"]
    assert kube.events("default", "a") == ["a: Failed: e2"]


def test_long_lists_come_in_parts(lab: KubeLab, kube: Kube) -> None:
    for number in range(12):
        kube.apply({**CONFIG, "metadata": {"name": f"c{number:02}", "namespace": "default"}})
    assert len(kube.list("v1", "ConfigMap", "default")) == 12


def test_nobody_listens_is_unreachable(lab: KubeLab) -> None:
    kube = lab.kube(lab.kubeconfig(server=f"https://{ADDRESS}:1"))
    assert not kube.is_up()
    with pytest.raises(Unreachable) as caught:
        kube.find("v1", "Namespace", "default")
    assert caught.value.may_pass


def test_certificate_of_somebody_else_is_unreachable(lab: KubeLab) -> None:
    stranger = Authority(Store(), "stranger").certificate_pem
    kube = lab.kube(lab.kubeconfig(authority=stranger))
    with pytest.raises(Unreachable, match="certificate"):
        kube.find("v1", "Namespace", "default")


@pytest.mark.parametrize(("fault", "may_pass"), [("server-error", True), ("unauthorized", False), ("conflict", True)])
def test_refusals_are_classed(lab: KubeLab, kube: Kube, fault: str, may_pass: bool) -> None:
    lab.fault(fault)
    with pytest.raises(ApiError) as caught:
        kube.apply(CONFIG)
    assert caught.value.may_pass == may_pass
    kube.apply(CONFIG)


def test_connection_that_breaks_is_unreachable(lab: KubeLab, kube: Kube) -> None:
    lab.fault("reset")
    with pytest.raises(Unreachable):
        kube.list("v1", "ConfigMap")


def test_slow_answer_is_unreachable_in_time(lab: KubeLab) -> None:
    kube = Kube(lab.kubeconfig(), timeout=0.05)
    lab.fault("slow", seconds=3600)
    with pytest.raises(Unreachable):
        kube.list("v1", "ConfigMap")  # nobody lets modelled time pass
    kube.close()


def test_environments_proxy_is_not_used(lab: KubeLab, kube: Kube, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    assert lab.kube().is_up()


@pytest.mark.parametrize("text", ["", "not: a kubeconfig", "- 1", "{"])
def test_useless_kubeconfig_is_a_setup_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "kubeconfig").write_text(text)
    with pytest.raises(SetupError, match="kubeconfig"):
        Kube(tmp_path / "kubeconfig")


def test_context_that_is_not_there_is_a_setup_error(lab: KubeLab) -> None:
    with pytest.raises(SetupError, match="other"):
        Kube(lab.kubeconfig(), context="other")


def test_calls_are_counted(kube: Kube) -> None:
    kube.apply(CONFIG)
    kube.apply(CONFIG, dry_run=True)
    kube.list("v1", "ConfigMap")
    assert kube.calls == {"apply ConfigMap": 1, "dry-run ConfigMap": 1, "list ConfigMap": 1}


def _as_another_manager(kube: Kube, document: dict[str, Any]) -> None:
    resource = kube._resource("v1", "ConfigMap")
    kube._client.apply(resource(document), "one", namespace="default", force=True, field_manager="somebody")
