"""The lab takes a cluster's documents and three charts to three Ready nodes, with programs and plain API calls."""

from __future__ import annotations

import http.client
import json
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import worked_cluster
from lab_world import LabWorld

from tallship.adapters.kube import Kube
from tallship.errors import Unreachable

KIND_IMAGE = "kindest/node:v1.32.8@sha256:abd489f042d2b644e2d033f5c2d900bc707798d075e8186cb65e3f1367a9d5a1"
CLUSTERCTL = """\
providers:
  - {name: cluster-api, type: CoreProvider, url: "https://github.com/kubernetes-sigs/cluster-api/releases/v1.10.10/core-components.yaml"}
  - {name: talos, type: BootstrapProvider, url: "https://github.com/siderolabs/cluster-api-bootstrap-provider-talos/releases/v0.6.11/bootstrap-components.yaml"}
  - {name: talos, type: ControlPlaneProvider, url: "https://github.com/siderolabs/cluster-api-control-plane-provider-talos/releases/v0.5.12/control-plane-components.yaml"}
  - {name: hetzner, type: InfrastructureProvider, url: "https://github.com/syself/cluster-api-provider-hetzner/releases/v1.0.7/infrastructure-components.yaml"}
"""
CONTROL_PLANE = ("controlplane.cluster.x-k8s.io/v1alpha3", "TalosControlPlane", "k8s-control-plane", "default")
HETZNER_CLUSTER = ("infrastructure.cluster.x-k8s.io/v1beta1", "HetznerCluster", "k8s", "default")


