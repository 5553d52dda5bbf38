"""From the documents to servers that run: order, polls, nudges, and what stands in the way."""

from __future__ import annotations

import base64
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import yaml
from condition_sequences import RECORDINGS
from controller_world import ControllerWorld, Object, manifests
from hetzner_requests import Requests, recorded, without_polls

from tallship.lab.controllers.runner import Runner


def condition(item: Object, kind: str) -> Object:
    listed = item.get("status", {}).get("conditions", [])
    return next((each for each in listed if each["type"] == kind), {})


def changed(documents: list[Object], kind: str, **spec: Any) -> list[Object]:
    for document in documents:
        if document["kind"] == kind:
            document["spec"] |= spec
    return documents


def begin(world: ControllerWorld, documents: list[Object] | None = None) -> None:
    world.run(world.deploy())
    world.run(world.apply(*(documents or manifests(world.token, replicas=1))))


@pytest.fixture
def requests(world: ControllerWorld, monkeypatch: pytest.MonkeyPatch) -> Requests:
    return Requests(world, monkeypatch)


@dataclass
class Ordered:
    """Two minutes after the documents: three servers run. For tests that only look."""

    world: ControllerWorld
    requests: Requests


@pytest.fixture(scope="module")
def ordered() -> Iterator[Ordered]:
    world = ControllerWorld()
    with pytest.MonkeyPatch.context() as patch:
        found = Ordered(world, Requests(world, patch))
        begin(world, manifests(world.token))
        world.wait(120)
        yield found
    world.close()


@pytest.mark.skipif(not RECORDINGS.exists(), reason=f"{RECORDINGS} is not there")
def test_hetzner_is_asked_the_same_things_in_the_same_order(ordered: Ordered) -> None:
    requests = ordered.requests
    ours, theirs = without_polls([each for _, each in requests.all]), without_polls(recorded())
    ordering = [each for each in theirs if each[1] != "/servers/<id>" and "target" not in each[1]]
    assert [each for each in ours if each[1] != "/servers/<id>" and "target" not in each[1]] == ordering
    targets = [each for each in theirs if "target" in each[1]]
    assert sorted(map(str, (each for each in ours if "target" in each[1]))) == sorted(map(str, targets))
    assert len(ours) == len(theirs)
    assert 85 <= len(requests.all) <= 96


def test_a_poll_that_meets_starting_is_followed_by_a_minute_without(ordered: Ordered) -> None:
    polls = ordered.requests.times("GET", "/servers/<id>")
    assert not [at for at in polls if 31 < at < 90]
    assert all(each["status"]["ready"] for each in ordered.world.objects("HCloudMachine"))


def test_a_changed_annotation_on_the_cluster_makes_every_server_looked_at_now(
    world: ControllerWorld, requests: Requests
) -> None:
    begin(world)
    world.wait(45)
    before = len(requests.times("GET", "/servers/<id>"))
    nudged = {"apiVersion": "infrastructure.cluster.x-k8s.io/v1beta1", "kind": "HetznerCluster"}
    nudged["metadata"] = {"name": "k8s", "namespace": "default"}  # type: ignore[assignment]
    world.run(world.client.patch(nudged, {"metadata": {"annotations": {"tallship/event": "servers-run"}}}))
    world.wait(2)
    assert len(requests.times("GET", "/servers/<id>")) > before
    assert all(each["status"]["phase"] == "Provisioned" for each in world.objects("Machine"))


def test_the_cluster_is_looked_for_after_delays_that_double(ordered: Ordered) -> None:
    late = [at for at in ordered.requests.times("GET", "/networks") if at > 4]
    assert [round(b / a, 1) for a, b in itertools.pairwise(late)] == pytest.approx([2, 2, 2, 2], abs=0.1)


def test_conditions_call_a_machine_ready_before_its_server_runs(world: ControllerWorld) -> None:
    begin(world)
    world.wait(5)
    item = world.objects("HCloudMachine")[0]
    assert condition(item, "Ready")["status"] == "True"
    assert item["status"]["instanceState"] == "initializing" and not item["status"].get("ready")
    assert condition(world.get("Cluster", "k8s"), "InfrastructureReady")["status"] == "False"
    assert world.get("Cluster", "k8s")["status"]["infrastructureReady"]


def test_etcd_is_called_healthy_before_there_is_any(world: ControllerWorld) -> None:
    documents = manifests(world.token, replicas=1)
    world.run(world.deploy("cacppt", "capi", "caph"))
    world.run(world.apply(*documents))
    world.wait_until(lambda: condition(world.management.objects("TalosControlPlane")[0], "Ready"), step=0.02)
    plane = world.get("TalosControlPlane", "k8s-control-plane")
    assert condition(plane, "EtcdClusterHealthyCondition")["status"] == "True"
    assert condition(plane, "ControlPlaneComponentsHealthy")["status"] == "True"


