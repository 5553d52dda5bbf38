"""The parts of one cluster against the lab's Kubernetes and Hetzner APIs, with machines that are plain data."""

from __future__ import annotations

import asyncio
import base64
import copy
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, TypeVar

import aiohttp
import loops
from test_node_documents import CONFIG

from tallship.lab import network
from tallship.lab.clock import VirtualClock
from tallship.lab.controllers.caph.hcloud import Hetzner
from tallship.lab.controllers.nodes.clusters import Clusters
from tallship.lab.controllers.nodes.mirror import condition
from tallship.lab.controllers.nodes.node_documents import UNINITIALIZED
from tallship.lab.controllers.runner import Connect
from tallship.lab.faults import Faults
from tallship.lab.hetzner.api import HetznerApi
from tallship.lab.kube.api import KubeApi
from tallship.lab.kubeclient import KubeClient, Object
from tallship.lab.store import Store
from tallship.lab.world import Addresses, Authority, load_pair

Answer = TypeVar("Answer")
_SECONDS = 20.0


class NoHardware:
    """Servers of the test have no machine."""

    async def powered_on(self, server: dict[str, Any], user_data: str, image: dict[str, Any]) -> None:
        pass

    async def powered_off(self, server_id: int) -> None:
        pass

    async def deleted(self, server_id: int) -> None:
        pass


class NoProviders:
    """No Cluster API runs in the cluster of the test."""

    def manage(self, name: str, connect: Connect, address: str = "") -> None:
        pass

    async def unmanage(self, name: str) -> None:
        pass


@dataclass
class Machine:
    """A machine as the nodes' parts see it."""

    hostname: str
    public_ip: str
    private_ip: str
    config: dict[str, Any]
    cluster_id: str = "cluster"
    talos_version: str = "v1.12.2"
    images: list[str] = field(default_factory=list)
    kubelet_may_register: bool = True
    serves_kubernetes: bool = True
    boots: int = 1
    stage: str = "running"
    has_stopped_services: bool = False
    noted: list[str] = field(default_factory=list)

    def note_upgrade(self, key: str) -> None:
        self.noted.append(key)

    @property
    def addresses(self) -> list[str]:
        return [self.public_ip, self.private_ip]


@dataclass
class Fleet:
    machines: list[Machine] = field(default_factory=list)
    workloads: dict[str, KubeApi] = field(default_factory=dict)

    def list(self) -> list[Machine]:
        return self.machines


