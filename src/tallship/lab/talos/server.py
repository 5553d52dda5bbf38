"""apid: the Talos API of one machine on the wire, over mutual TLS, which also passes calls on to other machines."""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter
from collections.abc import AsyncIterator
from functools import partial
from typing import Any, Final, Protocol

from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpclib.const import Cardinality, Handler, Status
from grpclib.exceptions import GRPCError
from grpclib.server import Server, Stream

from tallship.lab.clock import held_for_client
from tallship.lab.talos import calls, etcd_calls, resets, roles, settings, upgrades
from tallship.lab.talos.listener import Doors, Listener, cut, listeners
from tallship.lab.talos.machine import Machine
from tallship.talosproto import image_pb2, lifecycle_pb2, machine_pb2, state_pb2

PORT = 50000
SLOW_SECONDS = 30.0
"""How long the fault `slow` holds a call when it does not say so itself."""

REFUSALS: Final[dict[str, tuple[Status, str]]] = {
    "unauthorized": (Status.PERMISSION_DENIED, "not authorized"),
    "server-error": (Status.UNKNOWN, "internal error"),
}
"""Faults that refuse a call: the fault's name, gRPC's status and apid's words."""

_BY_STATUS: Final = {503: Status.UNAVAILABLE, 504: Status.DEADLINE_EXCEEDED}
"""gRPC's words for errors that are not a plain 500."""

_MACHINE = machine_pb2.DESCRIPTOR.services_by_name["MachineService"]
_SERVICES = (
    _MACHINE,
    state_pb2.DESCRIPTOR.services_by_name["State"],
    image_pb2.DESCRIPTOR.services_by_name["ImageService"],
    lifecycle_pb2.DESCRIPTOR.services_by_name["LifecycleService"],
)
_UNARY = {**calls.UNARY, **etcd_calls.UNARY, **resets.UNARY, **upgrades.UNARY}
_STREAMS = {**calls.STREAMS, **etcd_calls.STREAMS, **upgrades.STREAMS}
_CHANGES = calls.CHANGES | etcd_calls.CHANGES | resets.CHANGES | upgrades.CHANGES


class Peers(calls.Rack, Protocol):
    """The machines that calls are passed on to."""

    def find(self, machine: Machine, address: str) -> Machine | None:
        """Return the machine that this one reaches under an address or a name."""

    def os_key(self, machine: Machine) -> str:
        """Return the key (PEM) that a control plane signs a worker's certificate with; empty when none would."""


