"""The whole lab: what it serves, in the order in which it comes up."""

from __future__ import annotations

import asyncio
import errno
import secrets
import ssl
from collections import Counter
from concurrent.futures import CancelledError
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from aiohttp import web

from tallship.errors import SetupError
from tallship.lab import proxy
from tallship.lab.clock import LabClock, ScaledClock, held_for_client, wall
from tallship.lab.control import Control
from tallship.lab.controllers.caph.hcloud import Hetzner
from tallship.lab.controllers.nodes.clusters import Clusters
from tallship.lab.controllers.runner import Runner
from tallship.lab.daemon import API_SERVERS, CHARTS, COMPONENTS
from tallship.lab.factory import Factory
from tallship.lab.faults import Faults
from tallship.lab.hetzner.api import HetznerApi
from tallship.lab.kube.api import KubeApi
from tallship.lab.kubeserver import ClusterFacts, KubeServer
from tallship.lab.management import Management
from tallship.lab.network import CONTROL_PORT
from tallship.lab.programs import chart_packages, local_programs, repository
from tallship.lab.programs.clusterctl import Clusterctl
from tallship.lab.programs.components import Hooks
from tallship.lab.programs.conversation import Program
from tallship.lab.programs.helm import Helm
from tallship.lab.programs.install import install
from tallship.lab.programs.kind import Docker, Kind
from tallship.lab.realkube import webhooks
from tallship.lab.realkube.server import RealKubeServer
from tallship.lab.rescue import Rescue
from tallship.lab.store import Store
from tallship.lab.talos.machines import Machines
from tallship.lab.world import Addresses, Authority

HETZNER_PORT = 8443
FACTORY_PORT = 8444
WEBHOOK_PORT = 8447
STAND_INS = frozenset({"capi", "caph", "cabpt", "cacppt", "hcloud-ccm", "talos-ccm"})
"""What can be left out, so that the real program can take its place."""

COUNTED = ("hetzner", "kubernetes", "talos")
"""The servers whose writes are told; those of the lab's own controllers are not."""

WRITE_SECONDS = 30.0
"""Modelled seconds that a real builder takes for an image that is not small: an estimate of the right size."""
_WRITE_SECONDS = 100.0
_SAVE_SECONDS = 0.5
"""Real seconds between two notes of lab time."""


