"""Nodes become Ready, are known to the cloud, and get their certificates; or do not, and say why."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
from node_world import NodeWorld, cilium, hcloud_ccm, secret, talos_ccm
from test_node_documents import CONFIG

from tallship.lab.controllers.nodes import cordon, scheduling
from tallship.lab.controllers.nodes import node_documents as documents
from tallship.lab.controllers.nodes.mirror import condition
from tallship.lab.kubeclient import Object


@pytest.fixture
def world() -> Iterator[NodeWorld]:
    with NodeWorld(_with_access()) as made:
        yield made


def test_nodes_register_and_wait_for_a_network(world: NodeWorld) -> None:
    world.wait_until(lambda: len(world.list("Node")) == 3, 5)
    world.wait(60)
    assert world.readiness() == ["False"] * 3
    assert condition(world.list("Node")[0], "Ready")["message"] == documents.NO_CNI
    assert world.tainted(documents.UNINITIALIZED) == ["cp-1", "cp-2", "cp-3"]
    assert {node["spec"]["podCIDR"] for node in world.list("Node")} == {
        "10.10.128.0/24",
        "10.10.129.0/24",
        "10.10.130.0/24",
    }


def test_cilium_with_fitting_values_makes_nodes_ready_after_pull_and_start(world: NodeWorld) -> None:
    world.apply(*cilium())
    ready = world.wait_until(lambda: world.readiness() == ["True"] * 3, 60)
    assert 35 <= ready <= 40
    status = _get(world, "DaemonSet", "cilium")["status"]
    assert (status["desiredNumberScheduled"], status["numberReady"]) == (3, 3)
    assert world.tainted(documents.NOT_READY) == []


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"port": "6443"}, "Unable to contact k8s api-server"),
        ({"host": ""}, "Unable to contact k8s api-server"),
        ({"ipam": "cluster-pool"}, "ipam"),
        ({"replace": "false"}, "kube-proxy"),
        ({"cidr": "10.10.0.0/16"}, "ipv4-native-routing-cidr"),
        ({"capabilities": ["SYS_MODULE"]}, "unable to apply caps"),
    ],
)
def test_cilium_with_other_values_keeps_nodes_not_ready(world: NodeWorld, changes: dict[str, Any], word: str) -> None:
    world.apply(*cilium(**changes))
    world.wait(90)
    assert world.readiness() == ["False"] * 3
    pod = _pods(world, "cilium")[0]
    state = pod["status"]["containerStatuses"][0]
    assert state["state"]["waiting"]["reason"] == "CrashLoopBackOff"
    assert word in state["lastState"]["terminated"]["message"]
    assert word in world.store.table("workload.logs")[f"kube-system/{pod['metadata']['name']}"]["text"]


def test_corrected_cilium_makes_nodes_ready(world: NodeWorld) -> None:
    world.apply(*cilium(port="6443"))
    world.wait(60)
    world.apply(*cilium())
    world.wait_until(lambda: world.readiness() == ["True"] * 3, 60)


def test_ccm_knows_the_servers_and_routes_their_pods(world: NodeWorld) -> None:
    world.apply(secret("hcloud", token=world.token, network=str(world.network_id)), *cilium(), *hcloud_ccm())
    world.wait_until(world.is_initialized, 90)
    servers = {each["name"]: each for each in world.hetzner_get("/servers")["servers"]}
    for node in world.list("Node"):
        server = servers[node["metadata"]["name"]]
        assert node["spec"]["providerID"] == f"hcloud://{server['id']}"
        assert node["metadata"]["labels"]["node.kubernetes.io/instance-type"] == "cx33"
        assert "topology.kubernetes.io/zone" not in node["metadata"]["labels"]
        kinds = {each["type"]: each["address"] for each in node["status"]["addresses"]}
        assert kinds["InternalIP"] == server["private_net"][0]["ip"]
        assert kinds["ExternalIP"] == server["public_net"]["ipv4"]["ip"]
    world.wait(60)
    routes = world.hetzner_get(f"/networks/{world.network_id}")["network"]["routes"]
    assert {route["destination"] for route in routes} == {n["spec"]["podCIDR"] for n in world.list("Node")}
    assert world.readiness() == ["True"] * 3


def test_ccm_without_its_secret_says_which(world: NodeWorld) -> None:
    world.apply(*cilium(), *hcloud_ccm())
    world.wait(60)
    waiting = _pods(world, "hcloud-cloud-controller-manager")[0]["status"]["containerStatuses"][0]["state"]["waiting"]
    assert waiting == {"reason": "CreateContainerConfigError", "message": 'secret "hcloud" not found'}
    world.apply(secret("hcloud", token=world.token, network=str(world.network_id)))
    world.wait_until(world.is_initialized, 30)


@pytest.mark.parametrize(
    ("token", "network", "word"), [("wrong", "", "unauthorized"), ("", "nowhere", "Network nowhere not found")]
)
def test_ccm_with_a_wrong_secret_crashes(world: NodeWorld, token: str, network: str, word: str) -> None:
    keys = {"token": token or world.token, "network": network or str(world.network_id)}
    world.apply(secret("hcloud", **keys), *cilium(), *hcloud_ccm())
    world.wait(60)
    status = _pods(world, "hcloud-cloud-controller-manager")[0]["status"]["containerStatuses"][0]
    assert word in status["lastState"]["terminated"]["message"]
    assert world.tainted(documents.UNINITIALIZED) == ["cp-1", "cp-2", "cp-3"]


def test_ccm_that_tolerates_unready_nodes_starts_before_the_network_is_there(world: NodeWorld) -> None:
    world.apply(secret("hcloud", token=world.token, network=str(world.network_id)))
    toleration = {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoSchedule"}
    world.apply(*hcloud_ccm(tolerations=[toleration]))
    world.wait_until(world.is_initialized, 30)
    assert world.readiness() == ["False"] * 3


def test_node_known_by_an_address_its_server_lacks_stays_tainted() -> None:
    with NodeWorld() as world:
        for machine in world.fleet.machines:
            machine.config["machine"]["kubelet"]["nodeIP"] = {"validSubnets": ["192.0.2.0/24"]}
            machine.private_ip = "192.0.2.7"
        world.apply(secret("hcloud", token=world.token, network=str(world.network_id)), *cilium(), *hcloud_ccm())
        world.wait(90)
        assert len(world.tainted(documents.UNINITIALIZED)) == 3
        events = [event["message"] for event in world.list("Event")]
        assert "failed to get node address from cloud provider that matches ip: 192.0.2.7" in events


def test_talos_ccm_approves_serving_certificates(world: NodeWorld) -> None:
    world.wait_until(lambda: world.get("CustomResourceDefinition", "serviceaccounts.talos.dev") is not None, 20)
    world.apply(*cilium(), *talos_ccm())
    world.wait_until(lambda: len(_issued(world)) == 3, 90)


def test_talos_ccm_waits_for_access_to_the_talos_api() -> None:
    config = _with_access()
    config["machine"]["features"]["kubernetesTalosAPIAccess"]["allowedRoles"] = []
    with NodeWorld(config) as world:
        world.wait_until(lambda: world.get("CustomResourceDefinition", "serviceaccounts.talos.dev") is not None, 20)
        world.apply(*cilium(), *talos_ccm())
        world.wait(90)
        pod = _pods(world, "talos-cloud-controller-manager")[0]
        assert pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"] == "ContainerCreating"
        assert any("talos-secrets" in event["message"] for event in world.list("Event"))
        assert _issued(world) == []


def test_silent_node_becomes_unknown_and_returns(world: NodeWorld) -> None:
    world.apply(*cilium())
    world.wait_until(lambda: world.readiness() == ["True"] * 3, 60)
    world.fleet.machines[2].kubelet_may_register = False
    world.wait(30)
    assert world.readiness() == ["True"] * 3
    world.wait_until(lambda: world.readiness() == ["True", "True", "Unknown"], 40)
    assert world.tainted(documents.UNREACHABLE) == ["cp-3"]
    world.fleet.machines[2].boots += 1
    world.fleet.machines[2].kubelet_may_register = True
    world.wait_until(lambda: world.readiness() == ["True"] * 3, 30)
    assert world.tainted(documents.UNREACHABLE) == []


def test_deleted_node_stays_away_until_its_machine_boots_again(world: NodeWorld) -> None:
    world.apply(*cilium())
    world.wait_until(lambda: world.readiness() == ["True"] * 3, 60)
    world.ask(world.client.delete("Node", "cp-3"))
    world.wait(30)
    assert world.readiness() == ["True"] * 2
    assert len(_pods(world, "cilium")) == 2
    world.fleet.machines[2].boots += 1
    world.wait_until(lambda: world.readiness() == ["True"] * 3, 60)


def test_parts_move_to_another_api_server_when_theirs_is_gone(world: NodeWorld) -> None:
    world.wait_until(lambda: len(world.list("Node")) == 3, 5)
    world.fleet.machines[0].serves_kubernetes = False
    world.apply(*cilium())
    world.wait_until(lambda: world.readiness() == ["True"] * 3, 60)


def test_everything_ends_when_the_last_machine_is_gone(world: NodeWorld) -> None:
    world.wait_until(lambda: len(world.list("Node")) == 3, 5)
    world.fleet.machines.clear()
    world.wait(3)
    assert world.clusters._running == {}


def test_kubelet_keeps_its_lease(world: NodeWorld) -> None:
    world.wait(65)
    lease = _get(world, "Lease", "cp-1", "kube-node-lease")
    assert lease["spec"]["renewTime"] >= "2026-01-01T00:00:55"


def _with_access() -> dict[str, Any]:
    config = copy.deepcopy(CONFIG)
    config["machine"]["features"]["kubernetesTalosAPIAccess"] = {
        "enabled": True,
        "allowedRoles": ["os:reader"],
        "allowedKubernetesNamespaces": ["kube-system"],
    }
    return config


def _get(world: NodeWorld, kind: str, name: str, namespace: str = "kube-system") -> Object:
    found = world.get(kind, name, namespace)
    assert found is not None
    return found


def _pods(world: NodeWorld, prefix: str) -> list[Object]:
    return [pod for pod in world.list("Pod") if pod["metadata"]["name"].startswith(prefix)]


def _issued(world: NodeWorld) -> list[Object]:
    return [each for each in world.list("CertificateSigningRequest") if each.get("status", {}).get("certificate")]


def test_node_of_a_machine_that_is_upgraded_is_cordoned_and_drained_until_it_runs_again(world: NodeWorld) -> None:
    world.apply(*cilium())
    world.wait_until(lambda: world.readiness() == ["True"] * 3, 60)
    machine = world.fleet.machines[0]
    machine.stage = "upgrading"
    world.wait_until(lambda: "drained_at" in machine.noted, 5)
    node = _get(world, "Node", machine.hostname)
    assert node["spec"]["unschedulable"]
    assert node["metadata"]["annotations"][cordon.MARK] == "true"
    staying = [each for each in world.list("Pod") if each["spec"].get("nodeName") == machine.hostname]
    assert {each["metadata"]["ownerReferences"][0]["kind"] for each in staying} == {"DaemonSet"}
    machine.stage = "running"
    world.wait_until(lambda: "unschedulable" not in _get(world, "Node", machine.hostname)["spec"], 5)
    assert cordon.MARK not in _get(world, "Node", machine.hostname)["metadata"]["annotations"]


def test_cordon_of_somebody_else_is_not_taken_back(world: NodeWorld) -> None:
    world.wait_until(lambda: len(world.list("Node")) == 3, 5)
    machine = world.fleet.machines[0]
    node = _get(world, "Node", machine.hostname)
    world.ask(world.client.patch(node, {"spec": {"unschedulable": True}}))
    world.wait(2)
    machine.stage = "upgrading"
    world.wait_until(lambda: "cordoned_at" in machine.noted, 5)
    machine.stage = "running"
    world.wait(5)
    assert _get(world, "Node", machine.hostname)["spec"]["unschedulable"]


def test_a_cordon_keeps_no_daemon_away() -> None:
    node = {"metadata": {"name": "cp-1"}, "spec": {"unschedulable": True}}
    daemon = {"kind": "DaemonSet", "spec": {"template": {"spec": {}}}}
    assert scheduling.obstacle({"tolerations": scheduling.tolerations(daemon)}, node) == ""
    assert scheduling.obstacle({}, node) == "node(s) were unschedulable"