class Apid:
    """Serves one machine's API while it runs. `doors` tells at which addresses, and which sources they let in."""

    def __init__(self, machine: Machine, rack: Peers, writes: Counter[str], doors: Doors) -> None:
        self._machine = machine
        self._rack = rack
        self._writes = writes
        self._doors = doors
        self._open: list[tuple[Server, Listener]] = []

    async def start(self) -> None:
        """Listen. Raises OSError when the address is in use."""
        machine, config = self._machine, self._machine.settings
        hosts = settings.talos_hosts(config, [*machine.addresses, machine.hostname])
        key = config.os_key or self._rack.os_key(machine)
        tls = settings.server_tls(config.os_ca, key, hosts, ssl.CERT_REQUIRED)
        tls.set_alpn_protocols(["h2"])
        for listener in listeners(self._doors, PORT):
            server = Server([self])
            await server.start(sock=listener, ssl=tls)
            self._open.append((server, listener))

    async def stop(self) -> None:
        """Stop listening; whoever is connected loses the connection."""
        closing, self._open = self._open, []
        await cut(listener for _, listener in closing)
        for server, listener in closing:
            server.close()
            listener.close()
        await asyncio.gather(*(server.wait_closed() for server, _ in closing))

    def __mapping__(self) -> dict[str, Handler]:
        """Return every call that Talos has, by path, as grpclib wants it."""
        methods = [method for service in _SERVICES for method in service.methods]
        return {f"/{each.containing_service.full_name}/{each.name}": self._handler(each) for each in methods}

    def _handler(self, method: MethodDescriptor) -> Handler:
        kinds = {
            (False, False): Cardinality.UNARY_UNARY,
            (False, True): Cardinality.UNARY_STREAM,
            (True, False): Cardinality.STREAM_UNARY,
        }
        kind = kinds[method.client_streaming, method.server_streaming]
        request, reply = GetMessageClass(method.input_type), GetMessageClass(method.output_type)
        return Handler(partial(self._answer, method), kind, request, reply)

    async def _answer(self, method: MethodDescriptor, stream: Stream[Any, Any]) -> None:
        client, node, nodes = (_told(stream, key) for key in ("client", "node", "nodes"))
        is_tallship = client == ["tallship"]
        held_for_client.set(is_tallship)  # for this call only: each has a task of its own
        facts = {"api": "talos", "rpc": method.name, "machine": self._machine.hostname, "agent": "".join(client)}
        if await self._goes_wrong(facts, stream):
            return
        asking = roles_of(stream)
        if method.client_streaming and not roles.may_call(method.name, asking):
            raise GRPCError(Status.PERMISSION_DENIED, "not authorized")  # before anything is sent for nothing
        call = Call(method, await _request(method, stream), asking)
        if nodes:
            await self._answer_for_many(call, nodes, stream)
        else:
            await self._answer_for_one(call, self._find(node[0]) if node else self._machine, stream, facts)
        if call.has_changed:
            self._writes["talos" if is_tallship else "controllers"] += 1

    async def _answer_for_one(
        self, call: Call, target: Machine, stream: Stream[Any, Any], facts: dict[str, str]
    ) -> None:
        """Answer as the target does: its error is the call's."""
        if call.method.server_streaming:
            async for message in call.stream(self._rack, target):
                await stream.send_message(message)
            return
        message = await call.perform(self._rack, target)
        if self._rack.faults.take("lost-answer", **facts) is not None:
            await stream.cancel()
            return
        if self._rack.faults.take("malformed", **facts) is not None:
            message = call.reply()
        await stream.send_message(message if isinstance(message, call.reply) else call.reply(messages=[message]))

    async def _answer_for_many(self, call: Call, nodes: list[str], stream: Stream[Any, Any]) -> None:
        """Answer with a message from each node, named in its metadata; a node's error is in there too."""
        if call.method.containing_service is not _MACHINE or call.method.client_streaming:
            path = f"/{call.method.containing_service.full_name}/{call.method.name}"
            raise GRPCError(Status.INVALID_ARGUMENT, f"one-2-many proxying is not supported for method {path}")
        if call.method.server_streaming:
            sending = asyncio.Lock()
            async with asyncio.TaskGroup() as group:
                for node in nodes:
                    group.create_task(self._pass_on(call, node, stream, sending))
            return
        reply = call.reply()
        found = await asyncio.gather(*(self._one_of_many(call, node) for node in nodes))
        reply.messages.extend(found)  # type: ignore[attr-defined]
        await stream.send_message(reply)

    async def _one_of_many(self, call: Call, node: str) -> Message:
        try:
            return _named(await call.perform(self._rack, self._find(node)), node)
        except GRPCError as error:
            return _failed(call.message, node, error)

    async def _pass_on(self, call: Call, node: str, stream: Stream[Any, Any], sending: asyncio.Lock) -> None:
        try:
            async for message in call.stream(self._rack, self._find(node)):
                async with sending:
                    await stream.send_message(_named(message, node))
        except GRPCError as error:
            async with sending:
                await stream.send_message(_failed(call.message, node, error))

    def _find(self, node: str) -> Machine:
        """Return the machine that answers under this address or name. Talos: workers pass nothing on."""
        found = self._rack.find(self._machine, node)
        if not self._machine.is_control_plane and found is not self._machine:
            raise GRPCError(Status.PERMISSION_DENIED, "no request forwarding")
        if found is None or not found.serves_talos:
            cause = f"transport: Error while dialing: dial tcp {node}:{PORT}: connect: connection refused"
            raise GRPCError(Status.UNAVAILABLE, f'connection error: desc = "{cause}"')
        return found

    async def _goes_wrong(self, facts: dict[str, str], stream: Stream[Any, Any]) -> bool:
        """Let the faults happen that are set for this call; true when there will be no answer."""
        if (slow := self._rack.faults.take("slow", **facts)) is not None:
            await self._rack.clock.sleep(float(slow.values.get("seconds", SLOW_SECONDS)))
        if self._rack.faults.take("reset", **facts) is not None:
            await stream.cancel()
            return True
        for name, (status, text) in REFUSALS.items():
            if (fault := self._rack.faults.take(name, **facts)) is not None:
                told = _BY_STATUS.get(int(fault.values.get("status", 0)), status)
                raise GRPCError(told, str(fault.values.get("message", text)))
        return False


