"""The lab's Hetzner API, served over TLS from a loop of its own with a virtual clock, and the real client for it."""

from __future__ import annotations

import asyncio
import os
import threading
from collections import Counter
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import loops
import pytest
import requests
from hcloud import APIException, Client
from hcloud.images import Image
from hcloud.locations import Location
from hcloud.server_types import ServerType
from hcloud.servers import BoundServer

from tallship.lab.clock import VirtualClock
from tallship.lab.faults import Fault, Faults
from tallship.lab.hetzner.api import HetznerApi
from tallship.lab.store import Store
from tallship.lab.world import Addresses, Authority

T = TypeVar("T")
DEBIAN = Image(name="debian-12")
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFhIuuSGbMJLmZWFaZ2mNcRlDsuK5I8wMkZfYKpDqVxE someone"
NETWORK = f"127.77.{10 + os.getpid() % 240}"
PORT = 8443


class Machines:
    """Hardware that remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, int]] = []
        self.booted: list[tuple[dict[str, Any], str, dict[str, Any]]] = []

    async def powered_on(self, server: dict[str, Any], user_data: str, image: dict[str, Any]) -> None:
        self.told.append(("on", server["id"]))
        self.booted.append((server, user_data, image))

    async def powered_off(self, server_id: int) -> None:
        self.told.append(("off", server_id))

    async def deleted(self, server_id: int) -> None:
        self.told.append(("deleted", server_id))


class HetznerLab:
    """One lab process' worth of Hetzner. With a store file another one can go on where it stopped."""

    def __init__(self, folder: Path, store: Path | None = None, start: float = 0) -> None:
        self.clock = VirtualClock()
        self.clock._now = start
        self.loop = self.clock.new_loop()
        self.machines = Machines()
        self.writes: Counter[str] = Counter()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self.run(self._build(store))
        self.ca = folder / "lab-ca.crt"
        self.ca.write_text(self.authority.certificate_pem)
        self.address = f"{NETWORK}.1"
        self.endpoint = f"https://{self.address}:{PORT}/v1"

    async def _build(self, store: Path | None) -> None:
        self.store = Store(store)
        self.faults = Faults(self.store)
        self.authority = Authority(self.store, "lab")
        self.api = HetznerApi(
            self.store, self.clock, self.faults, self.writes, Addresses(self.store, NETWORK), self.machines
        )
        self.token = self.api.tokens.issue_token()
        await self.api.start()
        await self.api.serve(f"{NETWORK}.1", PORT, self.authority.server_tls(f"{NETWORK}.1"))

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Return what a coroutine of the lab's loop returns."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(10)

    def call(self, function: Callable[[], T]) -> T:
        """Return what a function returns in the lab's thread."""

        async def work() -> T:
            return function()

        return self.run(work())

    def wait(self, seconds: float) -> None:
        """Let modelled time pass."""
        self.clock.run_client(lambda: self.clock.sleep_thread(seconds))

    def fault(self, name: str, times: int = 1, match: dict[str, str] | None = None, **values: Any) -> None:
        """Set a fault."""
        self.call(lambda: self.faults.add(Fault(name, match or {}, values, times)))

    def client(self, token: str = "", application: str = "tallship") -> Client:
        """Return the real client for this lab."""
        client = Client(token or self.token, api_endpoint=self.endpoint, application_name=application, timeout=10)
        session = client._client._session
        session.verify = str(self.ca)
        session.trust_env = False
        return client

    def http(self, method: str, path: str, body: object = None, **headers: str) -> requests.Response:
        """Return the bare answer to one request."""
        headers = {"Authorization": f"Bearer {self.token}", "User-Agent": "tallship/test", **headers}
        with requests.Session() as session:
            session.trust_env = False
            return session.request(
                method, self.endpoint + path, json=body, headers=headers, verify=str(self.ca), timeout=10
            )

    def close(self) -> None:
        """End the process; what is under way stays in the store."""

        async def end() -> None:
            await self.api.stop()
            for _ in range(20):
                await asyncio.sleep(0)  # closing TLS takes a few rounds of the loop
            self.store.close()

        self.run(end())
        loops.end(self.loop, self._thread)


def order(**more: Any) -> dict[str, Any]:
    """Return the arguments of an ordinary order."""
    usual = {"name": "one", "server_type": ServerType(name="cx33"), "image": DEBIAN, "location": Location(name="nbg1")}
    return {**usual, **more}


def running(lab: HetznerLab, project: Client, **more: Any) -> BoundServer:
    """Return a server that runs."""
    server = project.servers.create(**order(**more)).server
    lab.wait(30)
    server.reload()
    assert server.status == "running"
    return server


def refusal(call: Callable[[], object]) -> str:
    """Return the code of the refusal that a call meets."""
    with pytest.raises(APIException) as caught:
        call()
    assert caught.value.correlation_id
    return str(caught.value.code)
