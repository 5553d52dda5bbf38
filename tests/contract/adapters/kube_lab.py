"""One Kubernetes API of the lab, served over TLS from a loop of its own."""

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

from tallship.adapters.kube import Kube
from tallship.lab.clock import VirtualClock
from tallship.lab.faults import Fault, Faults
from tallship.lab.kube.api import KubeApi
from tallship.lab.store import Store
from tallship.lab.world import Authority

T = TypeVar("T")

ADDRESS = f"127.80.{10 + os.getpid() % 240}.2"
PORT = 6443


class KubeLab:
    """The API server, and kubeconfigs for it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = VirtualClock()
        self._loop = self.clock.new_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._clients: list[Kube] = []
        self.ask(self._build())

    async def _build(self) -> None:
        store = Store()
        self.faults = Faults(store)
        self.writes: Counter[str] = Counter()
        self.api = KubeApi(store, "mgmt", self.clock, self.faults, self.writes)
        self.authority = Authority(store, "mgmt")
        tls = self.authority.server_tls(ADDRESS, client_authority=self.authority.certificate_pem)
        await self.api.serve(ADDRESS, PORT, tls)

    def kube(self, kubeconfig: Path | None = None) -> Kube:
        """Return our adapter, for this API server or another one."""
        self._clients.append(Kube(kubeconfig or self.kubeconfig()))
        return self._clients[-1]

    def kubeconfig(self, server: str = f"https://{ADDRESS}:{PORT}", authority: str = "") -> Path:
        """Write a kubeconfig for an administrator."""
        certificate, key = self.authority.issue("admin", ("system:masters",))
        user = {"client-certificate-data": _encoded(certificate), "client-key-data": _encoded(key)}
        trusted = _encoded(authority or self.authority.certificate_pem)
        config = {
            "clusters": [{"name": "k8s", "cluster": {"server": server, "certificate-authority-data": trusted}}],
            "users": [{"name": "k8s", "user": user}],
            "contexts": [{"name": "k8s", "context": {"cluster": "k8s", "user": "k8s"}}],
            "current-context": "k8s",
        }
        file = self.folder / "kubeconfig"
        file.write_text(yaml.safe_dump(config))
        return file

    def client(self, work: Callable[[], T]) -> T:
        """Run client code: modelled time passes while it waits."""
        answers: list[T] = []
        self.clock.run_client(lambda: answers.append(work()))
        return answers[0]

    def ask(self, question: Coroutine[Any, Any, T]) -> T:
        """Return what a coroutine of the lab's loop returns."""
        return asyncio.run_coroutine_threadsafe(question, self._loop).result(10)

    def fault(self, name: str, times: int = 1, match: dict[str, str] | None = None, **values: Any) -> None:
        """Make something go wrong."""

        async def add() -> None:
            self.faults.add(Fault(name, match or {}, values, times))

        self.ask(add())

    def close(self) -> None:
        """End the lab."""

        async def end() -> None:
            await self.api.stop()
            for _ in range(20):
                await asyncio.sleep(0)  # closing TLS takes a few rounds of the loop

        for client in self._clients:
            client.close()
        self.ask(end())
        loops.end(self._loop, self._thread)


def _encoded(text: str) -> str:
    return b64encode(text.encode()).decode()
