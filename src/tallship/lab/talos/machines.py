"""All Talos machines of a lab: the hardware behind Hetzner's servers, as far as Talos runs on it."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from typing import Any

from aiohttp import web

from tallship.lab.births import REACHABLE, Births
from tallship.lab.clock import LabClock
from tallship.lab.faults import Faults
from tallship.lab.kubeserver import ClusterFacts, KubeServer, MakeServer, SnapshotRefused
from tallship.lab.store import Document, Store
from tallship.lab.talos import durations, ingress, recovery, resets, settings, upgrading
from tallship.lab.talos.boot import Boot, in_own_context
from tallship.lab.talos.etcd import Etcd
from tallship.lab.talos.listener import Doors, Listener, cut, listeners
from tallship.lab.talos.machine import Machine, new_record
from tallship.lab.talos.server import PORT, Apid

KUBERNETES_PORT = 6443
ANSWER = 1.0
"""Modelled seconds in which a machine still answers after it was told to go down."""

Admits = Callable[[int, int, str], bool]
"""Server id, port, source: what a packet meets at the server's public address."""


class Machines:
    """Boots what gets power, and serves what has booted.

    `make_server` makes the API server of a cluster; `halted` is told the id of a server that has shut itself down.
    With `serves_private` the machines answer on their private addresses too, which this machine then must have.
    """

    def __init__(
        self,
        store: Store,
        clock: LabClock,
        faults: Faults,
        writes: Counter[str],
        admits: Admits,
        make_server: MakeServer,
        halted: Callable[[int], Awaitable[None]] | None = None,
        *,
        serves_private: bool = False,
    ) -> None:
        self.clock = clock
        self.faults = faults
        self.births = Births(store, clock)
        self.etcd = Etcd(store)
        self.workloads: dict[str, KubeServer] = {}
        """The Kubernetes API of each cluster that has had one since the lab started, by cluster id."""
        self._table = store.table("talos.machines")
        self._writes = writes
        self._admits = admits
        self._make_server = make_server
        self._halted = halted
        self._serves_private = serves_private
        self._machines: dict[int, Machine] = {}
        self._boots: dict[int, Boot] = {}
        self._going_down: set[asyncio.Task[None]] = set()
        self._sequences: dict[int, asyncio.Task[None]] = {}
        self._schematics = store.table("schematics")
        self._uploads = store.table("talos.uploads")

    async def start(self) -> None:
        """Go on with every machine that had power when an earlier process ended."""
        for key in sorted(self._table, key=int):
            machine = Machine(self._table, int(key), self.etcd, self.clock)
            self._machines[machine.server_id] = machine
        for machine in self._machines.values():
            if machine.is_on:
                self._run(machine)
                if machine.upgrade is not None:
                    self.upgrade(machine)
                if machine.reset is not None:
                    self.reset(machine)
            if machine.record["halts_at"] is not None:
                self._spawn(self._halt(machine))

    async def stop(self) -> None:
        """Stop serving; what the machines are doing stays in the store."""
        for task in self._going_down:
            task.cancel()
        await asyncio.gather(*self._going_down, return_exceptions=True)
        await asyncio.gather(*(self._unplug(server_id) for server_id in {*self._boots, *self._sequences}))
        for api in self.workloads.values():
            await api.stop()

    async def powered_on(self, server: Document, user_data: str, image: Document) -> None:
        """Boot Talos when the image has it. The fault `machine-never-boots` (match: machine) keeps it dark.

        So does the lack of a public address: the lab has no private network to serve on.
        """
        if image.get("rescue"):
            return
        server_id = int(server["id"])
        await self._unplug(server_id)
        record = new_record(server, user_data, image, self._table.get(str(server_id)), self.clock.now())
        never_boots = self.faults.take("machine-never-boots", machine=record["name"]) is not None
        record["is_dead"] = never_boots or not record["public_ip"]
        self._table[str(server_id)] = record
        machine = self._machines[server_id] = Machine(self._table, server_id, self.etcd, self.clock)
        if machine.is_on:
            self._run(machine)

    async def powered_off(self, server_id: int) -> None:
        """Stop everything that runs there; the disk stays."""
        if server_id in self._machines:
            self._machines[server_id].change(on=False, halts_at=None)
            await self._unplug(server_id)
            self.changed()

    async def deleted(self, server_id: int) -> None:
        """Forget the machine and its disk."""
        await self._unplug(server_id)
        gone = self._machines.pop(server_id, None)
        if gone is None:
            return
        del self._table[str(server_id)]
        self._uploads.pop(str(server_id), None)
        if gone.loaded and not self._of_cluster(gone.cluster_id):
            self.etcd.forget(gone.cluster_id)
            await self._drop_workload(gone.cluster_id)
        self.changed()

    def list(self) -> Sequence[Machine]:
        """Return every machine that has power, Talos, and a configuration that could be loaded."""
        return [each for each in self._machines.values() if each.is_on and each.loaded]

    def find(self, machine: Machine, address: str) -> Machine | None:
        """Return the machine of the same cluster that has this address or name."""
        return next(
            (
                each
                for each in self.list()
                if each.settings.os_ca == machine.settings.os_ca and address in (*each.addresses, each.hostname)
            ),
            None,
        )

    def lets_in(self, server_id: int, port: int, source: str) -> bool:
        """True when a machine's own firewall lets TCP from a source in at a port."""
        machine = self._machines.get(server_id)
        return machine is None or machine.loaded is None or ingress.lets_in(machine.loaded, port, source)

    def os_key(self, machine: Machine) -> str:
        """Return the key that signs the machine's own certificate: a worker has it signed by a control plane."""
        mine = machine.settings
        if mine.os_key:
            return mine.os_key
        signers = (each for each in self.list() if each.settings.os_key and each.serves_talos)
        reached = (each.settings for each in signers if self._reaches_trustd(machine, each))
        return next((each.os_key for each in reached if (each.os_ca, each.token) == (mine.os_ca, mine.token)), "")

    def _reaches_trustd(self, worker: Machine, signer: Machine) -> bool:
        """True when a control plane's trustd can be reached, by the private network where both are in one."""
        if worker.private_ip and signer.private_ip:
            return ingress.lets_in(signer.settings, ingress.TRUSTD_PORT, worker.private_ip)
        admitted = self._admits(signer.server_id, ingress.TRUSTD_PORT, worker.public_ip)
        return admitted and ingress.lets_in(signer.settings, ingress.TRUSTD_PORT, worker.public_ip)

    def alive(self, cluster_id: str) -> set[int]:
        """Return the machines (server ids) whose etcd takes part."""
        return {each.server_id for each in self._of_cluster(cluster_id) if each.is_on and each.runs_etcd}

    def holders(self, cluster_id: str) -> set[int]:
        """Return the machines (server ids) whose disk holds the data of one of the members, with power or without."""
        return {each.server_id for each in self._of_cluster(cluster_id) if each.member}

    def members_admit(self, machine: Machine) -> bool:
        """True when the machine's own address reaches etcd on every member of its cluster."""
        members = (each for each in self._of_cluster(machine.cluster_id) if each.member and each is not machine)
        source = machine.etcd_address or ""
        return all(ingress.lets_in(each.settings, ingress.ETCD_PORT, source) for each in members)

    def changed(self) -> None:
        """Make every machine look again at what it waits for."""
        for boot in self._boots.values():
            boot.look()

    async def restart(self, machine: Machine) -> None:
        """Take a machine down and boot it again; it answers for a moment longer."""
        machine.sequence = "reboot"
        down_until = self.clock.now() + durations.REBOOT
        takes = durations.API_SERVER_AGAIN if machine.record["has_images"] else durations.API_SERVER_FIRST
        machine.change(
            boots=machine.boots + 1,
            booted_at=down_until,
            etcd_at=None,
            has_left=False,
            api_server_takes=takes,
            talos=machine.record.get("installed") or machine.talos_version,
            installed="",
            upgrade=None,
            reset=None,
            recovery=None,
            lacks_kubelet=self.faults.take("kubelet-fails", machine=machine.hostname) is not None,
            is_dead=self.faults.take("machine-never-boots", machine=machine.hostname) is not None,
        )
        self._spawn(self._restart(machine))

    def upgrade(self, machine: Machine) -> None:
        """Begin the upgrade that the machine remembers, or go on with it; it ends with the machine's power."""
        self._sequences[machine.server_id] = in_own_context(upgrading.run(self, machine))

    def reset(self, machine: Machine) -> None:
        """Begin the reset that the machine remembers, or go on with it; it ends with the machine's power."""
        self._sequences[machine.server_id] = in_own_context(resets.run(self, machine))

    def upload(self, machine: Machine, content: bytes) -> None:
        """Keep a snapshot on the machine's disk, in the place of one that is there."""
        self._uploads[str(machine.server_id)] = {"content": base64.b64encode(content).decode()}

    def wipe(self, machine: Machine) -> None:
        """Forget what the machine's reset wipes: etcd's data and the images, or all that a machine boots from."""
        labels = (machine.reset or {}).get("labels", [])
        if "EPHEMERAL" in labels:
            machine.change(member=0, has_images=False, images=[], pulled=[])
            self._uploads.pop(str(machine.server_id), None)
        if resets.BOOTED_FROM.intersection(labels):
            machine.change(is_wiped=True)

    async def recover(self, machine: Machine) -> None:
        """Make an etcd of the snapshot that the machine was given, or remember why that cannot be."""
        asked, key, now = machine.recovery or {}, machine.cluster_id, self.clock.now()
        kept = self._uploads.get(str(machine.server_id))
        snapshot = base64.b64decode(kept["content"]) if kept else None
        try:
            database = recovery.database_in(snapshot, skips_hash=asked["skips_hash"])
            keyspace = self.etcd.new_keyspace(machine.settings.cluster_name)
            server = self._server(machine, keyspace)
            await server.restore(database)
        except SnapshotRefused as error:
            machine.change(recovery={**asked, "problem": str(error)})
            return
        await self._drop_workload(key)
        self.workloads[key] = server
        address = machine.etcd_address or ""
        first = self.etcd.bootstrap(machine.identity, keyspace, machine.server_id, machine.hostname, address, now)
        machine.change(member=first.id, etcd_at=now + durations.ETCD_START, recovery=None)
        self.changed()

    def has_schematic(self, schematic: str) -> bool:
        """True when the image factory knows a schematic of that id."""
        return schematic in self._schematics

    async def halt(self, machine: Machine) -> None:
        """Take a machine down; it answers for a moment longer."""
        machine.sequence = "shutdown"
        machine.change(upgrade=None, halts_at=self.clock.now() + durations.SHUTDOWN)
        self._spawn(self._halt(machine))

    async def _restart(self, machine: Machine) -> None:
        await self.clock.sleep(ANSWER)
        if self._machines.get(machine.server_id) is machine and machine.record["on"]:
            await self._unplug(machine.server_id)
            machine.sequence = "boot"
            if machine.is_on:
                self._run(machine)
            self.changed()

    async def _halt(self, machine: Machine) -> None:
        await self.clock.sleep(float(machine.record["halts_at"]) - self.clock.now())
        if self._machines.get(machine.server_id) is machine and machine.record["on"]:
            await self.powered_off(machine.server_id)
            if self._halted is not None:
                await self._halted(machine.server_id)

    def _of_cluster(self, cluster_id: str) -> Sequence[Machine]:
        return [each for each in self._machines.values() if each.loaded and each.cluster_id == cluster_id]

    def _run(self, machine: Machine) -> None:
        face = Face(machine, self, self._writes, self._doors, self.workload)
        self._boots[machine.server_id] = Boot(machine, self, face)

    def _doors(self, machine: Machine, port: int) -> Doors:
        """Hetzner: its firewalls filter what comes to the public address only."""
        doors = {machine.public_ip: partial(self._admits, machine.server_id, port)}
        if self._serves_private:
            doors |= dict.fromkeys(machine.record["private_ips"], partial(self.lets_in, machine.server_id, port))
        return doors

    async def _unplug(self, server_id: int) -> None:
        sequence = self._sequences.pop(server_id, None)
        if sequence is not None:
            sequence.cancel()
            await asyncio.gather(sequence, return_exceptions=True)
        boot = self._boots.pop(server_id, None)
        if boot is not None:
            await boot.stop()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = in_own_context(work)
        self._going_down.add(task)
        task.add_done_callback(self._going_down.discard)

    async def workload(self, machine: Machine) -> KubeServer:
        """Return the API whose objects are in the machine's etcd."""
        key, name = machine.cluster_id, self.etcd.keyspace(machine.cluster_id)
        if key in self.workloads and self.workloads[key].name != name:
            await self._drop_workload(key)
        if key not in self.workloads:
            self.workloads[key] = self._server(machine, name)
        return self.workloads[key]

    def _server(self, machine: Machine, keyspace: str) -> KubeServer:
        config = machine.settings
        authority, its_key = config.kubernetes_ca, config.kubernetes_key
        return self._make_server(ClusterFacts(keyspace, authority, its_key, settings.service_network(config)))

    async def _drop_workload(self, cluster_id: str) -> None:
        api = self.workloads.pop(cluster_id, None)
        if api is not None:
            await api.stop()


