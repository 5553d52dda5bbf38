"""Server-side apply of documents that have not the shape of their kind, and of what is no longer applied.

The answers are those of a kube-apiserver v1.32.2 (where it tells several mistakes, their order is not defined).
"""

from __future__ import annotations

from typing import Any

import pytest
from api_lab import ApiLab, Refused

Document = dict[str, Any]

REFERENCE = {"name": "hetzner", "key": {"hcloudToken": "hcloud"}}
BASE = "/apis/infrastructure.cluster.x-k8s.io/v1beta1/namespaces/default"


def hetzner_cluster(**spec: Any) -> Document:
    return {
        "apiVersion": "infrastructure.cluster.x-k8s.io/v1beta1",
        "kind": "HetznerCluster",
        "metadata": {"name": "k8s", "namespace": "default"},
        "spec": {
            "controlPlaneRegions": ["fsn1"],
            "controlPlaneEndpoint": {"host": "192.0.2.1", "port": 6443},
            "sshKeys": {"hcloud": []},
            "hetznerSecretRef": REFERENCE,
            **spec,
        },
    }


def apply(lab: ApiLab, document: Document, manager: str = "tests", **query: str) -> Document:
    return lab.apply(f"{BASE}/hetznerclusters/{document['metadata']['name']}", document, manager, **query)


def refusal(lab: ApiLab, document: Document, **query: str) -> Refused:
    with pytest.raises(Refused) as caught:
        apply(lab, document, **query)
    return caught.value


@pytest.mark.parametrize("validation", ["Strict", "Warn", "Ignore"])
def test_unknown_field_is_refused_whatever_the_validation(capi: ApiLab, validation: str) -> None:
    found = refusal(capi, hetzner_cluster(colour="blue"), fieldValidation=validation)
    assert (found.code, found.reason) == (500, "")
    kind = "infrastructure.cluster.x-k8s.io/v1beta1, Kind=HetznerCluster"
    assert found.message == (
        f"failed to create typed patch object (default/k8s; {kind}): .spec.colour: field not declared in schema"
    )


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ({"sshKeys": "none"}, ".spec.sshKeys: expected map, got &{none}"),
        ({"controlPlaneRegions": {"a": 1}}, ".spec.controlPlaneRegions: expected list, got &{map[a:1]}"),
        (
            {"controlPlaneRegions": [True]},
            ".spec.controlPlaneRegions[0]: expected string, got &value.valueUnstructured{Value:true}",
        ),
        (
            {"controlPlaneEndpoint": {"host": ["a"], "port": 1}},
            '.spec.controlPlaneEndpoint.host: expected string, got &value.valueUnstructured{Value:[]interface {}{"a"}}',
        ),
        (
            {"controlPlaneEndpoint": {"host": "a", "port": "6443"}},
            ".spec.controlPlaneEndpoint.port: expected numeric (int or float), got string",
        ),
        (
            {"controlPlaneLoadBalancer": {"enabled": 1}},
            ".spec.controlPlaneLoadBalancer.enabled: expected boolean, got &{1}",
        ),
        (
            {"sshKeys": 1, "controlPlaneRegions": 2},
            "errors:\n  .spec.controlPlaneRegions: expected list, got &{2}\n  .spec.sshKeys: expected map, got &{1}",
        ),
    ],
)
def test_value_of_another_type_is_told_as_go_does(capi: ApiLab, spec: Document, told: str) -> None:
    found = refusal(capi, hetzner_cluster(**spec))
    assert (found.code, found.message.partition("): ")[2]) == (500, told)


def test_null_is_no_value(capi: ApiLab) -> None:
    found = refusal(capi, hetzner_cluster(controlPlaneRegions=None))
    assert (found.code, found.reason, found.fields()) == (422, "Invalid", ["spec.controlPlaneRegions"])
    assert 'must be of type array: "null"' in found.message


