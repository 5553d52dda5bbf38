"""Which node a Pod may run on, and what keeps it from starting there."""

from __future__ import annotations

from typing import Any

from tallship.lab.controllers.nodes import durations, scheduling

TAINTED = {
    "metadata": {"name": "a", "labels": {"role": "x"}},
    "spec": {"taints": [{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]},
}
FREE: dict[str, Any] = {"metadata": {"name": "b", "labels": {}}, "spec": {}}


def test_untolerated_taint_keeps_a_pod_away_and_says_so() -> None:
    chosen, message = scheduling.choose({"containers": []}, [TAINTED], {})
    assert chosen == ""
    assert message == ("0/1 nodes are available: 1 node(s) had untolerated taint {node.kubernetes.io/not-ready: }.")


def test_toleration_without_a_key_tolerates_everything() -> None:
    assert scheduling.choose({"tolerations": [{"operator": "Exists"}]}, [TAINTED], {}) == ("a", "")


def test_toleration_of_another_effect_does_not_help() -> None:
    toleration = {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute"}
    assert scheduling.obstacle({"tolerations": [toleration]}, TAINTED)


def test_node_selector_is_kept() -> None:
    assert scheduling.obstacle({"nodeSelector": {"role": "x"}}, FREE).startswith("node(s) didn't match")


def test_least_loaded_node_is_chosen() -> None:
    other = {**FREE, "metadata": {"name": "c"}}
    assert scheduling.choose({}, [FREE, other], {"b": 2, "c": 1}) == ("c", "")


def test_missing_secret_is_told_as_kubelet_tells_it() -> None:
    reference = {"secretKeyRef": {"name": "hcloud", "key": "token"}}
    spec = {"containers": [{"name": "ccm", "env": [{"name": "HCLOUD_TOKEN", "valueFrom": reference}]}]}
    assert scheduling.missing_value(spec, "kube-system", {}) == 'secret "hcloud" not found'
    empty = {("Secret", "hcloud"): {"network": ""}}
    assert (
        scheduling.missing_value(spec, "kube-system", empty) == "couldn't find key token in Secret kube-system/hcloud"
    )
    assert scheduling.missing_value(spec, "kube-system", {("Secret", "hcloud"): {"token": "eA=="}}) == ""


def test_missing_volume_is_told_as_kubelet_tells_it() -> None:
    volume = {"name": "talos", "secret": {"secretName": "talos-secrets"}}
    message = scheduling.missing_volume({"volumes": [volume]}, set(), set())
    assert message == 'MountVolume.SetUp failed for volume "talos" : secret "talos-secrets" not found'
    assert scheduling.missing_volume({"volumes": [volume]}, {"talos-secrets"}, set()) == ""


def test_crash_back_off_doubles_to_five_minutes() -> None:
    assert [durations.back_off_seconds(n) for n in (1, 2, 3, 6, 60)] == [10, 20, 40, 300, 300]
