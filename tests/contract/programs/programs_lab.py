"""The programs' part of a lab in a thread, in virtual time: control API, management host, one more Kubernetes API."""

from __future__ import annotations

import asyncio
import os
import threading
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import loops
import yaml
from aiohttp import web

from tallship.adapters.kube import Kube
from tallship.adapters.programs import Programs
from tallship.lab.clock import VirtualClock
from tallship.lab.faults import Fault, Faults
from tallship.lab.kube.api import KubeApi
from tallship.lab.kubeclient import KubeClient
from tallship.lab.programs.clusterctl import Clusterctl
from tallship.lab.programs.conversation import Program
from tallship.lab.programs.helm import Helm
from tallship.lab.programs.install import install
from tallship.lab.programs.kind import Docker, Kind
from tallship.lab.programs.routes import routes
from tallship.lab.store import Store
from tallship.lab.world import Authority, hold_clients

T = TypeVar("T")

NETWORK = f"127.79.{10 + os.getpid() % 240}"
CONTROL_PORT = 8445
SECRET = "only for this lab"
NAME = "k8s-mgmt"
IMAGE = "kindest/node:v1.32.8"
_SECONDS = 20.0


class OneNode:
    """A host for kind: Kubernetes APIs in which every Deployment is available some seconds after it was made."""

    def __init__(self, clock: VirtualClock, faults: Faults, writes: Counter[str]) -> None:
        self._clock = clock
        self._faults = faults
        self._writes = writes
        self._store = Store()
        self._authority = Authority(self._store, "kind")
        self._clusters: set[str] = set()
        self._running: dict[str, tuple[KubeApi, asyncio.Task[None]]] = {}

    def names(self) -> list[str]:
        return sorted(self._clusters)

    async def create(self, name: str, image: str) -> None:
        self._clusters.add(name)
        await self.start(name)

    async def start(self, name: str) -> None:
        api = KubeApi(self._store, "mgmt", self._clock, self._faults, self._writes)
        tls = self._authority.server_tls(f"{NETWORK}.2", client_authority=self._authority.certificate_pem)
        await api.serve(f"{NETWORK}.2", 6443, tls)
        client = KubeClient.from_kubeconfig(self.kubeconfig(name), "kube-controller-manager")
        self._running[name] = api, asyncio.create_task(self._run_deployments(client))

    async def halt(self, name: str) -> None:
        api, task = self._running.pop(name)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await api.stop()

    async def delete(self, name: str) -> None:
        self._clusters.discard(name)
        if name in self._running:
            await self.halt(name)

    def kubeconfig(self, name: str) -> str:
        return kubeconfig(f"kind-{name}", f"https://{NETWORK}.2:6443", self._authority)

    async def stop(self) -> None:
        for name in list(self._running):
            await self.halt(name)

    async def _run_deployments(self, client: KubeClient) -> None:
        try:
            while True:
                await self._clock.sleep(5)
                for each in await client.list("Deployment"):
                    status = {
                        "observedGeneration": each["metadata"]["generation"],
                        "conditions": [{"type": "Available", "status": "True"}],
                    }
                    await client.update({**each, "status": status}, "status")
        finally:
            await client.close()


def kubeconfig(name: str, server: str, authority: Authority) -> str:
    """Return an administrator's kubeconfig."""
    pair = authority.issue("admin", ("system:masters",))
    ca, certificate, key = (b64encode(text.encode()).decode() for text in (authority.certificate_pem, *pair))
    config = {
        "clusters": [{"name": name, "cluster": {"server": server, "certificate-authority-data": ca}}],
        "users": [{"name": name, "user": {"client-certificate-data": certificate, "client-key-data": key}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }
    return yaml.safe_dump(config)


class ProgramsLab:
    """Stand-in programs in `folder/bin`, and what they work on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = VirtualClock()
        self._loop = self.clock.new_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.ask(self._build())
        self._clients: list[Kube] = []
        self.home = folder / "home"
        self.kubeconfig = folder / "management.kubeconfig"
        self.programs = Programs(f"{folder / 'bin'}:/usr/bin:/bin", self.home)

    async def _build(self) -> None:
        store = Store()
        self.faults = Faults(store)
        self.writes: Counter[str] = Counter()
        self.management = OneNode(self.clock, self.faults, self.writes)
        programs: dict[str, Program] = {
            "kind": Kind(self.management, self.clock),
            "docker": Docker(self.management, self.clock),
            "clusterctl": Clusterctl(self.clock),
            "helm": Helm(self.clock),
        }
        app = web.Application(middlewares=[hold_clients])
        app.add_routes(routes(programs, self.faults, self.clock))
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, f"{NETWORK}.1", CONTROL_PORT).start()
        install(self.folder / "bin", f"{NETWORK}.1", CONTROL_PORT, SECRET, None)
        self.workload = KubeApi(store, "workload", self.clock, self.faults, self.writes)
        self.authority = Authority(store, "workload")
        tls = self.authority.server_tls(f"{NETWORK}.100", client_authority=self.authority.certificate_pem)
        await self.workload.serve(f"{NETWORK}.100", 6443, tls)

    def client(self, work: Callable[[], T]) -> T:
        """Run client code: modelled time passes while it waits."""
        answers: list[T] = []
        self.clock.run_client(lambda: answers.append(work()))
        return answers[0]

    def ask(self, question: Coroutine[Any, Any, T]) -> T:
        """Return what a coroutine of the lab's loop returns."""
        return asyncio.run_coroutine_threadsafe(question, self._loop).result(_SECONDS)

    def call(self, function: Callable[[], T]) -> T:
        """Return what a function returns in the lab's thread."""

        async def work() -> T:
            return function()

        return self.ask(work())

    def fault(self, name: str, match: dict[str, str] | None = None, times: int = 1, **values: Any) -> None:
        """Make something go wrong."""
        self.call(lambda: self.faults.add(Fault(name, match or {}, values, times)))

    def make_management(self) -> float:
        """Create the management cluster; returns how long that took, in modelled seconds."""
        before = self.clock.now()
        self.client(lambda: self.programs.kind_create(NAME, IMAGE, self.kubeconfig))
        return self.clock.now() - before

    def kube(self) -> Kube:
        """Return our adapter for the management cluster."""
        self._clients.append(Kube(self.kubeconfig))
        return self._clients[-1]

    def workload_kubeconfig(self) -> Path:
        """Return a kubeconfig of the workload cluster."""
        file = self.folder / "kubeconfig"
        file.write_text(kubeconfig("k8s", f"https://{NETWORK}.100:6443", self.authority))
        return file

    def objects(self, kind: str) -> dict[str, dict[str, Any]]:
        """Return the workload cluster's objects of a kind, by name."""
        return self.call(lambda: {each["metadata"]["name"]: each for each in self.workload.objects(kind)})

    def close(self) -> None:
        """End the lab."""

        async def end() -> None:
            await self.management.stop()
            await self.workload.stop()
            await self._runner.cleanup()
            for _ in range(20):
                await asyncio.sleep(0)  # closing TLS takes a few rounds of the loop

        for client in self._clients:
            client.close()
        self.ask(end())
        loops.end(self._loop, self._thread)
