"""Which parts run in which cluster: they come with an API server and end with the last machine."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from tallship.lab.clock import LabClock
from tallship.lab.controllers.caph.hcloud import Hetzner
from tallship.lab.controllers.nodes import cilium, cordon, hcloud_ccm, talos_ccm
from tallship.lab.controllers.nodes import node_documents as documents
from tallship.lab.controllers.nodes.bootstrap_manifests import BootstrapManifests
from tallship.lab.controllers.nodes.controller_manager import ControllerManager
from tallship.lab.controllers.nodes.deployments import Deployments
from tallship.lab.controllers.nodes.identity import ClusterAuthority
from tallship.lab.controllers.nodes.kubelet import Kubelet, KubeletHost, network_ready
from tallship.lab.controllers.nodes.mirror import Mirror
from tallship.lab.controllers.nodes.pods import Pods, Program, WriteLog
from tallship.lab.controllers.nodes.talos_access import TalosAccess
from tallship.lab.controllers.runner import Alive, Connect
from tallship.lab.kubeclient import KubeClient, close_all
from tallship.lab.kubeserver import KubeServer

_KINDS = ("Node", "Pod", "Deployment", "DaemonSet", "Secret", "ConfigMap")
_LOOK = 1.0
"""How often machines are looked at for what came up or went down (in memory, so it costs next to nothing)."""


log = logging.getLogger(__name__)


class Member(KubeletHost, cordon.Upgraded, Protocol):
    """A Talos machine of a cluster."""

    @property
    def cluster_id(self) -> str:
        """The cluster's id, which all its machines share."""

    @property
    def public_ip(self) -> str:
        """The address that the machine can be dialled at."""

    @property
    def kubelet_may_register(self) -> bool:
        """True while kubelet runs and has what it needs to reach an API server."""

    @property
    def serves_kubernetes(self) -> bool:
        """True while the machine's own API server answers."""


class Fleet(Protocol):
    """All machines of the lab."""

    @property
    def workloads(self) -> Mapping[str, KubeServer]:
        """The Kubernetes API of each cluster, by cluster id."""

    def list(self) -> Iterable[Member]:
        """Return every machine that has a configuration."""


class Runner(Protocol):
    """Runs Cluster API and its providers where their Deployments are."""

    def manage(self, name: str, connect: Connect, source: str = "", alive: Alive = ...) -> None:
        """Run providers in a Kubernetes API that is up, on nodes that are alive."""

    async def unmanage(self, name: str) -> None:
        """Stop the providers of a Kubernetes API that goes down."""


class Clusters:
    """Watches the machines, and runs the parts of every cluster that has an API server."""

    def __init__(
        self, clock: LabClock, fleet: Fleet, hetzner: Hetzner, runner: Runner, without: frozenset[str]
    ) -> None:
        self._clock = clock
        self._fleet = fleet
        self._hetzner = hetzner
        self._runner = runner
        self._without = without
        self._running: dict[str, WorkloadParts] = {}
        self._management: dict[str, ManagementParts] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to watch."""
        self._task = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        """End every part."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for key in list(self._running):
            await self._end(key)
        for name in list(self._management):
            await self.unmanage(name)

    def manage(self, name: str, connect: Connect, write_log: WriteLog) -> None:
        """Run Deployments, and the providers among them, in a management cluster that is up."""
        mirror = Mirror(connect("kube-controller-manager"), self._clock, _KINDS)
        self._management[name] = ManagementParts(mirror, write_log)
        self._runner.manage(name, connect)

    async def unmanage(self, name: str) -> None:
        """End what runs in a management cluster that goes down."""
        parts = self._management.pop(name, None)
        if parts is not None:
            await self._runner.unmanage(name)
            await parts.stop()

    async def _watch(self) -> None:
        while True:
            try:
                await self._compare()
            except Exception:
                log.exception("the machines could not be followed")
            await self._clock.sleep(_LOOK)

    def _make_parts(self, key: str, machines: list[Member]) -> WorkloadParts:
        return WorkloadParts(self._clock, machines, self._hetzner, self._without, self._fleet.workloads[key])

    async def _compare(self) -> None:
        members: dict[str, list[Member]] = {}
        for machine in self._fleet.list():
            members.setdefault(machine.cluster_id, []).append(machine)
        for key in set(self._running) - set(members):
            await self._end(key)
        for key, machines in members.items():
            if key in self._running and self._running[key].keyspace != self._fleet.workloads[key].name:
                await self._end(key)  # an etcd that was restored: whoever knew the former is started anew
            if key not in self._running and any(each.serves_kubernetes for each in machines):
                parts = self._running[key] = self._make_parts(key, machines)
                self._runner.manage(key, parts.connect, parts.address, parts.is_alive)
            if key in self._running:
                await self._running[key].follow(machines)

    async def _end(self, key: str) -> None:
        """End what runs in a cluster; forgotten only then, so that an end in the middle of this is made whole."""
        await self._runner.unmanage(key)
        await self._running[key].stop()
        del self._running[key]


class ManagementParts:
    """What a management cluster of one node, such as kind's, needs: its Deployments run."""

    def __init__(self, mirror: Mirror, write_log: WriteLog) -> None:
        self._mirror = mirror
        pods = Pods(mirror, {}, lambda _: True, lambda _: True, write_log)
        self._tasks = [asyncio.create_task(run()) for run in (mirror.run, Deployments(mirror).run, pods.run)]

    async def stop(self) -> None:
        """End it."""
        await _cancel(self._tasks)
        await self._mirror.client.close()


