"""Each rule of the diagnosis: what it finds, and that it finds nothing in a healthy cluster."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tallship import versions
from tallship.manifests import cluster, diagnosis, image
from tallship.manifests.diagnosis import servers
from tallship.manifests.picture import Ends, Picture, of_cluster
from tallship.spec import parse_spec

ROOT = Path(__file__).parents[2]
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
EARLIER = "2026-06-01T11:00:00Z"
SPEC = parse_spec("name: k8s\n").spec
assert SPEC is not None


@dataclass(frozen=True)
class Member:
    hostname: str
    is_learner: bool = False


@dataclass(frozen=True)
class Service:
    id: str
    state: str

    @property
    def is_healthy(self) -> bool:
        return self.state == "Running"


def node(number: int) -> dict[str, Any]:
    ready = {"type": "Ready", "status": "True", "lastHeartbeatTime": EARLIER}
    return {
        "metadata": {"name": f"node-{number}", "labels": {"node-role.kubernetes.io/control-plane": ""}},
        "spec": {"providerID": f"hcloud://{number}"},
        "status": {
            "conditions": [ready],
            "addresses": [{"type": "InternalIP", "address": f"10.0.0.{number}"}],
        },
    }


def machine(number: int) -> dict[str, Any]:
    return {
        "metadata": {"name": f"machine-{number}", "labels": {"cluster.x-k8s.io/control-plane": ""}},
        "spec": {"infrastructureRef": {"name": f"node-{number}"}, "bootstrap": {"configRef": {"name": "c"}}},
        "status": {"nodeRef": {"name": f"node-{number}"}, "conditions": [], "addresses": []},
    }


def item(number: int) -> dict[str, Any]:
    return {
        "metadata": {"name": f"node-{number}"},
        "spec": {"providerID": f"hcloud://{number}", "imageName": image.name(SPEC)},
        "status": {"conditions": [{"type": "ServerCreateSucceeded", "status": "True"}]},
    }


def release(chart: versions.Chart) -> dict[str, Any]:
    labels = {"owner": "helm", "name": chart.release, "version": "1", "status": "deployed"}
    return {"metadata": {"name": chart.release, "labels": labels}}


def healthy() -> Picture:
    documents = {each["kind"]: each for each in cluster.infrastructure(SPEC, "192.0.2.1")}
    plane = {**cluster.control_plane(SPEC, "192.0.2.1"), "status": {"initialized": True}}
    numbers = (1, 2, 3)
    secret = {"metadata": {"name": "hetzner"}, "data": {"hcloud": "eA=="}}
    management = {
        "Cluster": [documents["Cluster"]],
        "HetznerCluster": [documents["HetznerCluster"]],
        "TalosControlPlane": [plane],
        "Machine": [machine(each) for each in numbers],
        "HCloudMachine": [item(each) for each in numbers],
        "MachineHealthCheck": [{"metadata": {"name": "k8s-control-plane"}}],
        "Secret": [secret],
        "Deployment": [],
        "Pod": [],
    }
    labels = {image.NAME_LABEL: image.name(SPEC)}
    target = {"type": "server", "server": {"id": 1}, "health_status": [{"listen_port": 6443, "status": "healthy"}]}
    return Picture(
        SPEC,
        NOW,
        deepcopy(management),
        {
            "Node": [node(each) for each in numbers],
            "Secret": [release(each) for each in versions.CHARTS.values()],
            "Deployment": [],
            "DaemonSet": [],
            "Pod": [],
            "CertificateSigningRequest": [],
        },
        [],
        {
            "servers": [{"id": each, "name": f"node-{each}", "status": "running"} for each in numbers],
            "load_balancers": [{"name": "balancer", "targets": [target]}],
            "images": [{"id": 9, "labels": labels}],
        },
        [Member(f"node-{each}") for each in numbers],
        {f"10.0.0.{each}": [Service("etcd", "Running")] for each in numbers},
        certificates=[Ends("the certificate", 300, "fetch it")],
    )


Trouble = Callable[[Any], object]


def fail(kind: str, condition: str, reason: str, message: str = "") -> Trouble:
    """Make a condition of the first object of a kind false."""

    def spoil(picture: Any) -> None:
        status = picture.management[kind][0].setdefault("status", {})
        status["conditions"] = [{"type": condition, "status": "False", "reason": reason, "message": message}]

    return spoil


def csr(picture: Any, status: dict[str, Any]) -> None:
    spec = {"signerName": "kubernetes.io/kubelet-serving", "username": "system:node:node-1"}
    meta = {"name": "csr-1", "creationTimestamp": EARLIER}
    picture.workload["CertificateSigningRequest"] = [{"metadata": meta, "spec": spec, "status": status}]


def config(picture: Any) -> dict[str, Any]:
    found: dict[str, Any] = picture.management["TalosControlPlane"][0]["spec"]["controlPlaneConfig"]["controlplane"]
    return found


def not_ready(picture: Any, number: int, message: str) -> None:
    picture.workload["Node"][number]["status"]["conditions"] = [
        {"type": "Ready", "status": "False", "reason": "KubeletNotReady", "message": message}
    ]


def all_without_network(picture: Any) -> None:
    for number in range(3):
        not_ready(picture, number, "cni plugin not initialized")


def sick(picture: Any, *numbers: int) -> None:
    for number in numbers:
        picture.services[f"10.0.0.{number}"] = [Service("etcd", "Failed")]


def left(picture: Any) -> None:
    picture.members = picture.members[1:]
    picture.services["10.0.0.1"] = [Service("etcd", "Finished")]
    for each, number in zip(picture.management["Machine"], (1, 2, 3), strict=True):
        each["status"]["addresses"] = [{"type": "InternalIP", "address": f"10.0.0.{number}"}]


def pod(picture: Any) -> None:
    state = {"waiting": {"reason": "CrashLoopBackOff"}}
    status = {"containerStatuses": [{"name": "manager", "restartCount": 7, "state": state}]}
    picture.management["Pod"] = [{"metadata": {"name": "caph", "namespace": "caph-system"}, "status": status}]


def deployment(picture: Any) -> None:
    meta = {"name": "caph-controller-manager", "namespace": "caph-system", "generation": 1}
    picture.management["Deployment"] = [{"metadata": meta, "status": {}}]


def paused(picture: Any) -> None:
    picture.management["Cluster"][0]["spec"]["paused"] = True


def images(picture: Any, count: int) -> None:
    picture.hetzner["images"] = picture.hetzner["images"] * count


def release_is(picture: Any, status: str) -> None:
    picture.workload["Secret"][0]["metadata"]["labels"]["status"] = status


def other_image(picture: Any) -> None:
    picture.management["HCloudMachine"][0]["spec"]["imageName"] = "other"
    fail("HCloudMachine", "ServerCreateSucceeded", "ImageNotFound")(picture)


def unmatched(picture: Any, taint: bool) -> None:
    spec = picture.workload["Node"][0]["spec"]
    spec.pop("providerID")
    if taint:
        spec["taints"] = [{"key": "node.cloudprovider.kubernetes.io/uninitialized"}]


def wrong_key(picture: Any) -> None:
    picture.management["Secret"][0]["data"] = {"hcloud-token": "eA=="}


def from_the_future(picture: Any) -> None:
    picture.workload["Node"][0]["status"]["conditions"][0]["lastHeartbeatTime"] = "2026-06-01T14:00:00Z"


def unhealthy_target(picture: Any) -> None:
    picture.hetzner["load_balancers"][0]["targets"][0]["health_status"][0]["status"] = "unhealthy"


ORDER = ("HCloudMachine", "ServerCreateSucceeded", "ServerCreateFailed")
TROUBLES: dict[str, Trouble] = {
    "paused": paused,
    "both-paused": lambda p: (paused(p), setattr(p, "other_side", [{"spec": {"paused": True}, "metadata": {}}])),
    "two-active": lambda p: setattr(p, "other_side", [{"spec": {}, "metadata": {}}]),
    "no-endpoint": lambda p: p.management["HetznerCluster"][0]["spec"].pop("controlPlaneEndpoint"),
    "empty-patches": lambda p: config(p).update(configPatches=[]),
    "json-patches": lambda p: config(p).update(configPatches=[{"op": "add"}]),
    "hostname-source": lambda p: config(p).update(hostname={"source": "MachineName"}),
    "token-key": wrong_key,
    "token-refused": fail("HetznerCluster", "HCloudTokenAvailable", "HCloudCredentialsInvalid"),
    "rate-limit": fail("HCloudMachine", "HetznerAPIReachable", "RateLimitExceeded"),
    "image-ambiguous": lambda p: images(p, 2),
    "image-missing": lambda p: images(p, 0),
    "image-mismatch": other_image,
    "sold-out": fail(*ORDER, "error during placement (resource_unavailable)"),
    "quota": fail(*ORDER, "server limit reached (resource_limit_exceeded)"),
    "placement-group-full": fail(*ORDER, "at most 10 (placement_error)"),
    "server-lost": lambda p: p.hetzner["servers"].pop(),
    "server-off": lambda p: p.hetzner["servers"][0].update(status="off"),
    "server-orphan": lambda p: p.hetzner["servers"].append({"id": 7, "name": "node-7", "status": "running"}),
    "balancer-target": unhealthy_target,
    "balancer-gone": lambda p: p.hetzner["load_balancers"].clear(),
    "member-left": left,
    "no-quorum": lambda p: sick(p, 1, 2),
    "member-sick": lambda p: sick(p, 1),
    "etcd-alarm": lambda p: p.alarms.append("NOSPACE"),
    "learner": lambda p: setattr(p, "members", [*p.members[:2], Member("node-3", is_learner=True)]),
    "check-early": all_without_network,
    "given-up": fail("Machine", "OwnerRemediated", "WaitingForRemediation"),
    "no-cni": all_without_network,
    "uninitialized": lambda p: unmatched(p, taint=True),
    "no-provider-id": lambda p: unmatched(p, taint=False),
    "node-not-ready": lambda p: not_ready(p, 0, "PLEG is not healthy"),
    "cordoned": lambda p: p.workload["Node"][0]["spec"].update(unschedulable=True),
    "csr-denied": lambda p: csr(p, {"conditions": [{"type": "Denied", "message": "no"}]}),
    "csr-pending": lambda p: csr(p, {}),
    "release-absent": lambda p: p.workload["Secret"].pop(),
    "release-pending": lambda p: release_is(p, "pending-upgrade"),
    "release-failed": lambda p: release_is(p, "failed"),
    "crash-loop": pod,
    "controller-down": deployment,
    "certificate-ends": lambda p: p.certificates.append(Ends("the other", 3, "fetch it")),
    "clock": from_the_future,
    "firewall": lambda p: p.firewall.append("not applied to node-1"),
}
TOGETHER = {
    "check-early": {"no-cni"},
    "no-cni": {"check-early"},
    "json-patches": set[str](),
    "member-left": {"member-sick"},
    "image-missing": set[str](),
}
"""What a trouble brings with it."""


def test_nothing_is_found_in_a_healthy_cluster() -> None:
    assert diagnosis.diagnose(healthy()) == []


def test_nothing_is_found_where_nothing_can_be_seen() -> None:
    assert SPEC is not None
    assert diagnosis.diagnose(Picture(SPEC, NOW)) == []


@pytest.mark.parametrize("code", TROUBLES)
def test_a_trouble_is_found_and_no_other(code: str) -> None:
    picture = healthy()
    TROUBLES[code](picture)
    found = {each.code: each for each in diagnosis.diagnose(picture)}
    assert set(found) - TOGETHER.get(code, set()) == {code}
    assert found[code].cause
    assert found[code].advice


def server(number: int, kind: str = "control_plane") -> dict[str, Any]:
    name, address = f"node-{number}", f"10.0.0.{number}"
    return {
        "id": number,
        "name": name,
        "status": "running",
        "labels": {"machine_type": kind},
        "private_net": [{"ip": address}],
    }


def without_kubernetes() -> Picture:
    """Return what can be seen of a cluster whose API is down, and which manages itself."""
    whole = healthy()
    hetzner = {"servers": [*(server(each) for each in (1, 2, 3)), server(4, "worker")]}
    return Picture(whole.spec, NOW, hetzner=hetzner, services=whole.services)


def codes(picture: Picture) -> set[str]:
    return {each.code for each in diagnosis.diagnose(picture)}


def test_etcd_is_judged_by_hetzners_servers_where_kubernetes_is_down() -> None:
    assert [each["metadata"]["name"] for each in without_kubernetes().hosts] == [f"node-{n}" for n in (1, 2, 3, 4)]
    assert codes(without_kubernetes()) == set()
    picture: Any = without_kubernetes()
    sick(picture, 1, 2)
    assert codes(picture) == {"no-quorum"}


def test_where_the_last_member_that_answers_is_sick_there_is_no_majority() -> None:
    picture: Any = without_kubernetes()
    picture.services = {"10.0.0.1": [Service("etcd", "Failed")], "10.0.0.2": OSError("silent")}
    (found,) = diagnosis.diagnose(picture)
    assert found.code == "no-quorum"
    assert "Talos on node-3 does not answer" in found.evidence


def test_where_the_one_member_that_answers_has_no_leader_there_is_no_majority() -> None:
    picture: Any = without_kubernetes()
    picture.services = dict.fromkeys(picture.services, OSError("silent"))
    picture.etcd_errors.append("etcd on 10.0.0.1: etcdserver: no leader")
    assert codes(picture) == {"no-quorum"}


def test_a_member_that_is_well_has_a_majority_behind_it() -> None:
    picture: Any = without_kubernetes()
    picture.services["10.0.0.1"], picture.services["10.0.0.2"] = [Service("etcd", "Failed")], OSError("silent")
    assert codes(picture) == {"member-sick"}


def test_a_member_that_is_sick_in_two_ways_counts_once() -> None:
    picture: Any = healthy()
    sick(picture, 1)
    picture.etcd_errors.append("etcd on 10.0.0.1: etcdserver: no leader")
    assert codes(picture) == {"member-sick"}


def test_an_etcd_that_is_only_being_made_is_not_sick() -> None:
    picture: Any = healthy()
    picture.management["TalosControlPlane"][0]["status"] = {}
    sick(picture, 1, 2, 3)
    assert codes(picture) == set()


@pytest.mark.parametrize(
    ("item", "is_kept"),
    [
        ({"kind": "Cluster", "metadata": {"name": "k8s"}}, True),
        ({"kind": "Cluster", "metadata": {"name": "other"}}, False),
        ({"metadata": {"name": "a", "labels": {"cluster.x-k8s.io/cluster-name": "k8s"}}}, True),
        ({"metadata": {"name": "a", "labels": {"cluster.x-k8s.io/cluster-name": "other"}}}, False),
        ({"metadata": {"name": "a"}, "spec": {"clusterName": "other"}}, False),
        ({"metadata": {"name": "a", "ownerReferences": [{"kind": "Cluster", "name": "other"}]}}, False),
        ({"metadata": {"name": "a", "ownerReferences": [{"kind": "Machine", "name": "other"}]}}, True),
        ({"metadata": {"name": "a"}}, True),
    ],
)
def test_only_objects_of_this_cluster_are_looked_at(item: dict[str, Any], is_kept: bool) -> None:
    assert of_cluster([item], "k8s") == ([item] if is_kept else [])


def written_codes() -> set[str]:
    """Return every code that a rule can find."""
    codes = {code for code, _, _ in servers.ORDERS.values()}
    for path in Path(diagnosis.__file__).parent.glob("*.py"):
        for call in ast.walk(ast.parse(path.read_text())):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "Finding":
                first = call.args[0]
                codes |= {str(first.value)} if isinstance(first, ast.Constant) else set()
    return codes


def test_each_code_has_a_trouble_and_a_row_in_the_docs() -> None:
    rows = set(re.findall(r"^\| `([a-z-]+)` \|", (ROOT / "docs/diagnose.md").read_text(), re.MULTILINE))
    assert written_codes() == set(TROUBLES) == rows