class Face:
    """What one machine shows at its addresses."""

    def __init__(
        self,
        machine: Machine,
        machines: Machines,
        writes: Counter[str],
        doors: Callable[[Machine, int], Doors],
        workload: Callable[[Machine], Awaitable[KubeServer]],
    ) -> None:
        self._machine = machine
        self._doors = doors
        self._workload = workload
        self._births = machines.births
        self._apid = Apid(machine, machines, writes, doors(machine, PORT))
        self._kubernetes: tuple[web.AppRunner, list[Listener]] | None = None

    async def open_talos(self) -> None:
        """Serve the Talos API."""
        await self._apid.start()
        self._births.note(self._machine.server_id, REACHABLE)

    async def open_kubernetes(self) -> None:
        """Serve the cluster's API with a certificate of the cluster's own Kubernetes CA."""
        machine, config = self._machine, self._machine.settings
        hosts = settings.kubernetes_hosts(config, [*machine.addresses, machine.hostname])
        tls = settings.server_tls(config.kubernetes_ca, config.kubernetes_key, hosts, ssl.CERT_OPTIONAL)
        app = (await self._workload(machine)).app()
        runner = web.AppRunner(
            app, access_log=None, shutdown_timeout=0.1, handle_signals=False, handler_cancellation=True
        )
        await runner.setup()
        opened = list(listeners(self._doors(machine, KUBERNETES_PORT), KUBERNETES_PORT))
        for listener in opened:
            await web.SockSite(runner, listener, ssl_context=tls).start()
        self._kubernetes = (runner, opened)

    async def close_kubernetes(self) -> None:
        """Serve the cluster's API no more; whoever is connected is cut off."""
        if self._kubernetes is not None:
            (runner, opened), self._kubernetes = self._kubernetes, None
            await cut(opened)
            await runner.cleanup()

    async def close(self) -> None:
        """Serve nothing."""
        await self.close_kubernetes()
        await self._apid.stop()