@dataclass(frozen=True)
class RunningKubelet:
    """One boot's kubelet."""

    client: KubeClient
    task: asyncio.Task[None]
    boot: int
    address: str

    def is_on(self, machine: Member) -> bool:
        """True while the machine is the same one and has not booted again."""
        return (self.boot, self.address) == (machine.boots, machine.public_ip)


class WorkloadParts:
    """What runs in one workload cluster."""

    def __init__(
        self,
        clock: LabClock,
        machines: list[Member],
        hetzner: Hetzner,
        without: frozenset[str],
        api: KubeServer,
    ) -> None:
        self.keyspace = api.name
        """Which etcd's objects it works on."""
        first = next(each for each in machines if each.serves_kubernetes)
        self._server = first
        self._authority = ClusterAuthority.of_config(first.config)
        self._machines: dict[str, Member] = {}
        self._kubelets: dict[str, RunningKubelet] = {}
        self._clients: list[KubeClient] = []
        self._mirror = Mirror(self._client("system:kube-controller-manager"), clock, (*_KINDS, _REQUEST))
        self._ccm = hcloud_ccm.HcloudCcm(self._mirror, hetzner.url, hetzner.tls)
        approver = talos_ccm.TalosCcm(self._mirror)
        agent = cilium.Cilium(self._mirror, self._config_of, self._api_servers)
        programs: dict[str, Program] = {
            cilium.CONTAINER: agent,
            hcloud_ccm.CONTAINER: self._ccm,
            talos_ccm.CONTAINER: approver,
        }
        self._pods = Pods(self._mirror, programs, self.is_alive, self._has_network, api.write_log)
        manager = ControllerManager(self._mirror, self._authority, first.config, self.is_alive)
        access = TalosAccess(self._mirror, first.config)
        bootstrap = BootstrapManifests(self._mirror, first.talos_version, first.config)
        parts: list[Callable[[], Awaitable[None]]] = [
            self._mirror.run,
            Deployments(self._mirror).run,
            self._pods.run,
            manager.run,
            access.run,
            bootstrap.run,
            *([] if "hcloud-ccm" in without else [self._ccm.run]),
            *([] if "talos-ccm" in without else [approver.run]),
        ]
        self._tasks = [asyncio.create_task(_run(run)) for run in parts]

    async def follow(self, machines: list[Member]) -> None:
        """Start and end kubelets as their machines come and go, and stay with an API server that answers."""
        self._machines = {each.hostname: each for each in machines}
        await self._choose_server()
        for name in list(self._kubelets):
            now = self._machines.get(name)
            if now is None or not now.kubelet_may_register or not self._kubelets[name].is_on(now):
                await self._end_kubelet(name)
        for name, machine in self._machines.items():
            if machine.kubelet_may_register and name not in self._kubelets and self._mirror.complete:
                await self._start_kubelet(name, machine)
            await cordon.follow(self._mirror, name, machine)

    @property
    def address(self) -> str:
        """Where what runs on the machines calls from: it stands for their private addresses."""
        return self._server.public_ip

    def connect(self, user_agent: str) -> KubeClient:
        """Return a client with a manager's rights that stays with an API server that answers."""
        return self._client("system:serviceaccount", user_agent=user_agent)

    async def stop(self) -> None:
        """End everything."""
        for name in list(self._kubelets):
            await self._end_kubelet(name)
        await _cancel(self._tasks)
        await self._ccm.close()
        await close_all(self._clients)

    async def _start_kubelet(self, name: str, machine: Member) -> None:
        client = self._client(f"system:node:{name}", ("system:nodes",))
        kubelet = Kubelet(machine, client, self._mirror)
        task = asyncio.create_task(kubelet.run())
        self._kubelets[name] = RunningKubelet(client, task, machine.boots, machine.public_ip)
        if kubelet.has_booted_again:
            await self._pods.restart_on(name)
        self._mirror.touch()

    async def _end_kubelet(self, name: str) -> None:
        kubelet = self._kubelets[name]
        await _cancel([kubelet.task])
        await kubelet.client.close()
        self._clients.remove(kubelet.client)
        del self._kubelets[name]
        self._mirror.touch()

    def _client(self, user: str, groups: tuple[str, ...] = ("system:masters",), user_agent: str = "") -> KubeClient:
        tls = self._authority.client_tls(user, groups)
        client = KubeClient(_url(self._server), tls, user_agent or user.split(":")[1], self._server.public_ip)
        self._clients.append(client)
        return client

    async def _choose_server(self) -> None:
        """Point every client at an API server that answers, as KubePrism does; from there, by the private network."""
        serving = [each for each in self._machines.values() if each.serves_kubernetes]
        if not serving or self._server.public_ip in [each.public_ip for each in serving]:
            return
        self._server = serving[0]
        for client in self._clients:
            await client.move(_url(self._server), self._server.public_ip)

    def is_alive(self, node: str) -> bool:
        """True while kubelet runs on a node."""
        return node in self._kubelets

    def _has_network(self, node: str) -> bool:
        return network_ready(self._mirror, node)

    def _config_of(self, node: str) -> documents.Config | None:
        machine = self._machines.get(node)
        return machine.config if machine else None

    def _api_servers(self) -> list[str]:
        found = [address for each in self._machines.values() if each.serves_kubernetes for address in each.addresses]
        return [f"{address}:6443" for address in found]


def _url(machine: Member) -> str:
    return f"https://{machine.public_ip}:6443"


_REQUEST = "CertificateSigningRequest"


async def _run(run: Callable[[], Awaitable[None]]) -> None:
    await run()


async def _cancel(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