class Call:
    """One call, whoever answers it."""

    def __init__(self, method: MethodDescriptor, request: Message | list[Message] | None, asking: set[str]) -> None:
        self.method = method
        self.reply: type[Message] = GetMessageClass(method.output_type)
        parts = method.output_type.fields_by_name.get("messages")
        self.message = GetMessageClass(parts.message_type) if parts and parts.message_type else self.reply
        """What one machine answers: an entry of the reply's `messages`, or of the stream."""
        self.has_changed = False
        """True once a machine has changed something for it."""
        self._request = request
        self._roles = asking

    async def perform(self, rack: calls.Rack, target: Machine) -> Message:
        """Return what a machine answers."""
        self._check(_UNARY)
        answer = await _UNARY[_name(self.method)](rack, target, self._request)
        self.has_changed |= self.method.name in _CHANGES
        return answer

    async def stream(self, rack: calls.Rack, target: Machine) -> AsyncIterator[Message]:
        """Yield what a machine answers, message by message."""
        self._check(_STREAMS)
        async for message in _STREAMS[_name(self.method)](rack, target, self._request):
            yield message
        self.has_changed |= self.method.name in _CHANGES

    def _check(self, known: dict[str, Any]) -> None:
        """Raise for a call that the roles do not allow, or that the lab does not have."""
        name = _name(self.method)
        if not roles.may_call(name, self._roles):
            raise GRPCError(Status.PERMISSION_DENIED, "not authorized")
        if name not in known:
            raise GRPCError(Status.UNIMPLEMENTED, f"the lab has no {self.method.full_name}")


def _name(method: MethodDescriptor) -> str:
    """Return the name of a call; two services have a List."""
    of_state = method.containing_service.full_name == state_pb2.DESCRIPTOR.services_by_name["State"].full_name
    return "ListResources" if of_state and method.name == "List" else str(method.name)


async def _request(method: MethodDescriptor, stream: Stream[Any, Any]) -> Message | list[Message] | None:
    """Return what the client sends; all of it where it sends a stream."""
    if method.client_streaming:
        return [message async for message in stream]
    message: Message | None = await stream.recv_message()
    return message


def roles_of(stream: Stream[Any, Any]) -> set[str]:
    """Return the roles of the client: the organizations in its certificate."""
    certificate = stream.peer.cert() or {}
    return {value for part in certificate.get("subject", ()) for key, value in part if key == "organizationName"}


def _told(stream: Stream[Any, Any], key: str) -> list[str]:
    """Return the values of a key in the call's metadata."""
    return [str(each) for each in stream.metadata.getall(key, [])] if stream.metadata else []


def _named(message: Any, node: str) -> Message:
    message.metadata.hostname = node
    named: Message = message
    return named


def _failed(kind: type[Message], node: str, error: GRPCError) -> Message:
    """Return a message that holds nothing but a node's error, the way Go prints it."""
    status, told = Status(error.status), str(error.message or "")
    message: Any = kind()
    message.metadata.hostname = node
    message.metadata.error = f"rpc error: code = {_go_name(status)} desc = {told}"
    message.metadata.status.code, message.metadata.status.message = status.value, told
    failed: Message = message
    return failed


def _go_name(status: Status) -> str:
    return "".join(word.capitalize() for word in status.name.split("_"))
