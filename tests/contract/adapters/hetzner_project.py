"""An empty project of the lab's Hetzner, served over TLS, and our adapter for it."""

from __future__ import annotations

import asyncio
import os
import threading
from collections import Counter
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import loops

from tallship.adapters.hetzner import Hetzner
from tallship.lab.clock import VirtualClock
from tallship.lab.faults import Fault, Faults
from tallship.lab.hetzner.api import HetznerApi
from tallship.lab.store import Store
from tallship.lab.world import Addresses, Authority

T = TypeVar("T")

NETWORK = f"127.81.{10 + os.getpid() % 240}"
PORT = 8443
OWNED = "caph-cluster-k8s=owned"


class NoMachines:
    """Hardware on which nothing runs."""

    async def powered_on(self, server: dict[str, Any], user_data: str, image: dict[str, Any]) -> None: ...

    async def powered_off(self, server_id: int) -> None: ...

    async def deleted(self, server_id: int) -> None: ...


class Project:
    """The lab's Hetzner in a thread, in virtual time."""

    def __init__(self, folder: Path) -> None:
        self.clock = VirtualClock()
        self._loop = self.clock.new_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._clients: list[Hetzner] = []
        self.ask(self._build())
        self.ca_file = folder / "ca.pem"
        self.ca_file.write_text(self._authority.certificate_pem)

    async def _build(self) -> None:
        store = Store()
        self.faults = Faults(store)
        self.writes: Counter[str] = Counter()
        self._authority = Authority(store, "lab")
        addresses = Addresses(store, NETWORK)
        self.api = HetznerApi(store, self.clock, self.faults, self.writes, addresses, NoMachines())
        await self.api.start()
        await self.api.serve(f"{NETWORK}.1", PORT, self._authority.server_tls(f"{NETWORK}.1"))

    def hetzner(self, token: str = "", ca_file: Path | None = None, port: int = PORT, timeout: float = 10) -> Hetzner:
        """Return our adapter."""
        token = token or self.token()
        endpoint = f"https://{NETWORK}.1:{port}/v1"
        self._clients.append(Hetzner(token, endpoint, ca_file or self.ca_file, timeout))
        return self._clients[-1]

    def token(self, writable: bool = True) -> str:
        """Return a new token."""
        return self.call(lambda: self.api.tokens.issue_token(writable))

    def snapshot(self, **labels: str) -> None:
        """Put a snapshot into the project."""
        self.call(lambda: self.api.add_snapshot("Talos", labels, architecture="x86", disk_gb=10, content={}))

    def fault(self, name: str, match: dict[str, str] | None = None, times: int = 1, **values: Any) -> None:
        """Make something go wrong."""
        self.call(lambda: self.faults.add(Fault(name, match or {}, values, times)))

    def wait(self, seconds: float) -> None:
        """Let modelled time pass."""
        self.clock.run_client(lambda: self.clock.sleep_thread(seconds))

    def call(self, function: Callable[[], T]) -> T:
        """Return what a function returns in the lab's thread."""

        async def work() -> T:
            return function()

        return self.ask(work())

    def ask(self, question: Coroutine[Any, Any, T]) -> T:
        """Return what a coroutine of the lab's loop returns."""
        return asyncio.run_coroutine_threadsafe(question, self._loop).result(10)

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
