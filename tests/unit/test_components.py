"""A provider's components for a manager that runs outside the cluster."""

from __future__ import annotations

from base64 import b64decode
from typing import Any

from tallship.localplane.components import for_processes

SERVICE = {"service": {"name": "webhook", "namespace": "system", "path": "/validate"}}
CONVERSION = {"clientConfig": {"service": {"path": "/convert"}}, "conversionReviewVersions": ["v1"]}


def definition(**spec: Any) -> dict[str, Any]:
    annotations = {"cert-manager.io/inject-ca-from": "system/serving", "kept": "yes"}
    metadata = {"name": "machines.cluster.x-k8s.io", "annotations": annotations, "labels": {"kept": "yes"}}
    return {"kind": "CustomResourceDefinition", "metadata": metadata, "spec": spec}


def hooks(kind: str, client: dict[str, Any]) -> dict[str, Any]:
    return {"kind": kind, "metadata": {"name": kind.lower()}, "webhooks": [{"name": "one", "clientConfig": client}]}


def test_webhooks_and_conversions_are_found_by_url() -> None:
    given = [
        hooks("ValidatingWebhookConfiguration", SERVICE),
        definition(conversion={"strategy": "Webhook", "webhook": CONVERSION}),
        hooks("MutatingWebhookConfiguration", {"url": "https://elsewhere:9443/mutate"}),
    ]
    first, *others = for_processes(given, "https://127.0.0.1:9440/", "PEM")
    assert first["spec"]["conversion"]["webhook"]["clientConfig"]["url"] == "https://127.0.0.1:9440/convert"
    clients = [each["webhooks"][0]["clientConfig"] for each in others]
    assert [each["url"] for each in clients] == ["https://127.0.0.1:9440/validate", "https://127.0.0.1:9440/mutate"]
    assert {b64decode(each["caBundle"]) for each in clients} == {b"PEM"}
    assert "service" in SERVICE  # what was given is as it was


def test_definitions_are_known_to_clusterctl_and_ask_cert_manager_for_nothing() -> None:
    (made,) = for_processes([definition(conversion={"strategy": "None"})], "https://127.0.0.1:1", "PEM")
    assert made["metadata"]["labels"] == {"kept": "yes", "clusterctl.cluster.x-k8s.io": ""}
    assert made["metadata"]["annotations"] == {"kept": "yes"}


def test_nothing_is_kept_that_would_run_in_a_pod() -> None:
    kinds = ("Deployment", "Service", "Certificate", "Issuer", "Namespace", "ClusterRole")
    assert for_processes([{"kind": each, "metadata": {"name": "x"}} for each in kinds], "https://x:1", "PEM") == []
