"""What the controllers do with a cluster that is up: more machines, fewer, other ones, sick ones, and nresting."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import pytest
from cluster_life import ClusterLife, condition
from controller_world import ControllerWorld, manifests

from tallship.lab.controllers.cacppt.talos import TalosClient
from tallship.lab.controllers.nodes.identity import serving_request
from tallship.lab.talos import durations


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The Talos calls, by name."""
    noted: list[str] = []
    for name in ("bootstrap", "leave", "remove_member", "listen", "services"):
        real = getattr(TalosClient, name)

        async def note(self: TalosClient, *arguments: Any, _real: Any = real, _name: str = name) -> Any:
            noted.append(_name)
            return await _real(self, *arguments)

        monkeypatch.setattr(TalosClient, name, note)
    return noted


@pytest.fixture(scope="module")
def resting() -> Iterator[ClusterLife]:
    """A cluster of one control plane that every controller has finished with; each test leaves it like that."""
    world = ControllerWorld(boots=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(durations, "API_SERVER_FIRST", 5.0)
        life = ClusterLife(world, 1)
        life.wait_ready(1)
        world.wait(200)  # until CAPH has met the cluster
        yield life
    life.close()
    world.close()


def test_at_rest_nobody_asks_talos_or_writes(resting: ClusterLife, calls: list[str]) -> None:
    before = resting.world.writes["controllers"]
    resting.world.wait(300)
    assert not calls
    assert resting.world.writes["controllers"] == before


def test_more_replicas_join_etcd_and_fewer_leave_it(resting: ClusterLife, calls: list[str]) -> None:
    resting.change(replicas=3)
    resting.wait_ready(3)
    assert len(resting.members()) == 3
    assert set(calls) == {"services"}
    plane = resting.world.get("TalosControlPlane", "k8s-control-plane")
    assert condition(plane, "Resized")["status"] == "True"
    began = resting.world.clock.now()
    resting.change(replicas=2)
    resting.wait_ready(2)
    assert len(resting.members()) == 2
    assert calls.count("leave") == 1 and "remove_member" not in calls
    assert 35 <= resting.world.clock.now() - began <= 65, "5 s of events, 31 s for the machine"
    resting.change(replicas=1)
    resting.wait_ready(1)


def test_another_version_replaces_the_machine_after_its_successor_has_joined(
    resting: ClusterLife, calls: list[str]
) -> None:
    old = resting.world.objects("Machine")[0]
    resting.change(version="v1.32.3")
    resting.world.wait(30)
    plane = resting.world.get("TalosControlPlane", "k8s-control-plane")
    rolling = condition(plane, "MachinesSpecUpToDate")
    assert (rolling["reason"], rolling["severity"]) == ("RollingUpdateInProgress", "Warning")
    assert rolling["message"] == "Rolling 1 replicas with outdated spec (1 replicas up to date)"
    resting.world.wait_until(
        lambda: len(resting.world.management.objects("Machine")) == 2 and resting.world.management, step=5
    )
    resting.world.wait_until(
        lambda: (
            old["metadata"]["name"] not in [m["metadata"]["name"] for m in resting.world.management.objects("Machine")]
        ),
        step=5,
    )
    resting.wait_ready(1)
    assert resting.world.objects("Machine")[0]["spec"]["version"] == "v1.32.3"
    assert "leave" in calls and "remove_member" not in calls
    assert len(resting.members()) == 1


def test_an_empty_list_of_patches_makes_every_machine_outdated(
    booting_world: ControllerWorld, calls: list[str]
) -> None:
    controlplane = {
        "generateType": "controlplane",
        "talosVersion": "v1.12.2",
        "hostname": {"source": "InfrastructureName"},
        "strategicPatches": [],
    }
    world = booting_world
    documents = manifests(world.token, 1)
    documents[-1]["spec"]["controlPlaneConfig"] = {"controlplane": controlplane}
    world.run(world.deploy())
    world.run(world.apply(*documents))
    world.wait(150)
    assert len(world.objects("Machine")) == 2
    rolling = condition(world.get("TalosControlPlane", "k8s-control-plane"), "MachinesSpecUpToDate")
    assert rolling["message"] == "Rolling 2 replicas with outdated spec (0 replicas up to date)"
    assert "bootstrap" not in calls


def test_a_machine_that_left_etcd_but_was_never_deleted_blocks_the_roll(resting: ClusterLife, calls: list[str]) -> None:
    """CACPPT #237."""
    old = resting.world.objects("Machine")[0]["metadata"]["name"]
    resting.world.fault("server-error", match={"server": "mgmt", "route": "DELETE machines"})
    resting.change(version="v1.32.4")
    resting.world.wait_until(lambda: "leave" in calls, step=5)
    resting.world.wait(120)
    machines = resting.world.objects("Machine")
    assert [each["status"]["phase"] for each in machines] == ["Running", "Running"]
    assert not any("deletionTimestamp" in each["metadata"] for each in machines)
    plane = resting.world.get("TalosControlPlane", "k8s-control-plane")
    assert condition(plane, "EtcdClusterHealthyCondition")["reason"] == "EtcdClusterUnhealthy"
    assert condition(plane, "Resized")["reason"] == "ScalingDown"
    resting.world.run(resting.world.client.delete("Machine", old, "default"))
    resting.wait_ready(1)
    assert resting.world.objects("Machine")[0]["metadata"]["name"] != old


def test_a_sick_node_is_rebooted_and_then_given_up(resting: ClusterLife) -> None:
    world = resting.world
    infrastructure = "infrastructure.cluster.x-k8s.io/v1beta1"
    template = {
        "apiVersion": infrastructure,
        "kind": "HCloudRemediationTemplate",
        "metadata": {"name": "reboot", "namespace": "default"},
        "spec": {"template": {"spec": {"strategy": {"type": "Reboot", "retryLimit": 1, "timeout": "180s"}}}},
    }
    check = {
        "apiVersion": "cluster.x-k8s.io/v1beta1",
        "kind": "MachineHealthCheck",
        "metadata": {"name": "check", "namespace": "default"},
        "spec": {
            "clusterName": "k8s",
            "maxUnhealthy": "100%",
            "selector": {"matchLabels": {"cluster.x-k8s.io/control-plane": ""}},
            "unhealthyConditions": [{"type": "Ready", "status": "False", "timeout": "300s"}],
            "remediationTemplate": {
                "apiVersion": infrastructure,
                "kind": "HCloudRemediationTemplate",
                "name": "reboot",
            },
        },
    }
    world.run(world.apply(template, check))
    world.wait(200)  # until the Cluster's condition InfrastructureReady is true
    status = world.get("MachineHealthCheck", "check")["status"]
    assert (status["expectedMachines"], status["currentHealthy"], status["remediationsAllowed"]) == (1, 1, 1)
    node = world.objects("HCloudMachine")[0]["metadata"]["name"]
    world.run(resting.set_ready(node, "False"))
    world.wait(290)
    assert not world.objects("HCloudRemediation")
    world.wait(20)
    assert world.objects("HCloudRemediation")[0]["status"]["retryCount"] == 1
    assert condition(world.objects("Machine")[0], "HealthCheckSucceeded")["reason"] == "UnhealthyNode"
    world.wait(400)
    assert condition(world.objects("Machine")[0], "OwnerRemediated")["status"] == "False"
    world.run(resting.set_ready(node, "True"))
    world.wait(10)
    assert not world.objects("HCloudRemediation")
    assert condition(world.objects("Machine")[0], "HealthCheckSucceeded")["status"] == "True"
    assert condition(world.objects("Machine")[0], "OwnerRemediated")["status"] == "False", "it stays, as seen"


def test_signing_requests_of_nodes_are_approved_or_denied(resting: ClusterLife) -> None:
    world = resting.world
    item = world.objects("HCloudMachine")[0]
    name, private = item["metadata"]["name"], item["status"]["addresses"][1]["address"]
    wanted = {"good": (name, private), "foreign": (name, "10.10.64.99"), "unknown": ("somebody", private)}
    for key, (node, address) in wanted.items():
        request = base64.b64encode(serving_request(node, [address]).encode()).decode()
        spec = {"request": request, "signerName": "kubernetes.io/kubelet-serving", "usages": ["server auth"]}
        body = {
            "apiVersion": "certificates.k8s.io/v1",
            "kind": "CertificateSigningRequest",
            "metadata": {"name": key},
            "spec": {**spec, "username": f"system:node:{node}"},
        }
        world.run(resting.client.create(body))
    world.wait(30)
    found = {each["metadata"]["name"]: each for each in world.run(resting.client.list("CertificateSigningRequest"))}
    verdicts = {
        key: [each["type"] for each in item.get("status", {}).get("conditions", [])] for key, item in found.items()
    }
    assert verdicts == {"good": ["Approved"], "foreign": ["Denied"], "unknown": []}


def test_the_token_is_left_in_the_cluster_with_the_network(resting: ClusterLife) -> None:
    secret = resting.world.run(resting.client.get("Secret", "hetzner", "kube-system"))
    assert secret is not None
    data = {key: base64.b64decode(value).decode() for key, value in secret["data"].items()}
    network = resting.world.get("HetznerCluster", "k8s")["status"]["networkStatus"]["id"]
    assert (data["hcloud"], data["network"], data["apiserver-port"]) == (resting.world.token, str(network), "6443")


def test_a_lost_node_shows_on_its_machine(resting: ClusterLife) -> None:
    world = resting.world
    name = world.objects("HCloudMachine")[0]["metadata"]["name"]
    world.run(resting.set_ready(name, "Unknown"))
    world.wait(5)
    healthy = condition(world.objects("Machine")[0], "NodeHealthy")
    assert (healthy["status"], healthy["reason"]) == ("False", "NodeConditionsFailed")
