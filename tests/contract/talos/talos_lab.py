"""Talos machines of the lab on real sockets, in virtual time, and a client that can make every call."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import copy
import threading
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import loops
import yaml
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from grpclib.client import Channel
from h2.exceptions import StreamClosedError

from tallship.adapters.talos import Talos
from tallship.adapters.talos_channel import Access, Channels
from tallship.lab import network
from tallship.lab.clock import VirtualClock
from tallship.lab.faults import Faults
from tallship.lab.kube.api import KubeApi
from tallship.lab.kubeserver import ClusterFacts
from tallship.lab.store import Store
from tallship.lab.talos.config import generate, pki, secrets
from tallship.lab.talos.machine import Machine
from tallship.lab.talos.machines import Machines
from tallship.talosproto.machine_grpc import MachineServiceStub
from tallship.talosproto.state_grpc import StateStub

T = TypeVar("T")
IMAGE = {"labels": {"os": "talos", "caph-image-name": "talos-amd64-v1.12.2"}, "content": {"talos": "v1.12.2"}}
SUBNET = "10.10.64.0/25"
REAL_SECONDS = 10.0


@cache
def bundle() -> secrets.Bundle:
    """The secrets of the cluster, made once: its RSA key takes a second."""
    return secrets.new_bundle()


@cache
def other_bundle() -> secrets.Bundle:
    """The secrets of another cluster; only the RSA key is the same."""
    made: secrets.Bundle = copy.deepcopy(bundle())
    made["cluster"] = {"id": _encoded("another cluster"), "secret": _encoded("another secret")}
    keys: dict[str, pki.Key] = {name: ec.generate_private_key(ec.SECP256R1()) for name in ("etcd", "k8s")}
    for name, key in {**keys, "os": ed25519.Ed25519PrivateKey.generate()}.items():
        certificate, private = pki.new_authority(name, key)
        made["certs"][name] = {"crt": _encoded(certificate), "key": _encoded(private)}
    return made


class TalosLab:
    """Machines 1, 2, … with the public addresses `address(n)` and the private ones `private(n)`."""

    def __init__(self, store: Path | None = None, start: float = 0, on: str = "") -> None:
        self.network = on or network.take(None)
        self.clock = VirtualClock()
        self.clock._now = start
        self.loop = self.clock.new_loop()
        self.writes: Counter[str] = Counter()
        self.closed: set[tuple[int, int, str]] = set()
        """Server, port, source: what the firewall drops."""
        self.halted: list[int] = []
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self.run(self._build(store))

    async def _build(self, store: Path | None) -> None:
        self.store = Store(store)
        self.faults = Faults(self.store)
        self.machines = Machines(
            self.store, self.clock, self.faults, self.writes, self._admits, self._kube_api, self._note_halt
        )
        await self.machines.start()

    @property
    def bundle(self) -> secrets.Bundle:
        """The cluster's secrets."""
        return bundle()

    def address(self, number: int) -> str:
        """The address that machine can be dialled at."""
        return f"{self.network}.{100 + number}"

    def private(self, number: int) -> str:
        """Its private address, which cannot be dialled."""
        return f"10.10.64.{1 + number}"

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run something in the lab's loop; no modelled time passes."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(REAL_SECONDS)

    def wait(self, seconds: float) -> None:
        """Let so many modelled seconds pass."""
        self.clock.run_client(lambda: self.clock.sleep_thread(seconds))

    def user_data(self, kind: str = "controlplane", *, secrets_of: secrets.Bundle | None = None, **changes: Any) -> str:
        """A machine's configuration, with changes to its sections `machine` and `cluster`."""
        documents = generate.controlplane_config(
            copy.deepcopy(secrets_of or self.bundle),
            "k8s",
            f"https://{self.network}.10:6443",
            "v1.32.2",
            "v1.12.2",
            ["10.10.128.0/17"],
            ["10.10.96.0/20"],
            "cluster.local",
            kind,
        )
        if kind == "controlplane":
            _merge(documents[0], {"cluster": {"etcd": {"advertisedSubnets": [SUBNET]}}})
        _merge(documents[0], changes)
        return yaml.safe_dump_all(documents)

    def boot(self, number: int, user_data: str | None = None, **changes: Any) -> Machine | None:
        """Power a machine on; `changes` go into its configuration. Returns it when its configuration loads."""
        server = {
            "id": number,
            "name": f"k8s-control-plane-{number}",
            "public_net": {"ipv4": {"ip": self.address(number)}},
            "private_net": [{"network": 7, "ip": self.private(number)}],
        }
        text = self.user_data(**changes) if user_data is None else user_data
        self.run(self.machines.powered_on(server, text, IMAGE))
        return next((each for each in self.machines.list() if each.server_id == number), None)

    def form_cluster(self, size: int = 3) -> None:
        """Boot control planes, bootstrap the first, and wait until all are members and serve Kubernetes."""
        for number in range(1, size + 1):
            self.boot(number)
        self.wait(31)
        self.call(1, "Bootstrap")
        self.wait(90)

    def talosconfig(self, roles: Sequence[str] = ("os:admin",), endpoints: Sequence[str] = ()) -> str:
        """A talosconfig of the cluster."""
        return secrets.talosconfig(self.bundle, "k8s", list(endpoints) or [self.address(1)], tuple(roles))

    def talos(self, *endpoints: str, roles: Sequence[str] = ("os:admin",)) -> Talos:
        """The product's own client."""
        return Talos(self.talosconfig(roles, endpoints), timeout=REAL_SECONDS)

    def call(self, number: int, name: str, request: Any = None, *, most: int = 0, **more: Any) -> Any:
        """Make one call at a machine and return the reply, or the first `most` messages of a stream."""
        return asyncio.run(self._call(number, name, request, most, **more))

    def close(self, keeps_network: bool = False) -> None:
        """End the process; what is under way stays in the store, and the network with the next lab if it is kept."""

        async def end() -> None:
            await self.machines.stop()
            self.store.close()

        self.run(end())
        loops.end(self.loop, self._thread)
        if not keeps_network:
            network.give_back(self.network)

    async def _call(
        self,
        number: int,
        name: str,
        request: Any,
        most: int,
        roles: Sequence[str] = ("os:admin",),
        metadata: Sequence[tuple[str, str]] = (),
    ) -> Any:
        access = Access.parse(self.talosconfig(roles), [self.address(number)])

        async def send(channel: Channel) -> Any:
            stub = StateStub(channel) if name == "Get" else MachineServiceStub(channel)
            method = getattr(stub, name)
            sent = method.request_type() if request is None else request
            if not most:
                return await method(sent, metadata=metadata, timeout=REAL_SECONDS)
            async with method.open(metadata=metadata, timeout=REAL_SECONDS) as stream:
                await stream.send_message(sent, end=True)
                found = [message async for message in _first(stream, most)]
                if len(found) == most:
                    with contextlib.suppress(StreamClosedError):  # it has ended just now by itself
                        await stream.cancel()
                return found

        async with Channels(access.endpoints, access.tls()) as channels:
            return await channels.first_answer(send)

    def _admits(self, server_id: int, port: int, source: str) -> bool:
        return (server_id, port, source) not in self.closed

    def _kube_api(self, facts: ClusterFacts) -> KubeApi:
        return KubeApi(self.store, facts.name, self.clock, self.faults, self.writes)

    async def _note_halt(self, server_id: int) -> None:
        self.halted.append(server_id)


async def _first(stream: Any, most: int) -> AsyncIterator[Any]:
    for _ in range(most):
        message = await stream.recv_message()
        if message is None:
            return
        yield message


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _merge(into: dict[str, Any], changes: dict[str, Any]) -> None:
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value