def test_field_goes_with_what_was_filled_in_around_it(capi: ApiLab) -> None:
    remediation = {
        "apiVersion": "cluster.x-k8s.io/v1beta1",
        "kind": "MachineHealthCheck",
        "metadata": {"name": "one", "namespace": "default"},
        "spec": {"clusterName": "k8s", "selector": {"matchLabels": {"a": "b"}}},
    }
    path = "/apis/cluster.x-k8s.io/v1beta1/namespaces/default/machinehealthchecks/one"
    capi.apply(path, {**remediation, "spec": {**remediation["spec"], "unhealthyRange": "[0-1]"}})  # type: ignore[dict-item]
    assert "unhealthyRange" not in capi.apply(path, remediation)["spec"]
    apply(capi, hetzner_cluster())
    without = hetzner_cluster()
    del without["spec"]["hetznerSecretRef"]
    assert refusal(capi, without).fields() == ["spec.hetznerSecretRef"]


def test_defaults_stay_in_a_section_that_is_still_applied(capi: ApiLab) -> None:
    apply(capi, hetzner_cluster())
    section = apply(capi, hetzner_cluster(hetznerSecretRef={"name": "hetzner", "key": {}}))["spec"]["hetznerSecretRef"]
    assert section["key"]["hcloudToken"] == "hcloud-token"
    assert section["key"]["sshKey"] == "hcloud-ssh-key-name"


def test_section_that_becomes_empty_is_null(capi: ApiLab) -> None:
    apply(capi, hetzner_cluster())
    found = refusal(capi, hetzner_cluster(sshKeys={}))
    assert found.code == 422
    assert 'spec.sshKeys in body must be of type object: "null"' in found.message


def test_section_of_another_manager_stays(capi: ApiLab) -> None:
    apply(capi, hetzner_cluster(controlPlaneLoadBalancer={"enabled": False}))
    mine = hetzner_cluster()
    mine["spec"] = {"controlPlaneLoadBalancer": {"enabled": False, "type": "lb11"}}
    apply(capi, mine, "second")
    left = apply(capi, hetzner_cluster())["spec"]["controlPlaneLoadBalancer"]
    assert (left["enabled"], left["type"]) == (False, "lb11")


def test_empty_labels_are_owned_and_not_stored(lab: ApiLab) -> None:
    path = "/api/v1/namespaces/default/configmaps/one"
    document = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one", "labels": {}}}
    metadata = lab.apply(path, document)["metadata"]
    assert "labels" not in metadata
    assert metadata["managedFields"][0]["fieldsV1"] == {"f:metadata": {"f:labels": {}}}


@pytest.mark.parametrize(
    ("value", "byte"), [("words", 4), ("wo!ds", 2), ("d29yZA", 4), ("d29yZA=", 7), ("d29=yZA=", 4), ("====", 0)]
)
def test_secret_that_is_no_base64_cannot_be_read(lab: ApiLab, value: str, byte: int) -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "one"}, "data": {"a": value}}
    with pytest.raises(Refused) as created:
        lab.create("/api/v1/namespaces/default/secrets", secret)
    assert (created.value.code, created.value.reason) == (400, "BadRequest")
    with pytest.raises(Refused) as applied:
        lab.apply("/api/v1/namespaces/default/secrets/one", secret)
    assert (applied.value.code, applied.value.reason) == (500, "")
    assert all(each.value.message.endswith(f"illegal base64 data at input byte {byte}") for each in (created, applied))


def test_value_that_no_webhook_could_read_is_invalid_and_no_fault_of_the_server(capi: ApiLab) -> None:
    cluster = {
        "apiVersion": "cluster.x-k8s.io/v1beta1",
        "kind": "Cluster",
        "metadata": {"name": "k8s"},
        "spec": {"clusterNetwork": {"pods": "10.0.0.0/8"}},
    }
    with pytest.raises(Refused) as caught:
        capi.create("/apis/cluster.x-k8s.io/v1beta1/namespaces/default/clusters", cluster)
    assert (caught.value.code, caught.value.fields()) == (422, ["spec.clusterNetwork.pods"])