@pytest.mark.parametrize(("images", "reason"), [(0, "ImageNotFound"), (2, "ImageAmbiguous")])
def test_without_exactly_one_image_nothing_is_ordered_for_five_minutes(
    world: ControllerWorld, requests: Requests, images: int, reason: str
) -> None:
    label = {"caph-image-name": "mine"}
    for _ in range(images):
        world.call(lambda: world.hetzner.add_snapshot("talos", label, architecture="x86", disk_gb=10, content={}))
    documents = manifests(world.token, replicas=1)
    documents[3]["spec"]["template"]["spec"]["imageName"] = "mine"
    begin(world, documents)
    world.wait(250)
    created = condition(world.objects("HCloudMachine")[0], "ServerCreateSucceeded")
    assert (created["status"], created["reason"], created["severity"]) == ("False", reason, "Error")
    looks = sorted(set(requests.times("GET", "/images")))
    assert len(looks) == 2 and looks[1] < 11, "at once, and by the poll that waited for bootstrap data"
    if not images:
        world.call(lambda: world.hetzner.add_snapshot("talos", label, architecture="x86", disk_gb=10, content={}))
        world.wait(60.5)
        assert len(requests.times("POST", "/servers")) == 1


def test_a_wrong_token_is_told_and_nothing_is_made(world: ControllerWorld, requests: Requests) -> None:
    begin(world, manifests("x" * 64))
    world.wait(5)
    available = condition(world.get("HetznerCluster", "k8s"), "HCloudTokenAvailable")
    assert (available["status"], available["reason"]) == ("False", "HCloudCredentialsInvalid")
    assert not requests.changes() or all(each[3] == 401 for each in requests.changes())


def test_a_missing_secret_is_told_and_found_later(world: ControllerWorld) -> None:
    secret, *others = manifests(world.token)
    begin(world, others)
    world.wait(5)
    available = condition(world.get("HetznerCluster", "k8s"), "HCloudTokenAvailable")
    assert (available["status"], available["reason"]) == ("False", "HetznerSecretUnreachable")
    world.run(world.apply(secret))
    world.wait(61)
    assert world.get("HetznerCluster", "k8s")["status"]["ready"]


def test_without_an_endpoint_the_provider_crashes_and_crashes_again(world: ControllerWorld, requests: Requests) -> None:
    documents = manifests(world.token)
    del documents[2]["spec"]["controlPlaneEndpoint"]
    begin(world, documents)
    world.wait(5)
    first = len(requests.times("GET", "/load_balancers"))
    world.wait(40)
    assert first == 1
    assert 2 <= len(requests.times("GET", "/load_balancers")) <= 4
    assert not requests.times("POST", "/load_balancers")


