"""Facts from live objects, held against what the real controllers left behind."""

from __future__ import annotations

import base64
import gzip
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from tallship.manifests import cluster, conditions
from tallship.spec import parse_spec
from tallship.versions import PROVIDERS

RECORDING = Path(__file__).parents[2].parent / "shared/contracts/recordings/create.objects.yaml"
recorded = pytest.mark.skipif(not RECORDING.exists(), reason="the recordings are not here")


def live(kind: str) -> list[dict[str, Any]]:
    documents = yaml.load_all(RECORDING.read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return [each for each in documents if each and each["kind"] == kind]


@recorded
def test_the_recorded_cluster_stands() -> None:
    (hetzner,), (plane,) = live("HetznerCluster"), live("TalosControlPlane")
    assert conditions.infrastructure_ready(hetzner)
    assert conditions.load_balancer_address(hetzner) == "203.0.113.2"
    assert conditions.network_id(hetzner) == "4711001"
    assert conditions.initialized(plane)
    assert conditions.is_true(hetzner, "TargetClusterReady")
    assert conditions.why_not_ready(hetzner) == []
    summary = conditions.machines(live("Machine"), live("HCloudMachine"))
    assert summary == "3 machines: 3 Running; servers: 3 running"


@recorded
def test_the_live_endpoint_is_kept() -> None:
    spec = parse_spec("name: k8s").spec
    assert spec is not None
    (hetzner,) = live("HetznerCluster")
    kept = [conditions.with_live_endpoint(each, hetzner) for each in cluster.infrastructure(spec)]
    assert kept == cluster.infrastructure(spec, "203.0.113.2")


def test_nothing_is_known_of_an_object_without_status() -> None:
    bare = {"kind": "HetznerCluster", "metadata": {"name": "k8s"}, "spec": {}}
    assert not conditions.infrastructure_ready(bare)
    assert conditions.load_balancer_address(bare) == ""
    assert conditions.network_id(bare) is None
    assert conditions.why_not_ready(bare) == []
    assert conditions.machines([], []) == "no machine yet"
    assert conditions.with_live_endpoint({"kind": "HetznerCluster"}, bare) == {"kind": "HetznerCluster"}


def test_an_address_counts_only_once_the_infrastructure_stands() -> None:
    early = {"metadata": {"name": "k8s"}, "status": {"controlPlaneLoadBalancer": {"ipv4": "203.0.113.2"}}}
    assert conditions.load_balancer_address(early) == ""


def test_evidence_leaves_out_the_summary_and_names_failures() -> None:
    found = {
        "kind": "HCloudMachine",
        "metadata": {"name": "k8s-abc"},
        "status": {
            "failureReason": "CreateError",
            "conditions": [
                {"type": "Ready", "status": "False", "reason": "ImageNotFound"},
                {"type": "ServerCreateSucceeded", "status": "False", "reason": "ImageNotFound", "message": "no image"},
                {"type": "BootstrapReady", "status": "True"},
            ],
        },
    }
    assert conditions.why_not_ready(found) == [
        "HCloudMachine k8s-abc: failureReason: CreateError",
        "HCloudMachine k8s-abc: ServerCreateSucceeded is False: ImageNotFound, no image",
    ]


def node(ready: str = "True", taints: tuple[str, ...] = (), provider: str = "hcloud://1") -> dict[str, Any]:
    return {
        "metadata": {"name": "n", "labels": {"node-role.kubernetes.io/control-plane": ""}},
        "spec": {"providerID": provider, "taints": [{"key": key} for key in taints]},
        "status": {
            "addresses": [
                {"type": "InternalIP", "address": "fd00::1"},
                {"type": "InternalIP", "address": "10.10.64.3"},
            ],
            "conditions": [{"type": "Ready", "status": ready, "reason": "KubeletNotReady", "message": "no CNI"}],
            "nodeInfo": {"osImage": "Talos (v1.12.2)"},
        },
    }


def test_a_node_of_use_waits_for_nothing() -> None:
    assert conditions.why_node_waits(node()) == []
    assert conditions.node_ready(node())
    assert conditions.internal_ip(node()) == "10.10.64.3"
    assert conditions.talos_version(node()) == "v1.12.2"
    assert conditions.is_control_plane(node())


def test_what_a_node_waits_for_is_told() -> None:
    assert conditions.why_node_waits(node("False")) == ["n: Ready is False: KubeletNotReady, no CNI"]
    (tainted,) = conditions.why_node_waits(node(taints=(conditions.UNINITIALIZED_TAINT,), provider=""))
    assert "Hetzner CCM" in tainted
    (unmatched,) = conditions.why_node_waits(node(provider=""))
    assert "no provider ID" in unmatched
    silent = {"metadata": {"name": "n"}, "spec": {"providerID": "hcloud://1"}}
    assert conditions.why_node_waits(silent) == ["n: its kubelet has said nothing yet"]


def test_a_deployment_is_available_at_its_newest_version_only() -> None:
    found = {
        "metadata": {"name": "x", "generation": 2},
        "status": {"observedGeneration": 1, "conditions": [{"type": "Available", "status": "True"}]},
    }
    assert not conditions.deployment_available(found)
    found["status"]["observedGeneration"] = 2  # type: ignore[index]
    assert conditions.deployment_available(found)


def inventory(**changed: str) -> list[dict[str, Any]]:
    return [
        {"metadata": {"name": each.inventory}, "version": changed.get(each.component, each.version)}
        for each in PROVIDERS
    ]


def test_inventory_at_the_pins_has_no_problem() -> None:
    assert conditions.provider_problems(inventory()) == ([], [])


def test_absent_and_other_providers_are_told_apart() -> None:
    absent, other = conditions.provider_problems(inventory(caph="v1.1.8")[:3])
    assert absent == ["control-plane-talos v0.5.12"]
    assert other == ["infrastructure-hetzner is v1.1.8, not v1.0.7"]


def record(version: int, status: str, config: dict[str, Any] | None, packed: bool = True) -> dict[str, Any]:
    stored = {"chart": {"metadata": {"name": "cilium", "version": "1.18.6"}}, "info": {"status": status}}
    text = json.dumps(stored | ({"config": config} if config else {})).encode()
    payload = base64.b64encode(gzip.compress(text) if packed else text)
    labels = {"owner": "helm", "name": "cilium", "status": status, "version": str(version), "modifiedAt": "1700000000"}
    return {"metadata": {"labels": labels}, "data": {"release": base64.b64encode(payload).decode()}}


def test_the_newest_record_counts_by_number() -> None:
    release = conditions.newest_release([record(10, "deployed", {"a": 1}), record(9, "superseded", None)])
    assert release is not None
    assert (release.revision, release.status, release.chart, release.values) == (10, "deployed", "cilium", {"a": 1})
    assert release.changed_at == datetime.fromtimestamp(1700000000, UTC)
    assert conditions.newest_release([]) is None


def test_a_release_equals_what_is_wanted_whatever_the_order_of_keys() -> None:
    release = conditions.newest_release([record(1, "deployed", {"a": [1], "b": {"c": 2}}, packed=False)])
    assert release is not None
    assert conditions.release_equals(release, "1.18.6", {"b": {"c": 2}, "a": (1,)})
    assert not conditions.release_equals(release, "1.18.7", {"b": {"c": 2}, "a": [1]})
    assert not conditions.release_equals(release, "1.18.6", {"b": {"c": 2}})


def test_a_release_without_values_equals_no_values() -> None:
    release = conditions.newest_release([record(1, "deployed", None)])
    assert release is not None
    assert conditions.release_equals(release, "1.18.6", {})


@pytest.mark.parametrize("status", ["failed", "pending-install", "pending-upgrade", "uninstalling"])
def test_a_release_that_is_not_deployed_equals_nothing(status: str) -> None:
    release = conditions.newest_release([record(1, status, {"a": 1})])
    assert release is not None
    assert not conditions.release_equals(release, "1.18.6", {"a": 1})
    assert release.is_pending == status.startswith("pending")
