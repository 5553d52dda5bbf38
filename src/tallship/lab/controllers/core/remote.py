"""Cluster API's connections to the clusters that it makes.

Cluster API v1.10: its cluster cache tries every 30 s until a cluster answers, probes it every 10 s from then on, and
lets go of it after five probes in a row that failed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from tallship.lab.clock import LabClock, timestamp
from tallship.lab.controllers.informer import Informer
from tallship.lab.controllers.reconciler import Key
from tallship.lab.controllers.workload import WorkloadClients
from tallship.lab.kubeclient import KubeClient, Object

RETRY = 30.0
PROBE = 10.0
FAILURES_BEFORE_DISCONNECT = 5


@dataclass
class Remote:
    """What is known of one cluster."""

    client: KubeClient | None = None
    nodes: Informer | None = None
    last_success: str = ""

    @property
    def connected(self) -> bool:
        """True while probes succeed."""
        return self.client is not None

    def list_nodes(self) -> list[Object]:
        """Return the cluster's Nodes."""
        return [] if self.nodes is None else list(self.nodes.items.values())


class Remotes:
    """One connection for each cluster; tells when it comes up, goes down, or a Node changes."""

    def __init__(self, clients: WorkloadClients, clock: LabClock) -> None:
        self._clients = clients
        self._clock = clock
        self._known: dict[Key, Remote] = {}
        self._tasks: dict[Key, asyncio.Task[None]] = {}
        self._group: asyncio.TaskGroup | None = None
        self._listeners: list[Callable[[Key], None]] = []

    def on_change(self, listener: Callable[[Key], None]) -> None:
        """Tell this listener of every cluster that changed."""
        self._listeners.append(listener)

    async def run(self) -> None:
        """Keep the connections until cancelled."""
        try:
            async with asyncio.TaskGroup() as self._group:
                await asyncio.get_running_loop().create_future()
        finally:
            await self._clients.close()

    def of(self, cluster: Key) -> Remote:
        """Return what is known of a cluster."""
        return self._known.setdefault(cluster, Remote())

    def begin(self, cluster: Key) -> None:
        """Try to reach this cluster from now on."""
        if self._group is not None and cluster not in self._tasks:
            self._tasks[cluster] = self._group.create_task(self._follow(cluster))

    def end(self, cluster: Key) -> None:
        """Let go of a cluster that is gone."""
        self._known.pop(cluster, None)
        if cluster in self._tasks:
            self._tasks.pop(cluster).cancel()

    async def _follow(self, cluster: Key) -> None:
        while True:
            client = self._clients.find(*cluster)
            if client is not None and await client.ready():
                await self._stay(cluster, client)
            await self._clock.sleep(RETRY)

    async def _stay(self, cluster: Key, client: KubeClient) -> None:
        remote, nodes = self.of(cluster), Informer(client, "Node", self._clock)
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(nodes.run())
            await nodes.synced.wait()
            nodes.on_change(lambda _old, _new: self._tell(cluster))
            remote.client, remote.nodes = client, nodes
            self._tell(cluster)
            await self._probe(remote, client)
            watching.cancel()
        remote.client = remote.nodes = None
        self._tell(cluster)

    async def _probe(self, remote: Remote, client: KubeClient) -> None:
        failures = 0
        while failures < FAILURES_BEFORE_DISCONNECT:
            if await client.ready():
                failures, remote.last_success = 0, timestamp(self._clock)
            else:
                failures += 1
            await self._clock.sleep(PROBE)

    def _tell(self, cluster: Key) -> None:
        for listener in self._listeners:
            listener(cluster)