class Lab:
    """Everything one lab is made of. Made, started and stopped in its event loop.

    With `programs`, a folder that holds them, its Kubernetes API servers are real ones.
    """

    def __init__(
        self,
        folder: Path,
        clock: LabClock,
        network: str,
        *,
        store: Store,
        without: frozenset[str] = frozenset(),
        serves_private: bool = False,
        programs: Path | None = None,
    ) -> None:
        self.folder = folder
        self._real_programs = programs
        self.clock = clock
        self.network = network
        self.without = without
        self.store = store
        self.stopping = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self.faults = Faults(store)
        self.writes: Counter[str] = Counter()
        self.addresses = Addresses(store, network)
        self.authority = Authority(store, "lab")
        self.rescue = Rescue(clock, self.faults, folder / "rescue", folder / "ca.pem", self._disk_written)
        self.machines = Machines(
            store,
            clock,
            self.faults,
            self.writes,
            self._admits,
            self._make_server,
            self._server_halted,
            serves_private=serves_private,
        )
        hardware = Metal(self.machines, self.rescue)
        self.hetzner: HetznerApi = HetznerApi(store, clock, self.faults, self.writes, self.addresses, hardware)
        self.secret = _secret(store)
        api = Hetzner(self.endpoints()["hetzner"], self._trust())
        self.runner = Runner(clock, api, without)
        self.clusters = Clusters(clock, self.machines, api, self.runner, without)
        self.management = Management(store, clock, self.addresses, self.clusters, self._make_server)
        self._proxy = proxy.Proxy((self.addresses.services, HETZNER_PORT))
        self._sites: list[web.AppRunner] = []
        self._notes: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Serve everything, and go on with what was under way. Raises SetupError when a port is in use."""
        (self.folder / "ca.pem").write_text(self.authority.certificate_pem)
        try:
            await self._serve(Control(self, self.secret, self._programs()).app(), CONTROL_PORT, None)
            await self._serve(Factory(self.store, self.clock, self.faults).app(), FACTORY_PORT, self._tls())
            await self.hetzner.serve(self.addresses.services, HETZNER_PORT, self._tls(proxy.HOST))
            await self._proxy.serve(self.addresses.services)
            if self._real_programs is not None:
                await self._serve(webhooks.app(self.runner.runs), WEBHOOK_PORT, self._tls())
        except OSError as error:
            raise _port_problem(error) from error
        await self.machines.start()
        await self.hetzner.start()
        self.clusters.start()
        await self.management.resume()
        install(self.folder / "bin", self.addresses.services, CONTROL_PORT, self.secret, self._real_programs)
        if self._real_programs is not None:
            repository.write(self.folder / COMPONENTS, self._hooks)
            chart_packages.write(self.folder / CHARTS)
            local_programs.write(self.folder, self._real_programs, self.folder / COMPONENTS)
        self._notes = asyncio.create_task(self._note_time())

    async def stop(self) -> None:
        """Stop serving; everything that was under way stays in the store."""
        if self._notes is not None:
            self._notes.cancel()
            await asyncio.gather(self._notes, return_exceptions=True)
        await self._proxy.stop()
        await self.runner.stop()
        await self.management.stop()
        await self.clusters.stop()
        await self.hetzner.stop()
        await self.machines.stop()
        await self.rescue.stop()
        await asyncio.gather(*(site.cleanup() for site in self._sites))

    def endpoints(self) -> dict[str, str]:
        """Return where each server of the lab answers."""
        host = self.addresses.services
        return {
            "hetzner": f"https://{host}:{HETZNER_PORT}/v1",
            "factory": f"https://{host}:{FACTORY_PORT}",
            "control": f"http://{host}:{CONTROL_PORT}",
            "address": f"http://{host}:{CONTROL_PORT}/address",
            "proxy": f"http://{host}:{proxy.PORT}",
        }

    def status(self) -> dict[str, Any]:
        """Return writes per server since the last reset, endpoints, faults that wait, and lab time."""
        return {
            "writes": {server: self.writes[server] for server in COUNTED},
            "endpoints": self.endpoints(),
            "faults": [asdict(fault) for fault in self.faults.list()],
            "without": sorted(self.without),
            "servers": self.machines.births.list(),
            "seconds": round(self.clock.now(), 1),
            "today": wall(self.clock).isoformat(),
        }

    def reset_counters(self) -> None:
        """Begin to count writes anew."""
        self.writes.clear()

    @property
    def _hooks(self) -> Hooks | None:
        """Where real API servers find the stand-ins' webhooks; the built-in server has them in itself."""
        if self._real_programs is None:
            return None
        url = f"https://{self.addresses.services}:{WEBHOOK_PORT}"
        return Hooks(url, self.authority.certificate_pem, self.without)

    def _programs(self) -> dict[str, Program]:
        return {
            "kind": Kind(self.management, self.clock),
            "docker": Docker(self.management, self.clock),
            "clusterctl": Clusterctl(self.clock, self._hooks),
            "helm": Helm(self.clock),
        }

    async def _serve(self, app: web.Application, port: int, tls: ssl.SSLContext | None) -> None:
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        self._sites.append(runner)
        await web.TCPSite(runner, self.addresses.services, port, ssl_context=tls).start()

    def _tls(self, *names: str) -> ssl.SSLContext:
        return self.authority.server_tls(self.addresses.services, *names)

    def _trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cadata=self.authority.certificate_pem)

    def _admits(self, server_id: int, port: int, source: str) -> bool:
        seen = self.hetzner.source_at(server_id, source)
        return self.hetzner.firewall_admits(server_id, port, source) and self.machines.lets_in(server_id, port, seen)

    def _make_server(self, facts: ClusterFacts) -> KubeServer:
        if self._real_programs is None:
            return KubeApi(self.store, facts.name, self.clock, self.faults, self.writes)
        folder = self.folder / API_SERVERS
        return RealKubeServer(folder, self._real_programs, facts, self.store, self.clock, self.faults, self.writes)

    async def _server_halted(self, server_id: int) -> None:
        await self.hetzner.halted(server_id)

    def _disk_written(self, server_id: int, content: dict[str, Any]) -> None:
        """Take in what a rescue system's shell, which has a thread of its own, wrote; the store is the loop's."""

        async def write() -> None:
            held_for_client.set(True)  # the client waits for the shell's last word
            await self.clock.sleep(WRITE_SECONDS)
            if self.hetzner.find_server(server_id):
                self.hetzner.write_disk(server_id, content)

        with suppress(CancelledError):  # the lab is stopping
            asyncio.run_coroutine_threadsafe(write(), self._loop).result(_WRITE_SECONDS)

    async def _note_time(self) -> None:
        """Keep lab time in the store, so that it never goes back; virtual time ends with its process."""
        if not isinstance(self.clock, ScaledClock):
            return
        until_next = _SAVE_SECONDS * self.clock.speed
        while True:
            self.store.table("lab")["time"] = {"now": self.clock.now(), "until_next": until_next}
            await self.clock.sleep(until_next / 2)


class Metal:
    """The machines behind the servers: each runs the rescue system or what is on its disk."""

    def __init__(self, machines: Machines, rescue: Rescue) -> None:
        self._machines = machines
        self._rescue = rescue

    async def powered_on(self, server: dict[str, Any], user_data: str, image: dict[str, Any]) -> None:
        """Boot what the server boots from."""
        system = self._rescue if image.get("rescue") else self._machines
        await system.powered_on(server, user_data, image)

    async def powered_off(self, server_id: int) -> None:
        """Stop whatever runs."""
        await self._rescue.powered_off(server_id)
        await self._machines.powered_off(server_id)

    async def deleted(self, server_id: int) -> None:
        """Forget the machine and its disk."""
        await self._rescue.deleted(server_id)
        await self._machines.deleted(server_id)


def resume_time(store: Store) -> float:
    """Return the lab time to go on from: never before a moment that an earlier process has seen."""
    note = store.table("lab").get("time")
    return 0.0 if note is None else float(note["now"]) + float(note["until_next"])


def _secret(store: Store) -> str:
    table = store.table("lab")
    if "secret" not in table:
        table["secret"] = {"value": secrets.token_urlsafe(32)}
    return str(table["secret"]["value"])


def _port_problem(error: OSError) -> SetupError:
    if error.errno == errno.EADDRINUSE:
        hint = "stop the process that listens there (`ss -ltnp` shows it), or start a lab in another folder"
        return SetupError("a port of the lab is in use", detail=str(error), hint=hint)
    return SetupError("the lab cannot listen on its own addresses", detail=str(error))