class NodeWorld:
    """Three control planes whose servers, network and API servers exist; nothing is installed in them."""

    def __init__(self, config: dict[str, Any] | None = None, without: frozenset[str] = frozenset()) -> None:
        self.clock = VirtualClock()
        self._loop = self.clock.new_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._config = copy.deepcopy(config or CONFIG)
        self._without = without
        self.fleet = Fleet()
        self.store = Store()

    def __enter__(self) -> NodeWorld:
        self.network = network.take(None)
        self._thread.start()
        self.ask(self._start())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.ask(self._stop())
        loops.end(self._loop, self._thread)
        network.give_back(self.network)

    def ask(self, question: Coroutine[Any, Any, Answer]) -> Answer:
        """Run a coroutine in the loop; modelled time stands still meanwhile."""
        return asyncio.run_coroutine_threadsafe(question, self._loop).result(_SECONDS)

    def wait(self, seconds: float) -> None:
        """Let modelled seconds pass."""
        self.clock.run_client(lambda: self.clock.sleep_thread(seconds))

    def wait_until(self, true: Callable[[], bool], within: float) -> float:
        """Let time pass until something is true and that moment's work is done; returns the modelled time.

        Raises TimeoutError.
        """
        deadline = self.clock.now() + within
        while not true():
            if self.clock.now() >= deadline:
                raise TimeoutError(f"not so within {within} modelled seconds")
            self.wait(1)
        self.wait(0)
        return self.clock.now()

    def apply(self, *items: Object) -> None:
        """Server-side apply objects as helm."""
        for item in items:
            self.ask(self.client.apply(item, manager="helm"))

    def get(self, kind: str, name: str, namespace: str = "") -> Object | None:
        """Return one object."""
        return self.ask(self.client.get(kind, name, namespace))

    def list(self, kind: str) -> list[Object]:
        """Return all objects of a kind."""
        return self.ask(self.client.list(kind))

    def readiness(self) -> list[str]:
        """Return the status of every node's Ready condition."""
        return [condition(node, "Ready").get("status", "") for node in self.list("Node")]

    def tainted(self, key: str) -> list[str]:
        """Return the nodes that have a taint."""
        return [
            node["metadata"]["name"]
            for node in self.list("Node")
            if any(taint["key"] == key for taint in node["spec"].get("taints", []))
        ]

    def is_initialized(self) -> bool:
        """True when three nodes are there and the CCM knows them all."""
        return len(self.list("Node")) == 3 and not self.tainted(UNINITIALIZED)

    def hetzner_get(self, path: str) -> dict[str, Any]:
        """Return what the Hetzner API answers."""
        return self.ask(self._call("GET", path))

    async def _start(self) -> None:
        writes: Counter[str] = Counter()
        faults = Faults(self.store)
        lab = Authority(self.store, "lab")
        self.authority = Authority(self.store, "kubernetes")
        host = f"{self.network}.1"
        addresses = Addresses(self.store, self.network)
        self.hetzner = HetznerApi(self.store, self.clock, faults, writes, addresses, NoHardware())
        await self.hetzner.serve(host, 8443, lab.server_tls(host))
        self.endpoint = f"https://{host}:8443/v1"
        self.trust = ssl.create_default_context(cadata=lab.certificate_pem)
        self.token = self.hetzner.tokens.issue_token()
        self.session = aiohttp.ClientSession()
        self.kube = KubeApi(self.store, "workload", self.clock, faults, writes)
        self.fleet.workloads["cluster"] = self.kube
        await self._make_servers()
        tls = ssl.create_default_context(cadata=self.authority.certificate_pem)
        load_pair(tls, *self.authority.issue("test", ("system:masters",)))
        self.client = KubeClient(f"https://{self.fleet.machines[0].public_ip}:6443", tls, "test")
        hetzner = Hetzner(self.endpoint, self.trust)
        self.clusters = Clusters(self.clock, self.fleet, hetzner, NoProviders(), self._without)
        self.clusters.start()

    async def _stop(self) -> None:
        await self.clusters.stop()
        await self.client.close()
        await self.kube.stop()
        await self.session.close()
        await self.hetzner.stop()

    async def _make_servers(self) -> None:
        made = await self._call("POST", "/networks", {"name": "k8s", "ip_range": "10.10.0.0/16", "subnets": [_SUBNET]})
        self.network_id = int(made["network"]["id"])
        key = base64.b64encode(self.authority.key_pem.encode()).decode()
        certificate = base64.b64encode(self.authority.certificate_pem.encode()).decode()
        self._config["cluster"]["ca"] = {"crt": certificate, "key": key}
        for number in (1, 2, 3):
            order = {"name": f"cp-{number}", "server_type": "cx33", "location": "nbg1", "image": "debian-12"}
            server = (await self._call("POST", "/servers", {**order, "networks": [self.network_id]}))["server"]
            public, private = server["public_net"]["ipv4"]["ip"], server["private_net"][0]["ip"]
            self.fleet.machines.append(Machine(server["name"], public, private, copy.deepcopy(self._config)))
            tls = self.authority.server_tls(public, client_authority=self.authority.certificate_pem)
            await self.kube.serve(public, 6443, tls)

    async def _call(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self.token}"}
        async with self.session.request(
            method, self.endpoint + path, json=body, headers=headers, ssl=self.trust
        ) as answer:
            found: dict[str, Any] = await answer.json()
            assert answer.status < 400, found
            return found


