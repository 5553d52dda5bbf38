"""What the lab wants of one cluster's API server, whether it is the built-in one or a real one."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from aiohttp import web

from tallship.lab.bbolt import Buckets


@dataclass(frozen=True, repr=False)
class ClusterFacts:
    """What an API server is told of its cluster."""

    name: str
    """Unique among all clusters that the lab ever had."""
    authority: str
    """The certificate (PEM) of who signs its clients' certificates."""
    authority_key: str
    """Its private key, PEM."""
    services: str
    """The network of Service addresses, CIDR."""


class SnapshotRefused(Exception):
    """A snapshot could not be made or restored; the text is etcd's or the lab's reason."""


class KubeServer(Protocol):
    """One cluster's API server. The same objects may be served on several sockets."""

    @property
    def name(self) -> str:
        """The cluster's name."""

    def app(self) -> web.Application:
        """Return the server as an application, to be served with TLS that asks for client certificates."""

    async def serve(self, host: str, port: int, tls: ssl.SSLContext) -> None:
        """Serve on one more socket. Raises SetupError or ProgramError when the server cannot run."""

    async def stop(self) -> None:
        """End the server and close every socket that `serve` opened; its objects stay."""

    async def node_is_ready(self, name: str) -> bool:
        """True when the Node of that name says that it is Ready."""

    async def snapshot(self, own: Buckets) -> bytes:
        """Return the database that holds the objects; `own` is what etcd keeps in it about itself.

        A real server's etcd has that of its own. Raises SnapshotRefused.
        """

    async def restore(self, stored: bytes) -> None:
        """Put a database in the place of what there is, before the server first serves. Raises SnapshotRefused."""

    def write_log(self, namespace: str, pod: str, text: str) -> None:
        """Set what `kubectl logs` shows of a pod."""


MakeServer = Callable[[ClusterFacts], KubeServer]