def test_a_crash_shows_on_the_pod_and_kubelet_decides_when_it_runs_again(
    world: ControllerWorld, requests: Requests
) -> None:
    world.run(world.deploy())
    meta, spec = {"name": "caph-1", "namespace": "caph-system"}, {"containers": [{"name": "manager", "image": "caph"}]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": meta}
    world.run(world.client.create({**pod, "spec": spec}))
    running = {"name": "manager", "image": "caph", "ready": True, "restartCount": 0, "state": {"running": {}}}
    status = {"containerStatuses": [running], "conditions": [{"type": "Ready", "status": "True"}]}
    world.run(world.client.patch(pod, {"status": status}, subresource="status"))
    documents = manifests(world.token)
    del documents[2]["spec"]["controlPlaneEndpoint"]
    world.run(world.apply(*documents))
    world.wait(60)
    shown = world.get("Pod", "caph-1")["status"]
    container = shown["containerStatuses"][0]
    assert (container["restartCount"], container["state"]["waiting"]["reason"]) == (1, "CrashLoopBackOff")
    assert "nil pointer" in container["lastState"]["terminated"]["message"]
    assert condition({"status": shown}, "Ready")["status"] == "False"
    assert len(requests.times("GET", "/load_balancers")) == 1
    assert "caph" not in world.call(lambda: world.runner.running("mgmt"))


def test_what_is_left_out_does_not_run(world: ControllerWorld) -> None:
    world.runner = Runner(world.clock, world.runner._hetzner, frozenset({"caph", "cacppt"}))
    world.run(world.deploy())
    world.wait(1)
    assert world.call(lambda: world.runner.running("mgmt")) == {"capi", "cabpt"}


def test_a_rate_limit_stops_the_object_for_five_minutes(world: ControllerWorld, requests: Requests) -> None:
    world.fault("rate-limit", times=6, match={"route": "GET /networks"})
    begin(world)
    world.wait(120)
    reachable = condition(world.get("HetznerCluster", "k8s"), "HetznerAPIReachable")
    assert (reachable["status"], reachable["reason"]) == ("False", "RateLimitExceeded")
    assert len(requests.times("GET", "/networks")) == 6
    world.wait(400)
    assert world.get("HetznerCluster", "k8s")["status"]["ready"]


@pytest.mark.parametrize(
    ("patches", "message"),
    [
        ([""], "JSON6902"),
        (['[{"op": "add", "path": "/machine/network/hostname", "value": "a"}]'], "JSON6902"),
        (["machine: {nodeLabels: {absent: {$patch: delete}}}"], "lookup failed"),
    ],
)
def test_a_patch_that_cannot_be_applied_leaves_a_condition_and_no_server(
    world: ControllerWorld, requests: Requests, patches: list[str], message: str
) -> None:
    begin(world, manifests(world.token, replicas=1, patches=patches))
    world.wait(20)
    available = condition(world.objects("TalosConfig")[0], "DataSecretAvailable")
    assert (available["status"], available["reason"]) == ("False", "DataSecretGenerationFailed")
    assert message in available["message"]
    assert not requests.times("POST", "/servers")
    assert world.objects("Machine")[0]["status"]["phase"] == "Pending"


def test_bootstrap_data_is_a_machine_configuration_for_this_machine(ordered: Ordered) -> None:
    world = ordered.world
    for server in (each["metadata"]["name"] for each in world.objects("HCloudMachine")):
        documents = list(yaml.safe_load_all(world.hardware.booted[server]))
        endpoint = world.get("Cluster", "k8s")["spec"]["controlPlaneEndpoint"]["host"]
        assert documents[0]["cluster"]["controlPlane"]["endpoint"] == f"https://{endpoint}:6443"
        assert documents[1]["hostname"] == server


def test_secrets_have_the_owners_that_a_move_follows(ordered: Ordered) -> None:
    name = re.compile("k8s-control-plane-.....-")
    owners = {
        name.sub("MACHINE-", each["metadata"]["name"]): [owner["kind"] for owner in each["metadata"]["ownerReferences"]]
        for each in ordered.world.objects("Secret")
    }
    assert owners == {
        "hetzner": ["HetznerCluster"],
        "k8s-ca": ["Cluster"],
        "MACHINE-bootstrap-data": ["TalosConfig", "HCloudMachine"],
        "k8s-kubeconfig": ["TalosControlPlane", "HetznerCluster"],
        "k8s-talos": ["Cluster"],
        "k8s-talosconfig": ["Cluster"],
    }


def test_a_paused_cluster_is_left_alone(world: ControllerWorld, requests: Requests) -> None:
    begin(world, changed(manifests(world.token, replicas=1), "Cluster", paused=True))
    world.wait(30)
    assert not requests.all
    assert not world.objects("Machine")
    cluster = world.get("Cluster", "k8s")
    paused = next(each for each in cluster["status"]["v1beta2"]["conditions"] if each["type"] == "Paused")
    assert (paused["status"], paused["message"]) == ("True", "Cluster spec.paused is set to true")
    world.run(world.client.patch({**cluster, "apiVersion": "cluster.x-k8s.io/v1beta1"}, {"spec": {"paused": None}}))
    world.wait(10)
    assert len(requests.times("POST", "/servers")) == 1


def test_controllers_that_start_again_go_on_where_they_were(world: ControllerWorld, requests: Requests) -> None:
    begin(world, manifests(world.token))
    world.wait(1.35)
    world.run(world.runner.stop())
    world.wait(20)
    world.call(lambda: world.runner.manage("mgmt", world.connect))
    world.wait(120)
    assert len(requests.times("POST", "/servers")) == 3
    assert len(requests.times("POST", "/load_balancers")) == 1
    assert [each["status"]["phase"] for each in world.objects("Machine")] == ["Provisioned"] * 3


def test_a_provider_works_only_while_its_deployment_is_available(world: ControllerWorld, requests: Requests) -> None:
    world.run(world.deploy())
    caph = world.get("Deployment", "caph-controller-manager")
    caph |= {"apiVersion": "apps/v1", "kind": "Deployment"}
    world.run(world.set_available(caph, False))
    world.run(world.apply(*manifests(world.token, replicas=1)))
    world.wait(10)
    assert not requests.all
    assert world.call(lambda: world.runner.running("mgmt")) == {"capi", "cabpt", "cacppt"}
    world.run(world.set_available(caph, True))
    world.wait(10)
    assert len(requests.times("POST", "/servers")) == 1


def test_a_deleted_cluster_is_gone_after_half_a_minute_with_nothing_left_to_pay(
    world: ControllerWorld, requests: Requests
) -> None:
    begin(world, manifests(world.token))
    world.wait(170)  # until the HetznerCluster's status knows its targets
    changes = len(requests.changes())
    world.run(world.client.delete("Cluster", "k8s", "default"))
    world.wait_until(lambda: not world.management.objects("Cluster"), limit=60)
    kinds = [each[:2] for each in requests.changes()[changes:]]
    assert sorted(kinds[:6]) == sorted(
        [("POST", "/load_balancers/<id>/actions/remove_target"), ("POST", "/servers/<id>/actions/shutdown")] * 3
    )
    assert kinds[-3:] == [
        ("DELETE", "/load_balancers/<id>"),
        ("DELETE", "/networks/<id>"),
        ("DELETE", "/placement_groups/<id>"),
    ]
    world.wait(5)
    assert not world.call(lambda: world.hetzner.servers())
    left = ("HetznerCluster", "HCloudMachine", "Machine", "TalosConfig", "TalosControlPlane", "HCloudMachineTemplate")
    assert not [each for kind in left for each in world.objects(kind)]
    assert [each["metadata"]["name"] for each in world.objects("Secret")] == ["hetzner"]
    assert base64.b64decode(world.get("Secret", "hetzner")["data"]["hcloud"]).decode() == world.token