_SUBNET = {"type": "cloud", "network_zone": "eu-central", "ip_range": "10.10.64.0/25"}


def secret(name: str, **data: str) -> Object:
    """Return a Secret in kube-system."""
    encoded = {key: base64.b64encode(text.encode()).decode() for key, text in data.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": _named(name), "type": "Opaque", "data": encoded}


def cilium(**changes: Any) -> list[Object]:
    """Return what the chart makes of values that fit; `host`, `port`, `ipam` and others may be changed."""
    variables = {"KUBERNETES_SERVICE_HOST": changes.get("host", "localhost")}
    variables["KUBERNETES_SERVICE_PORT"] = changes.get("port", "7445")
    settings = {"ipam": changes.get("ipam", "kubernetes"), "kube-proxy-replacement": changes.get("replace", "true")}
    settings |= {"routing-mode": "native", "ipv4-native-routing-cidr": changes.get("cidr", "10.10.128.0/17")}
    agent = {
        "name": "cilium-agent",
        "image": "quay.io/cilium/cilium:v1.18.6",
        "env": [{"name": key, "value": value} for key, value in variables.items()],
        "securityContext": {"capabilities": {"add": changes.get("capabilities", ["NET_ADMIN"])}},
    }
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": _named("cilium-config"), "data": settings}
    spec = {"hostNetwork": True, "tolerations": [{"operator": "Exists"}], "containers": [agent]}
    return [config, _workload("DaemonSet", "cilium", {"k8s-app": "cilium"}, spec)]


def hcloud_ccm(**changes: Any) -> list[Object]:
    """Return what the chart makes of values with networking."""
    container = {
        "name": "hcloud-cloud-controller-manager",
        "image": "docker.io/hetznercloud/hcloud-cloud-controller-manager:v1.29.2",
        "env": [
            {"name": "HCLOUD_TOKEN", "valueFrom": {"secretKeyRef": {"name": "hcloud", "key": "token"}}},
            {"name": "HCLOUD_NETWORK", "valueFrom": {"secretKeyRef": {"name": "hcloud", "key": "network"}}},
            *changes.get("env", []),
        ],
    }
    tolerations = [
        {"key": "node.cloudprovider.kubernetes.io/uninitialized", "value": "true", "effect": "NoSchedule"},
        {"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule", "operator": "Exists"},
        {"key": "node.kubernetes.io/not-ready", "effect": "NoExecute"},
        *changes.get("tolerations", []),
    ]
    spec = {"hostNetwork": True, "tolerations": tolerations, "containers": [container]}
    name = "hcloud-cloud-controller-manager"
    return [_workload("Deployment", name, {"app": name}, spec)]


def talos_ccm(account_name: str = "talos-cloud-controller-manager-talos-secrets") -> list[Object]:
    """Return what the chart makes of `enabledControllers: [node-csr-approval]`."""
    name = "talos-cloud-controller-manager"
    container = {
        "name": name,
        "image": f"ghcr.io/siderolabs/{name}:v1.12.0",
        "args": ["--controllers=node-csr-approval"],
    }
    volume = {"name": "talos", "secret": {"secretName": account_name}}
    spec = {"containers": [container], "volumes": [volume], "tolerations": [{"operator": "Exists"}]}
    account = {
        "apiVersion": "talos.dev/v1alpha1",
        "kind": "ServiceAccount",
        "metadata": _named(account_name),
        "spec": {"roles": ["os:reader"]},
    }
    return [account, _workload("Deployment", name, {"app": name}, spec)]


def _workload(kind: str, name: str, labels: dict[str, str], spec: Object) -> Object:
    template = {"metadata": {"labels": labels}, "spec": spec}
    replicas = {"replicas": 1} if kind == "Deployment" else {}
    body = {**replicas, "selector": {"matchLabels": labels}, "template": template}
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": _named(name), "spec": body}


def _named(name: str) -> dict[str, str]:
    return {"name": name, "namespace": "kube-system"}