class Builder:
    """A person with a shell: kind, clusterctl, helm and kubectl by hand."""

    def __init__(self, world: LabWorld) -> None:
        self.world = world
        self._open = ExitStack()
        self.kubeconfigs = {name: world.folder / f"{name}.kubeconfig" for name in ("management", "workload")}
        self._config = world.folder / "clusterctl.yaml"
        self._config.write_text(CLUSTERCTL)
        self.management: Kube
        self.workload: Kube

    def __enter__(self) -> Builder:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def make_management_cluster(self) -> None:
        kubeconfig = str(self.kubeconfigs["management"])
        self._call("kind", "create", "cluster", "--name", "mgmt", "--image", KIND_IMAGE, "--kubeconfig", kubeconfig)
        providers = [word for pair in worked_cluster.PROVIDERS for word in pair]
        self._call("clusterctl", "init", "--kubeconfig", kubeconfig, "--config", str(self._config), *providers)
        self.management = self._connect("management")
        self._wait("providers", self._providers_are_available, 120)

    def put_firewall(self) -> None:
        """Let in what the private network sends, and Talos from where the management cluster calls."""
        private = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"]
        rules = [
            {"direction": "in", "protocol": "tcp", "port": "6443", "source_ips": private},
            {"direction": "in", "protocol": "tcp", "port": "50000", "source_ips": [*private, "127.0.0.1/32"]},
        ]
        selector = {"type": "label_selector", "label_selector": {"selector": "caph-cluster-k8s=owned"}}
        self._call_hetzner("POST", "/firewalls", {"name": "k8s", "rules": rules, "apply_to": [selector]})

    def firewalls_of_servers(self) -> list[list[str]]:
        """Return the status of every firewall of every server."""
        servers = self._call_hetzner("GET", "/servers")["servers"]
        return [[each["status"] for each in server["public_net"]["firewalls"]] for server in servers]

    def apply_cluster(self) -> None:
        labels = {"caph-image-name": worked_cluster.IMAGE_NAME, "os": "talos"}
        facts: dict[str, Any] = {"architecture": "x86", "disk_gb": 10, "content": {"talos": "v1.12.2"}}
        self.world.do(lambda: self.world.lab.hetzner.add_snapshot("Talos", labels, **facts))
        for document in worked_cluster.documents(self.world.token):
            self.management.apply(document)

    def wait_until_initialized(self) -> None:
        self._wait("initialized", lambda: self._control_plane().get("initialized") is True, 400)
        text = self.management.secret_value("k8s-kubeconfig", "default", "value")
        assert text is not None
        self.kubeconfigs["workload"].write_text(text)
        self.workload = self._connect("workload")
        self._wait("workload API", self.workload.is_up, 60)

    def install_charts(self) -> None:
        live = self.management.find(*HETZNER_CLUSTER)
        assert live is not None
        network = str(live["status"]["networkStatus"]["id"])
        self.workload.apply(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": "hcloud", "namespace": "kube-system"},
                "stringData": {"token": self.world.token, "network": network},
            }
        )
        options = ["--namespace", "kube-system", "--kubeconfig", str(self.kubeconfigs["workload"]), "--values", "-"]
        options += ["--reset-values", "--history-max", "10", "--timeout", "5m", "--output", "json"]
        for release, chart, values in worked_cluster.CHARTS:
            self._call("helm", "upgrade", "--install", release, *chart, *options, stdin=json.dumps(values))

    def wait_until_ready(self) -> None:
        self._wait("ready", self._is_ready, 200)

    def _connect(self, name: str) -> Kube:
        kube = Kube(self.kubeconfigs[name])
        self._open.callback(kube.close)
        return kube

    def _is_ready(self) -> bool:
        ready = [
            _is_true(node, "Ready") and node["spec"].get("providerID") for node in self.workload.list("v1", "Node")
        ]
        return len(ready) == 3 and all(ready) and self._control_plane().get("readyReplicas") == 3

    def _control_plane(self) -> dict[str, Any]:
        found = self.management.find(*CONTROL_PLANE) or {}
        status: dict[str, Any] = found.get("status", {})
        return status

    def _providers_are_available(self) -> bool:
        return all(_is_true(each, "Available") for each in self.management.list("apps/v1", "Deployment"))

    def _wait(self, what: str, true: Callable[[], bool], seconds: float) -> None:
        deadline = self.world.clock.now() + seconds
        while not _holds(true):
            assert self.world.clock.now() < deadline, what
            self.world.clock.sleep(2)

    def _call_hetzner(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        context = ssl.create_default_context(cafile=self.world.ca_file)
        url = urlsplit(self.world.endpoints["hetzner"])
        headers = {"Authorization": f"Bearer {self.world.token}", "Content-Type": "application/json"}
        with closing(http.client.HTTPSConnection(url.netloc, timeout=30, context=context)) as connection:
            connection.request(method, url.path + path, json.dumps(body) if body else None, headers)
            answer = connection.getresponse()
            found: dict[str, Any] = json.load(answer)
            assert answer.status < 400, found
            return found

    def _call(self, program: str, *arguments: str, stdin: str = "") -> None:
        path = str(self.world.bin_folder / program)
        done = subprocess.run([path, *arguments], input=stdin, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, f"{program} {arguments}: {done.stderr}"


@pytest.fixture
def builder(world: LabWorld) -> Iterator[Builder]:
    with Builder(world) as made:
        yield made


@pytest.mark.long
def test_three_nodes_become_ready(world: LabWorld, builder: Builder) -> None:
    def build() -> None:
        builder.make_management_cluster()
        builder.put_firewall()
        builder.apply_cluster()
        builder.wait_until_initialized()
        builder.install_charts()
        builder.wait_until_ready()

    world.run(build)
    nodes = builder.workload.list("v1", "Node")
    servers = {each["name"]: each for each in world.lab.hetzner.servers()}
    assert {node["metadata"]["name"] for node in nodes} == set(servers)
    for node in nodes:
        assert node["spec"]["providerID"] == f"hcloud://{servers[node['metadata']['name']]['id']}"
        assert node["spec"].get("taints", []) == []
        assert node["status"]["nodeInfo"]["kubeletVersion"] == "v1.32.2"
        assert "node.kubernetes.io/exclude-from-external-load-balancers" not in node["metadata"]["labels"]
    assert builder.firewalls_of_servers() == [["applied"]] * 3
    assert builder.workload.server == f"https://{_balancer(world)}:6443"

    world.reset_counters()
    world.run(lambda: world.clock.sleep(300))
    assert world.writes == {"hetzner": 0, "kubernetes": 0, "talos": 0}


def test_killed_lab_finishes_what_it_began(tmp_path: Path) -> None:
    with LabWorld(tmp_path, on_disk=True) as world, Builder(world) as builder:
        world.run(builder.make_management_cluster)
        world.kill()
        world.run(builder.apply_cluster)
        for _ in range(2):  # while servers start and machines boot; while etcd and the API servers come up
            world.run(lambda: world.clock.sleep(50))
            world.kill()
        world.run(builder.wait_until_initialized)
        world.run(builder.install_charts)
        world.run(lambda: world.clock.sleep(20))
        world.kill()
        world.run(builder.wait_until_ready)


def test_stand_in_that_is_left_out_does_not_act(tmp_path: Path) -> None:
    with LabWorld(tmp_path, without=frozenset({"caph"})) as world, Builder(world) as builder:
        world.run(builder.make_management_cluster)
        world.run(builder.apply_cluster)
        world.run(lambda: world.clock.sleep(60))
        deployment = builder.management.find("apps/v1", "Deployment", "caph-controller-manager", "caph-system")
        assert deployment is not None
        assert _is_true(deployment, "Available")  # it is the real program's place that is kept free
        live = builder.management.find(*HETZNER_CLUSTER)
        assert live is not None
        assert not live.get("status", {}).get("ready")
        assert world.lab.hetzner.servers() == []


def _holds(true: Callable[[], bool]) -> bool:
    """A server that was just killed or started does not answer yet."""
    try:
        return true()
    except Unreachable:
        return False


def _balancer(world: LabWorld) -> str:
    return next(address for address in (f"{world.network}.{n}" for n in range(10, 100)) if _owner(world, address))


def _owner(world: LabWorld, address: str) -> str:
    return str(world.lab.store.table("addresses").get(address, {}).get("owner", ""))


def _is_true(item: dict[str, Any], condition: str) -> bool:
    found = item.get("status", {}).get("conditions", [])
    return any(each["type"] == condition and each["status"] == "True" for each in found)
