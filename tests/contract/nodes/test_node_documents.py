"""What a machine's configuration makes of its Node."""

from __future__ import annotations

import copy

import pytest

from tallship.lab.controllers.nodes import node_documents as documents

CONFIG: documents.Config = {
    "machine": {
        "type": "controlplane",
        "kubelet": {
            "image": "ghcr.io/siderolabs/kubelet:v1.32.2",
            "extraArgs": {"rotate-server-certificates": "true"},
            "nodeIP": {"validSubnets": ["10.10.64.0/25"]},
        },
        "nodeLabels": {"node.kubernetes.io/exclude-from-external-load-balancers": ""},
        "features": {"kubePrism": {"enabled": True, "port": 7445}},
    },
    "cluster": {
        "allowSchedulingOnControlPlanes": True,
        "externalCloudProvider": {"enabled": True},
        "network": {"podSubnets": ["10.10.128.0/17"], "serviceSubnets": ["10.10.96.0/20"]},
        "proxy": {"disabled": True},
    },
}


def changed(section: str, **settings: object) -> documents.Config:
    config = copy.deepcopy(CONFIG)
    config[section].update(settings)
    return config


def made(config: documents.Config) -> documents.Config:
    return documents.node("cp-1", config, documents.node_addresses(config, ["127.0.0.9", "10.10.64.3"]), "v1.12.2", 1)


def test_node_is_known_by_its_private_address_only() -> None:
    node = made(CONFIG)
    assert node["metadata"]["annotations"][documents.PROVIDED_IP] == "10.10.64.3"
    assert node["status"]["addresses"] == [
        {"type": "InternalIP", "address": "10.10.64.3"},
        {"type": "Hostname", "address": "cp-1"},
    ]


@pytest.mark.parametrize(
    ("subnets", "expected"),
    [
        ([], ["127.0.0.9"]),
        (["10.10.64.0/25"], ["10.10.64.3"]),
        (["0.0.0.0/0", "!127.0.0.0/8"], ["10.10.64.3"]),
        (["192.168.0.0/16"], []),
    ],
)
def test_valid_subnets_choose_the_node_address(subnets: list[str], expected: list[str]) -> None:
    config = changed("machine", kubelet={"nodeIP": {"validSubnets": subnets}})
    assert documents.node_addresses(config, ["127.0.0.9", "10.10.64.3"]) == expected


def test_pod_network_that_holds_the_address_takes_it_away() -> None:
    config = changed("cluster", network={"podSubnets": ["10.10.0.0/16"], "serviceSubnets": []})
    assert documents.node_addresses(config, ["10.10.64.3"]) == []


def test_labels_and_taints_follow_the_configuration() -> None:
    node = made(CONFIG)
    assert node["metadata"]["labels"]["node.kubernetes.io/exclude-from-external-load-balancers"] == ""
    assert node["metadata"]["labels"][documents.CONTROL_PLANE] == ""
    assert [taint["key"] for taint in node["spec"]["taints"]] == [documents.NOT_READY, documents.UNINITIALIZED]
    closed = made(changed("cluster", allowSchedulingOnControlPlanes=False))
    assert documents.CONTROL_PLANE in [taint["key"] for taint in closed["spec"]["taints"]]


WORKER = {"type": "worker", "nodeLabels": {"example.com/pool": "a", "node.kubernetes.io/purpose": "batch"}}


def test_worker_is_no_control_plane_and_labels_itself() -> None:
    node = made(changed("machine", **WORKER))
    labels = node["metadata"]["labels"]
    assert documents.CONTROL_PLANE not in labels
    assert (labels["example.com/pool"], labels["node.kubernetes.io/purpose"]) == ("a", "batch")
    closed = made(
        {**changed("machine", **WORKER), "cluster": changed("cluster", allowSchedulingOnControlPlanes=False)["cluster"]}
    )
    assert [taint["key"] for taint in closed["spec"]["taints"]] == [documents.NOT_READY, documents.UNINITIALIZED]


@pytest.mark.parametrize(
    "refused",
    [
        {"nodeLabels": {"example.com/pool": "a", "node-role.kubernetes.io/worker": ""}},
        {"nodeLabels": {"example.com/pool": "a", "app.kubernetes.io/component": "x"}},
        {"nodeLabels": {"example.com/pool": "a", "node-restriction.kubernetes.io/x": "x"}},
        {"nodeLabels": {"example.com/pool": "a"}, "nodeTaints": {"example.com/pool": "a:NoSchedule"}},
    ],
)
def test_what_a_worker_may_not_say_of_itself_takes_all_its_labels_away(refused: documents.Config) -> None:
    settings = {"type": "worker", "nodeAnnotations": {"example.com/owner": "b"}, **refused}
    node = made(changed("machine", **settings))
    assert "example.com/pool" not in node["metadata"]["labels"]
    assert "example.com/owner" not in node["metadata"]["annotations"]
    assert "example.com/pool" not in [taint["key"] for taint in node["spec"]["taints"]]
    labels = made(changed("machine", **{**settings, "type": "controlplane"}))["metadata"]["labels"]
    assert labels["example.com/pool"] == "a"


def test_worker_registers_with_the_taints_of_its_kubelet() -> None:
    taint = {"key": "example.com/pool", "value": "a", "effect": "NoSchedule"}
    kubelet = {"image": "ghcr.io/siderolabs/kubelet:v1.32.2", "extraConfig": {"registerWithTaints": [taint]}}
    assert taint in made(changed("machine", type="worker", kubelet=kubelet))["spec"]["taints"]


def test_node_info_tells_talos_and_kubernetes() -> None:
    info = made(CONFIG)["status"]["nodeInfo"]
    assert (info["osImage"], info["kubeletVersion"]) == ("Talos (v1.12.2)", "v1.32.2")
    again = documents.node("cp-1", CONFIG, [], "v1.12.2", 2)["status"]["nodeInfo"]
    assert again["bootID"] != info["bootID"]
    assert again["machineID"] == info["machineID"]


def test_pod_networks_are_given_out_in_order() -> None:
    assert documents.pod_cidr(CONFIG, set()) == "10.10.128.0/24"
    assert documents.pod_cidr(CONFIG, {"10.10.128.0/24"}) == "10.10.129.0/24"


def test_absent_and_null_sections_are_empty() -> None:
    assert documents.section({"machine": None}, "machine", "kubelet") == {}
    assert documents.kube_prism({}) == ""
    assert documents.kube_proxy_runs({"cluster": {"proxy": None}})
