"""A Hetzner API, a management cluster and the stand-in controllers, over real sockets and in virtual time."""

from __future__ import annotations

import asyncio
import base64
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import loops

from tallship.lab import network
from tallship.lab.clock import VirtualClock, timestamp
from tallship.lab.controllers.caph.hcloud import Hetzner
from tallship.lab.controllers.runner import PROVIDERS, Runner
from tallship.lab.faults import Fault, Faults
from tallship.lab.hetzner.api import HetznerApi
from tallship.lab.kube.api import KubeApi
from tallship.lab.kube.schemas import crds
from tallship.lab.kubeclient import KubeClient
from tallship.lab.kubeserver import ClusterFacts
from tallship.lab.store import Store
from tallship.lab.talos.machines import Machines
from tallship.lab.world import Addresses, Authority, load_pair

T = TypeVar("T")
Object = dict[str, Any]

STEP = 1.0
IMAGE = {"caph-image-name": "talos-v1.12.2-amd64", "os": "talos"}


class Hardware:
    """Hardware that remembers what it was told."""

    def __init__(self) -> None:
        self.booted: dict[str, str] = {}

    async def powered_on(self, server: Object, user_data: str, image: Object) -> None:
        self.booted[server["name"]] = user_data

    async def powered_off(self, server_id: int) -> None:
        pass

    async def deleted(self, server_id: int) -> None:
        pass


class ControllerWorld:
    """Everything that the providers need, and the providers themselves once they are deployed."""

    def __init__(self, boots: bool = False) -> None:
        self.clock = VirtualClock()
        self.loop = self.clock.new_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self.network = network.take(None)
        self.store = Store()
        self.watchers: list[asyncio.Task[None]] = []
        self.run(self._build(boots))

    async def _build(self, boots: bool) -> None:
        self.writes: Counter[str] = Counter()
        self.faults = Faults(self.store)
        self.authority = Authority(self.store, "lab")
        self.hardware = Hardware()
        self.machines = Machines(
            self.store,
            self.clock,
            self.faults,
            self.writes,
            self._admits,
            self._kube_api,
            lambda server_id: self.hetzner.halted(server_id),
        )
        hardware = self.machines if boots else self.hardware
        addresses = Addresses(self.store, self.network)
        self.hetzner = HetznerApi(self.store, self.clock, self.faults, self.writes, addresses, hardware)
        self.token = self.hetzner.tokens.issue_token()
        self.hetzner.add_snapshot("talos", IMAGE, architecture="x86", disk_gb=10, content={})
        await self.machines.start()
        await self.hetzner.start()
        await self.hetzner.serve(addresses.services, 8443, self.authority.server_tls(addresses.services))
        self.management = KubeApi(self.store, "mgmt", self.clock, self.faults, self.writes)
        tls = self.authority.server_tls(addresses.management, client_authority=self.authority.certificate_pem)
        await self.management.serve(addresses.management, 6443, tls)
        trust = ssl.create_default_context(cadata=self.authority.certificate_pem)
        hetzner = Hetzner(f"https://{addresses.services}:8443/v1", trust)
        self.runner = Runner(self.clock, hetzner)
        self.client = self.connect("tests")

    def _admits(self, server_id: int, port: int, source: str) -> bool:
        return self.hetzner.firewall_admits(server_id, port, source)

    def _kube_api(self, facts: ClusterFacts) -> KubeApi:
        return KubeApi(self.store, facts.name, self.clock, self.faults, self.writes)

    def connect(self, user_agent: str) -> KubeClient:
        """Return a client of the management cluster with all rights."""
        context = ssl.create_default_context(cadata=self.authority.certificate_pem)
        load_pair(context, *self.authority.issue("kubernetes-admin", ("system:masters",)))
        return KubeClient(f"https://{self.network}.2:6443", context, user_agent)

    async def deploy(self, *providers: str) -> None:
        """Install the definitions and make the providers' Deployments available."""
        for definition in crds():
            await self.client.create(definition)
        for name in providers or PROVIDERS:
            await self.client.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": f"{name}-system"}})
            deployment = await self.client.create(
                {
                    "apiVersion": "apps/v1",
                    "kind": "Deployment",
                    "metadata": {"name": f"{name}-controller-manager", "namespace": f"{name}-system"},
                    "spec": {
                        "selector": {"matchLabels": {"a": name}},
                        "template": {"metadata": {"labels": {"a": name}}},
                    },
                }
            )
            await self.set_available({**deployment, "apiVersion": "apps/v1", "kind": "Deployment"}, True)
        self.runner.manage("mgmt", self.connect)

    async def set_available(self, deployment: Object, available: bool) -> None:
        condition = {"type": "Available", "status": str(available)}
        await self.client.patch(deployment, {"status": {"conditions": [condition]}}, subresource="status")

    async def apply(self, *documents: Object) -> None:
        """Apply documents as kubectl does, one after the other."""
        for document in documents:
            await self.client.apply(document, "kubectl")

    def get(self, kind: str, name: str) -> Object:
        """Return one object of the management cluster as stored."""
        return next(each for each in self.objects(kind) if each["metadata"]["name"] == name)

    def objects(self, kind: str) -> list[Object]:
        """Return all objects of a kind of the management cluster as stored, by name."""
        found = self.call(lambda: self.management.objects(kind))
        return sorted(found, key=lambda each: each["metadata"]["name"])

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Return what a coroutine of the lab's loop returns; time does not pass meanwhile."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(20)

    def call(self, function: Callable[[], T]) -> T:
        """Return what a function returns in the lab's thread."""

        async def work() -> T:
            return function()

        return self.run(work())

    def wait(self, seconds: float) -> None:
        """Let modelled time pass."""
        self.clock.run_client(lambda: self.clock.sleep_thread(seconds))

    def wait_until(self, what: Callable[[], Any], limit: float = 600, step: float = STEP) -> None:
        """Let modelled time pass until something is so; fails after `limit` seconds."""
        end = self.clock.now() + limit
        while not self.call(what):
            assert self.clock.now() < end, "it never became so"
            self.wait(step)
        self.wait(0)  # what else is done in the same moment

    def client_now(self) -> str:
        """Return lab time as objects write it."""
        return timestamp(self.clock)

    def workload(self) -> KubeClient:
        """Return an administrator's client of the workload cluster, through the load balancer; close it."""
        text = base64.b64decode(self.get("Secret", "k8s-kubeconfig")["data"]["value"]).decode()
        return KubeClient.from_kubeconfig(text, "tests")

    def fault(self, name: str, times: int = 1, match: dict[str, str] | None = None, **values: Any) -> None:
        """Set a fault."""
        self.call(lambda: self.faults.add(Fault(name, match or {}, values, times)))

    def close(self) -> None:
        """End everything."""

        async def end() -> None:
            await self.runner.stop()
            for watcher in self.watchers:
                watcher.cancel()
            await asyncio.gather(*self.watchers, return_exceptions=True)
            await self.client.close()
            await _settle()
            await self.management.stop()
            await self.machines.stop()
            await self.hetzner.stop()
            await _settle()

        self.run(end())
        loops.end(self.loop, self._thread)
        self.store.close()
        network.give_back(self.network)


