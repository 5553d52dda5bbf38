"""One API server of the lab on a loop of its own, and ways to ask it."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import threading
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import httpx2
import loops
import yaml

from tallship.lab.clock import VirtualClock
from tallship.lab.faults import Fault, Faults
from tallship.lab.kube.api import KubeApi
from tallship.lab.kubeclient import KubeClient
from tallship.lab.store import Store
from tallship.lab.world import Authority, load_pair

T = TypeVar("T")
Document = dict[str, Any]

ADDRESS = f"127.81.{10 + os.getpid() % 240}.2"
PORT = 6443
SERVER = f"https://{ADDRESS}:{PORT}"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
JSON_PATCH = "application/json-patch+json"
APPLY = "application/apply-patch+yaml"


class Refused(AssertionError):
    """The server answered with a Status."""

    def __init__(self, status: Document) -> None:
        super().__init__(f"{status['code']} {status.get('reason')}: {status.get('message')}")
        self.code = status["code"]
        self.reason = status.get("reason", "")
        self.message = status.get("message", "")
        self.details = status.get("details", {})

    def fields(self) -> list[str]:
        """Return the fields of the causes."""
        return [cause["field"] for cause in self.details.get("causes", [])]


class ApiLab:
    """The server; it can be stopped and started again on the same store file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = VirtualClock()
        self._loop = self.clock.new_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.ask(self._start())
        self.http = self.http_as("admin", "system:masters")

    async def _start(self) -> None:
        self.store = Store(self.folder / "lab.sqlite")
        self.faults = Faults(self.store)
        self.writes: Counter[str] = Counter()
        self.api = KubeApi(self.store, "mgmt", self.clock, self.faults, self.writes)
        self.authority = Authority(self.store, "mgmt")
        tls = self.authority.server_tls(ADDRESS, client_authority=self.authority.certificate_pem)
        await self.api.serve(ADDRESS, PORT, tls)

    async def _stop(self) -> None:
        await self.api.stop()
        for _ in range(20):
            await asyncio.sleep(0)  # closing TLS takes a few rounds of the loop
        self.store.close()

    def restart(self) -> None:
        """End the server and start another one on what it left."""
        self.ask(self._stop())
        self.ask(self._start())
        self.http = self.http_as("admin", "system:masters")

    def close(self) -> None:
        """End everything."""
        self.http.close()
        self.ask(self._stop())
        loops.end(self._loop, self._thread)

    def tls(self, user: str = "", *groups: str) -> ssl.SSLContext:
        """Return what a client needs to speak as a user, or as nobody."""
        context = ssl.create_default_context(cadata=self.authority.certificate_pem)
        if user:
            load_pair(context, *self.authority.issue(user, groups))
        return context

    def http_as(self, user: str = "", *groups: str) -> httpx2.Client:
        """Return an HTTP client of a user, or of nobody."""
        return httpx2.Client(base_url=SERVER, verify=self.tls(user, *groups), trust_env=False)

    def kube_client(self) -> KubeClient:
        """Return the client of the stand-in controllers; use and close it inside `ask`."""
        return KubeClient(SERVER, self.tls("system:kube-controller-manager", "system:masters"), "manager/v1")

    def kubeconfig(self) -> Path:
        """Write an administrator's kubeconfig."""
        certificate, key = self.authority.issue("admin", ("system:masters",))
        user = {"client-certificate-data": _encoded(certificate), "client-key-data": _encoded(key)}
        cluster = {"server": SERVER, "certificate-authority-data": _encoded(self.authority.certificate_pem)}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "lab", "cluster": cluster}],
            "users": [{"name": "lab", "user": user}],
            "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "lab"}}],
            "current-context": "lab",
        }
        file = self.folder / "kubeconfig"
        file.write_text(yaml.safe_dump(config))
        return file

    def send(self, method: str, path: str, body: Any = None, kind: str = "application/json", **query: str) -> Document:
        """Return the answer to a request. Raises Refused."""
        headers = {"Content-Type": kind} if body is not None else {}
        content = body if isinstance(body, str) or body is None else json.dumps(body)
        answer = self.http.request(method, path, params=query, content=content, headers=headers)
        found: Document = answer.json()
        if answer.status_code >= 400:
            raise Refused(found)
        return found

    def get(self, path: str, **query: str) -> Document:
        """Return what stands at a path."""
        return self.send("GET", path, **query)

    def create(self, path: str, document: Document, **query: str) -> Document:
        """Create an object."""
        return self.send("POST", path, document, **query)

    def apply(self, path: str, document: Document, manager: str = "tests", **query: str) -> Document:
        """Server-side apply an object."""
        return self.send("PATCH", path, document, APPLY, fieldManager=manager, **query)

    def fault(self, name: str, times: int = 1, match: dict[str, str] | None = None, **values: Any) -> None:
        """Make something go wrong."""
        self.call(lambda: self.faults.add(Fault(name, match or {}, values, times)))

    def wait(self, seconds: float = 3) -> None:
        """Let modelled time pass."""
        self.clock.run_client(lambda: self.clock.sleep_thread(seconds))

    def ask(self, question: Coroutine[Any, Any, T]) -> T:
        """Return what a coroutine of the lab's loop returns."""
        return asyncio.run_coroutine_threadsafe(question, self._loop).result(10)

    def call(self, function: Callable[[], T]) -> T:
        """Return what a function returns in the lab's thread."""

        async def work() -> T:
            return function()

        return self.ask(work())


def config_map(name: str = "one", **data: str) -> Document:
    """Return a ConfigMap of the namespace default."""
    metadata = {"name": name, "namespace": "default"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
ONE = f"{CONFIG_MAPS}/one"


def _encoded(text: str) -> str:
    return b64encode(text.encode()).decode()
