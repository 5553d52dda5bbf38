"""The Talos client inside CACPPT: mutual TLS from the talosconfig Secret, straight to the machines' addresses."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ipaddress
import ssl
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar

import yaml
from google.protobuf.empty_pb2 import Empty
from grpclib.client import Channel
from grpclib.const import Status
from grpclib.exceptions import GRPCError, StreamTerminatedError

from tallship.lab.clock import LabClock
from tallship.lab.kubeclient import Object
from tallship.lab.world import load_pair
from tallship.talosproto import machine_grpc, machine_pb2

PORT = 50000
BUDGET = 20.0
"""Seconds for one call. CACPPT gives all calls of a check 5 s; in the lab real work counts `speed` times as much."""

EVENTS = 5.0
"""Seconds that CACPPT listens to a machine's events: it never stops earlier."""

_KINDS = ("ExternalIP", "InternalIP")
_Answer = TypeVar("_Answer")


class TalosFailed(Exception):
    """A call failed; the text is that of Go's gRPC."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"rpc error: code = {code} desc = {message}" if code else message)
        self.code = code


class TalosClient:
    """The machines that some addresses lead to."""

    def __init__(self, connections: Connections, config: str, addresses: list[str]) -> None:
        self._connections = connections
        self._config = config
        self._addresses = [each for each in addresses if _can_be_dialled(each)]

    async def services(self) -> list[Any]:
        """Return the machine's services."""
        answer = await self._call(lambda stub: stub.ServiceList(Empty(), **_NO_NODES))
        return [service for message in answer.messages for service in message.services]

    async def members(self) -> list[Any]:
        """Return the members of etcd, as this machine knows them."""
        request = machine_pb2.EtcdMemberListRequest()
        answer = await self._call(lambda stub: stub.EtcdMemberList(request, **_NO_NODES))
        return [member for message in answer.messages for member in message.members]

    async def remove_member(self, member_id: int) -> None:
        """Take a member out of etcd."""
        request = machine_pb2.EtcdRemoveMemberByIDRequest(member_id=member_id)
        await self._call(lambda stub: stub.EtcdRemoveMemberByID(request, **_NO_NODES))

    async def leave(self) -> None:
        """Make the machine hand over etcd's leadership and leave."""
        forfeit, leave = machine_pb2.EtcdForfeitLeadershipRequest(), machine_pb2.EtcdLeaveClusterRequest()
        await self._call(lambda stub: stub.EtcdForfeitLeadership(forfeit, **_NO_NODES))
        await self._call(lambda stub: stub.EtcdLeaveCluster(leave, **_NO_NODES))

    async def has_etcd_data(self, nodes: list[str]) -> bool:
        """True when the data directory of etcd exists on any of these nodes."""
        request = machine_pb2.ListRequest(root="/var/lib/etcd/member")
        answers = await self._call(lambda stub: stub.List(request, **_to(nodes)))
        return any(not each.metadata.error and not each.error for each in answers)

    async def bootstrap(self, node: str) -> None:
        """Begin etcd on this node; one that has begun already is fine."""
        try:
            await self._call(lambda stub: stub.Bootstrap(machine_pb2.BootstrapRequest(), **_to([node])))
        except TalosFailed as failure:
            if failure.code != "AlreadyExists":
                raise

    async def listen(self) -> None:
        """Listen to the machine's events for as long as CACPPT does."""

        async def stream(stub: Any) -> None:
            async with stub.Events.open() as events:
                await events.send_message(machine_pb2.EventsRequest(tail_events=-1), end=True)
                while await events.recv_message() is not None:
                    pass

        listening = asyncio.create_task(self._call(stream))
        try:
            await self._connections.clock.sleep(EVENTS)
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)

    async def _call(self, call: Callable[[Any], Awaitable[_Answer]]) -> _Answer:
        """Return what the first address that can be reached answers."""
        failure = TalosFailed("Unavailable", "no address of the machine can be dialled")
        for address in self._addresses:
            try:
                return await self._connections.call(self._config, address, call)
            except TalosFailed as met:
                failure = met
                if met.code != "Unavailable":
                    raise
        raise failure


