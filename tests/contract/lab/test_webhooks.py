"""The stand-ins' webhooks, as an API server asks them."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from tallship.lab.realkube import webhooks

Document = dict[str, Any]


def check(**spec: Any) -> Document:
    metadata = {"name": "k8s", "namespace": "default"}
    version = "cluster.x-k8s.io/v1beta1"
    return {"apiVersion": version, "kind": "MachineHealthCheck", "metadata": metadata, "spec": spec}


def test_defaults_come_as_a_patch() -> None:
    answer = webhooks.defaults({"object": check(clusterName="k8s", selector={"a": "b"})})
    patch = {each["path"]: each["value"] for each in json.loads(base64.b64decode(answer["patch"]))}
    assert patch["/spec"]["maxUnhealthy"] == "100%"
    assert patch["/metadata/labels"] == {"cluster.x-k8s.io/cluster-name": "k8s"}


def test_object_with_everything_is_left_alone() -> None:
    answer = webhooks.defaults({"object": {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one"}}})
    assert answer == {"allowed": True}


def test_wrong_object_gets_defaults_and_then_a_verdict_without_the_webhooks_name() -> None:
    wrong = check(clusterName="k8s")
    assert webhooks.defaults({"object": wrong})["allowed"]
    answer = webhooks.verdict({"object": wrong})
    assert not answer["allowed"]
    assert (answer["status"]["code"], answer["status"]["reason"]) == (422, "Invalid")
    assert answer["status"]["message"].startswith('MachineHealthCheck.cluster.x-k8s.io "k8s" is invalid: spec.selector')


def test_change_of_what_cannot_change_is_refused() -> None:
    before, after = (check(clusterName=name, selector={"a": "b"}) for name in ("one", "other"))
    assert not webhooks.verdict({"object": after, "oldObject": before})["allowed"]
    assert webhooks.verdict({"object": before, "oldObject": before}) == {"allowed": True}


@pytest.mark.parametrize(("provider", "status"), [("capi", 200), ("caph", 503)])
def test_provider_that_does_not_run_does_not_answer(provider: str, status: int) -> None:
    review = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}
    request = {"uid": "1", "object": check(clusterName="k8s", selector={"a": "b"})}

    async def ask() -> tuple[int, Any]:
        async with TestClient(TestServer(webhooks.app({"capi"}.__contains__), host="127.0.0.1")) as client:
            answer = await client.post(f"/{provider}/verdict", json={**review, "request": request})
            return answer.status, await answer.json() if answer.status == 200 else None

    found, said = asyncio.run(ask())
    assert found == status
    assert said in (None, {**review, "response": {"uid": "1", "allowed": True}})