async def _settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)  # closing TLS takes a few rounds of the loop


PATCH = """\
machine:
  certSANs: []
  kubelet:
    extraArgs:
      rotate-server-certificates: "true"
    nodeIP:
      validSubnets: [10.10.64.0/25]
  nodeLabels:
    node.kubernetes.io/exclude-from-external-load-balancers:
      $patch: delete
cluster:
  allowSchedulingOnControlPlanes: true
  externalCloudProvider: {enabled: true}
  network:
    cni: {name: none}
  proxy: {disabled: true}
  etcd:
    advertisedSubnets: [10.10.64.0/25]
"""


def _object(api_version: str, kind: str, name: str, **content: Any) -> Object:
    return {
        "apiVersion": api_version,
        "kind": kind,
        "metadata": {"name": name, "namespace": "default"},
        **content,
    }


def manifests(token: str, replicas: int = 3, patches: list[str] | None = None) -> list[Object]:
    """Return the documents of a control-plane-only cluster."""
    infrastructure, plane = "infrastructure.cluster.x-k8s.io/v1beta1", "controlplane.cluster.x-k8s.io/v1alpha3"
    template = {"apiVersion": infrastructure, "kind": "HCloudMachineTemplate", "name": "k8s-control-plane"}
    secret = _object("v1", "Secret", "hetzner", data={"hcloud": base64.b64encode(token.encode()).decode()})
    secret["metadata"]["labels"] = {"clusterctl.cluster.x-k8s.io/move": ""}
    return [
        secret,
        _object(
            "cluster.x-k8s.io/v1beta1",
            "Cluster",
            "k8s",
            spec={
                "clusterNetwork": {
                    "pods": {"cidrBlocks": ["10.10.128.0/17"]},
                    "services": {"cidrBlocks": ["10.96.0.0/12"]},
                    "serviceDomain": "cluster.local",
                },
                "infrastructureRef": {"apiVersion": infrastructure, "kind": "HetznerCluster", "name": "k8s"},
                "controlPlaneRef": {"apiVersion": plane, "kind": "TalosControlPlane", "name": "k8s-control-plane"},
            },
        ),
        _object(
            infrastructure,
            "HetznerCluster",
            "k8s",
            spec={
                "controlPlaneRegions": ["nbg1"],
                "controlPlaneEndpoint": {"host": "", "port": 6443},
                "controlPlaneLoadBalancer": {
                    "enabled": True,
                    "region": "nbg1",
                    "type": "lb11",
                    "algorithm": "round_robin",
                    "port": 6443,
                    "extraServices": [{"protocol": "tcp", "listenPort": 50000, "destinationPort": 50000}],
                },
                "hcloudNetwork": {
                    "enabled": True,
                    "cidrBlock": "10.10.0.0/16",
                    "subnetCidrBlock": "10.10.64.0/25",
                    "networkZone": "eu-central",
                },
                "hcloudPlacementGroups": [{"name": "control-plane", "type": "spread"}],
                "sshKeys": {"hcloud": []},
                "hetznerSecretRef": {"name": "hetzner", "key": {"hcloudToken": "hcloud"}},
            },
        ),
        _object(
            infrastructure,
            "HCloudMachineTemplate",
            "k8s-control-plane",
            spec={
                "template": {
                    "spec": {
                        "type": "cx33",
                        "imageName": "talos-v1.12.2-amd64",
                        "placementGroupName": "control-plane",
                        "publicNetwork": {"enableIPv4": True, "enableIPv6": False},
                    }
                }
            },
        ),
        _object(
            plane,
            "TalosControlPlane",
            "k8s-control-plane",
            spec={
                "replicas": replicas,
                "version": "v1.32.2",
                "infrastructureTemplate": template,
                "rolloutStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}},
                "controlPlaneConfig": {
                    "controlplane": {
                        "generateType": "controlplane",
                        "talosVersion": "v1.12.2",
                        "hostname": {"source": "InfrastructureName"},
                        "strategicPatches": [PATCH] if patches is None else patches,
                    }
                },
            },
        ),
    ]