class Connections:
    """One connection to each address, kept for the next call."""

    def __init__(self, clock: LabClock, source: str = "") -> None:
        self.clock = clock
        self._source = source
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._channels: dict[tuple[str, str], Channel] = {}

    async def call(self, config: str, address: str, call: Callable[[Any], Awaitable[_Answer]]) -> _Answer:
        """Return what one address answers; raises TalosFailed."""
        stub = machine_grpc.MachineServiceStub(self._channel(config, address))
        try:
            return await self._within_budget(call(stub))
        except GRPCError as error:
            raise TalosFailed(_code(error.status), error.message or "") from error
        except (OSError, StreamTerminatedError, ssl.SSLError) as error:
            dialling = f"transport: Error while dialing: dial tcp {address}:{PORT}: {_reason(error)}"
            raise TalosFailed("Unavailable", f'connection error: desc = "{dialling}"') from error

    async def close(self) -> None:
        """Close all connections."""
        for channel in self._channels.values():
            channel.close()
        self._channels.clear()

    def _channel(self, config: str, address: str) -> Channel:
        if (config, address) not in self._channels:
            if config not in self._contexts:
                self._contexts[config] = tls(config)
            self._channels[config, address] = _ChannelFrom(self._source, address, self._contexts[config])
        return self._channels[config, address]

    async def _within_budget(self, call: Awaitable[_Answer]) -> _Answer:
        calling = asyncio.ensure_future(call)
        waiting = asyncio.create_task(self.clock.sleep(BUDGET))
        try:
            await asyncio.wait({calling, waiting}, return_when=asyncio.FIRST_COMPLETED)
            if not calling.done():
                raise TalosFailed("DeadlineExceeded", "context deadline exceeded")
            return calling.result()
        finally:
            for task in (calling, waiting):
                task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await waiting


class _ChannelFrom(Channel):
    """A channel whose connections come from one address of this machine: firewalls look at it."""

    def __init__(self, source: str, address: str, context: ssl.SSLContext) -> None:
        super().__init__(address, PORT, ssl=context)
        self._source = source

    async def _create_connection(self) -> Any:
        local = (self._source, 0) if self._source else None
        _, protocol = await asyncio.get_running_loop().create_connection(
            self._protocol_factory, self._host, self._port, ssl=self._ssl, local_addr=local
        )
        return protocol


def tls(config: str) -> ssl.SSLContext:
    """Return the TLS context of a talosconfig's current context."""
    loaded = yaml.safe_load(config)
    chosen = loaded["contexts"][loaded["context"]]
    authority, certificate, key = (base64.b64decode(chosen[each]).decode() for each in ("ca", "crt", "key"))
    context = ssl.create_default_context(cadata=authority)
    context.set_alpn_protocols(["h2"])
    load_pair(context, certificate, key.replace("ED25519 PRIVATE KEY", "PRIVATE KEY"))  # the body is PKCS#8
    return context


def addresses(machines: Iterable[Object]) -> list[str]:
    """Return all addresses of the machines; raises TalosFailed where the first machine has none.

    CACPPT v0.5.12 looks at the sum after each machine, so that only the first without addresses is noticed.
    """
    found: list[str] = []
    for machine in machines:
        found += [each["address"] for each in machine.get("status", {}).get("addresses", []) if each["type"] in _KINDS]
        if not found:
            raise TalosFailed("", f'no addresses were found for node "{machine["metadata"]["name"]}"')
    return found


def _can_be_dialled(address: str) -> bool:
    """True for addresses of the lab: a private one exists as data only, and must never be tried for real."""
    return ipaddress.ip_address(address).is_loopback


_NO_NODES: dict[str, Any] = {"metadata": [("client", "cacppt")]}


def _to(nodes: list[str]) -> dict[str, Any]:
    return {"metadata": [("client", "cacppt"), *(("nodes", node) for node in nodes)]}


def _code(status: Status) -> str:
    return "".join(part.capitalize() for part in status.name.split("_"))


def _reason(error: Exception) -> str:
    return "connect: connection refused" if isinstance(error, ConnectionRefusedError) else str(error)
