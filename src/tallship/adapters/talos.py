"""The nodes' Talos API: verbs in, frozen dataclasses out. Calls to several nodes go out side by side."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from google.protobuf.empty_pb2 import Empty
from grpclib.client import Channel
from grpclib.exceptions import StreamTerminatedError

from tallship import bounded
from tallship.adapters.calls import Calls
from tallship.adapters.shapes import Shape, fitted
from tallship.adapters.talos_channel import UNREADABLE, Access, Channels, failure, malformed, translated
from tallship.errors import ApiError, Unreachable
from tallship.talosproto import common_pb2, machine_pb2, state_pb2
from tallship.talosproto.machine_grpc import MachineServiceStub
from tallship.talosproto.state_grpc import StateStub

Found = TypeVar("Found", covariant=True)

MACHINE_STATUS = ("runtime", "MachineStatuses.runtime.talos.dev", "machine")
"""Namespace, type and id of the resource that tells a machine's stage (Talos v1.12)."""

MANIFESTS = ("controlplane", "Manifests.kubernetes.talos.dev")
"""Namespace and type of the resources that hold what Talos applies (Talos v1.12: pkg/machinery/resources/k8s)."""

PULL_SECONDS = 60.0
"""How long pulling one image may take."""


@dataclass(frozen=True)
class Version:
    """What runs on a node."""

    tag: str
    """Such as `v1.12.2`."""
    arch: str
    platform: str


@dataclass(frozen=True)
class Service:
    """One of Talos' own services."""

    id: str
    state: str
    """Initialized, Starting, Waiting, Preparing, Running, Stopping, Finished, Failed or Skipped."""
    health: bool | None
    """None where it was not checked yet, or never is."""
    message: str
    """What its last event said."""

    @property
    def is_healthy(self) -> bool:
        """True when it runs and its last health check succeeded."""
        return self.state == "Running" and self.health is True


@dataclass(frozen=True)
class Member:
    """One member of etcd, as the members' own list has it."""

    id: int
    hostname: str
    peer_urls: tuple[str, ...]
    is_learner: bool


@dataclass(frozen=True)
class EtcdStatus:
    """What one node's etcd says of itself."""

    member_id: int
    version: str
    leader: int
    """The leader's member id, 0 without a quorum."""
    is_learner: bool
    raft_term: int
    raft_index: int
    raft_applied_index: int
    db_bytes: int
    db_bytes_in_use: int
    errors: tuple[str, ...]


@dataclass(frozen=True)
class Alarm:
    """An alarm that a member of etcd has raised."""

    member_id: int
    kind: str
    """NOSPACE or CORRUPT."""


@dataclass(frozen=True)
class MachineStage:
    """How far a machine has come. Only `running` and ready together say that all is well."""

    stage: str
    """booting, installing, maintenance, running, rebooting, shuttingDown, resetting or upgrading."""
    is_ready: bool
    unmet: tuple[str, ...]
    """What it waits for, such as `nodeReady: node is not ready`."""


@dataclass(frozen=True)
class _Call(Generic[Found]):
    """One unary call: its name, which stub makes it, with what, and how the reply is read."""

    name: str
    stub: Callable[[Channel], Any]
    request: object
    read: Callable[[Any], Found]
    timeout: float | None = None
    """Seconds, where it is not that of all calls."""


class Talos:
    """The cluster's machines, reached through the first endpoint that answers; it passes calls on to the node.

    `talosconfig` is the text or the path of one; `endpoints` replace those it names. `timeout` is in seconds, for
    each call at each endpoint. Raises SetupError when the talosconfig is damaged. A call's error is an ApiError whose
    `code` is gRPC's name for it, or Unreachable.
    """

    def __init__(self, talosconfig: str | Path, endpoints: Sequence[str] = (), timeout: float = 10) -> None:
        if isinstance(talosconfig, Path):
            access = Access.of(talosconfig, endpoints)
        else:
            access = Access.parse(talosconfig, endpoints)
        self._endpoints, self._tls = access.endpoints, access.tls()
        self._timeout = timeout
        self.calls = Calls("Talos")
        """Calls made, by name; one for each node."""

    def version(self, nodes: Iterable[str]) -> dict[str, Version | ApiError]:
        """Return what runs on each node."""
        call = _Call("Version", MachineServiceStub, Empty(), _version)
        return self._ask_all(nodes, call)

    def services(self, nodes: Iterable[str]) -> dict[str, list[Service] | ApiError]:
        """Return each node's services."""
        call = _Call("ServiceList", MachineServiceStub, Empty(), _services)
        return self._ask_all(nodes, call)

    def etcd_status(self, nodes: Iterable[str]) -> dict[str, EtcdStatus | ApiError]:
        """Return what each node's own etcd says; it answers without a quorum too."""
        call = _Call("EtcdStatus", MachineServiceStub, Empty(), _etcd_status)
        return self._ask_all(nodes, call)

    def stage(self, nodes: Iterable[str]) -> dict[str, MachineStage | ApiError]:
        """Return how far each machine has come."""
        namespace, kind, name = MACHINE_STATUS
        request = state_pb2.GetRequest(namespace=namespace, type=kind, id=name)
        return self._ask_all(nodes, _Call("Get", StateStub, request, _stage))

    def images(self, nodes: Iterable[str]) -> dict[str, set[str] | ApiError]:
        """Return the names of the images that each node has for the kubelet's containers."""
        request = machine_pb2.ImageListRequest(namespace=common_pb2.NS_CRI)
        call = _Call("ImageList", MachineServiceStub, request, lambda replies: {each.name for each in replies})
        return self._ask_all(nodes, call)

    def pull_image(self, nodes: Iterable[str], reference: str) -> dict[str, ApiError | None]:
        """Pull an image for the kubelet's containers on each node; returns the error of those where that failed.

        A pull may take `PULL_SECONDS`.
        """
        request = machine_pb2.ImagePullRequest(namespace=common_pb2.NS_CRI, reference=reference)
        call = _Call("ImagePull", MachineServiceStub, request, lambda reply: None, PULL_SECONDS)
        return self._ask_all(nodes, call)

    def members(self, node: str) -> list[Member]:
        """Return etcd's members as the node sees them. Raises ApiError."""
        request = machine_pb2.EtcdMemberListRequest()
        return self._ask(node, _Call("EtcdMemberList", MachineServiceStub, request, _members))

    def alarms(self, node: str) -> list[Alarm]:
        """Return etcd's alarms as the node sees them. Raises ApiError."""
        return self._ask(node, _Call("EtcdAlarmList", MachineServiceStub, Empty(), _alarms))

    def manifests(self, node: str) -> list[dict[str, Any]]:
        """Return what Talos puts into its cluster, as a control plane has it now (COSI). Raises ApiError."""
        namespace, kind = MANIFESTS
        request, found = state_pb2.ListRequest(namespace=namespace, type=kind), list[dict[str, Any]]()

        def take(message: Any) -> None:
            spec = bounded.load(message.resource.spec.yaml_spec, bounded.MANIFESTS)
            found.extend(fitted(spec, _MANIFESTS).get("items", ()))

        try:
            self.follow(node, "List", StateStub, request, take, self._timeout)
        except UNREADABLE as error:
            raise malformed(node, "List", error) from error
        return found

    def follow(
        self, node: str, name: str, stub: type[Any], request: object, take: Callable[[Any], None], timeout: float
    ) -> None:
        """Hand over each message that a node streams in answer to a call, until it ends; `timeout` bounds the whole.

        Raises what `take` raises, ApiError, and Unreachable for a stream that broke off: then what was taken is not
        all. `name` is gRPC's name of the call, and `stub` is the class that makes it.
        """
        took: list[bool] = []

        async def send(channel: Channel) -> None:
            async with getattr(stub(channel), name).open(timeout=timeout, metadata=_metadata(node)) as stream:
                await stream.send_message(request, end=True)
                async for message in stream:
                    took.append(True)
                    take(message)

        async def send_once(channel: Channel) -> None:
            try:
                await send(channel)
            except (OSError, StreamTerminatedError, TimeoutError) as broken:
                if not took:
                    raise
                raise Unreachable(f"Talos on {node} broke off in the middle of {name}", code="UNAVAILABLE") from broken

        self._converse(node, name, send_once)

    def upload(self, node: str, name: str, stub: type[Any], messages: Iterable[object], timeout: float) -> Any:
        """Send messages to a node and return its one answer; `timeout` bounds the whole. Raises ApiError."""

        async def send(channel: Channel) -> Any:
            async with getattr(stub(channel), name).open(timeout=timeout, metadata=_metadata(node)) as stream:
                for message in messages:
                    await stream.send_message(message)
                await stream.end()
                return await stream.recv_message()

        return self._converse(node, name, send)

    def tell(self, node: str, name: str, stub: type[Any], request: object, timeout: float | None = None) -> Any:
        """Make one call to a node and return its answer. Raises ApiError."""
        return self._ask(node, _Call(name, stub, request, lambda reply: reply, timeout))

    def tell_once(self, node: str, name: str, stub: type[Any], request: object, timeout: float) -> Any:
        """Make one call that must not be repeated at another endpoint, and return its answer. Raises ApiError.

        After Unreachable nobody knows whether the node heard it.
        """

        async def send(channel: Channel) -> Any:
            return await getattr(stub(channel), name)(request, timeout=timeout, metadata=_metadata(node))

        reply = self._converse(node, name, send, is_repeated=False)
        if (error := failure(reply, node)) is not None:
            raise error
        return reply

    def _converse(
        self, node: str, name: str, send: Callable[[Channel], Awaitable[Found]], *, is_repeated: bool = True
    ) -> Found:
        async def converse() -> Found:
            async with Channels(self._endpoints, self._tls) as channels:
                return await (channels.first_answer(send) if is_repeated else channels.only_answer(send))

        self.calls.note(name)
        try:
            return asyncio.run(converse())
        except Exception as error:
            raise translated(error, node, is_repeated=is_repeated) from error

    def _ask(self, node: str, call: _Call[Found]) -> Found:
        found = self._ask_all([node], call)[node]
        if isinstance(found, ApiError):
            raise found
        return found

    def _ask_all(self, nodes: Iterable[str], call: _Call[Found]) -> dict[str, Found | ApiError]:
        asked = list(dict.fromkeys(nodes))
        for _ in asked:
            self.calls.note(call.name)
        return asyncio.run(self._gather(asked, call))

    async def _gather(self, nodes: list[str], call: _Call[Found]) -> dict[str, Found | ApiError]:
        async with Channels(self._endpoints, self._tls) as channels:
            answers = await asyncio.gather(*(self._answer(channels, node, call) for node in nodes))
        return dict(zip(nodes, answers, strict=True))

    async def _answer(self, channels: Channels, node: str, call: _Call[Found]) -> Found | ApiError:
        async def send(channel: Channel) -> Any:
            timeout = self._timeout if call.timeout is None else call.timeout
            sent = getattr(call.stub(channel), call.name)(call.request, timeout=timeout, metadata=_metadata(node))
            return await sent

        try:
            reply = await channels.first_answer(send)
        except ApiError as error:
            return error
        except Exception as error:
            return translated(error, node)
        try:
            return failure(reply, node) or call.read(reply)
        except UNREADABLE as error:
            return malformed(node, call.name, error)


def _metadata(node: str) -> dict[str, str]:
    """Return what tells apid whom to ask. Raises ApiError for a node of which no address is known."""
    if not node:
        hint = "its kubelet, or the cloud controller, has still to tell it: `tallship status` shows the nodes"
        raise ApiError("a node has no private address, under which Talos is asked", hint=hint, may_pass=True)
    return {"node": node, "client": "tallship"}


def _version(reply: machine_pb2.VersionResponse) -> Version:
    found = reply.messages[0]
    return Version(found.version.tag, found.version.arch, found.platform.name)


def _services(reply: machine_pb2.ServiceListResponse) -> list[Service]:
    return [_service(each) for each in reply.messages[0].services]


def _service(info: machine_pb2.ServiceInfo) -> Service:
    health = None if info.health.unknown or not info.HasField("health") else info.health.healthy
    last = info.events.events[-1].msg if info.events.events else ""
    return Service(info.id, info.state, health, info.health.last_message if health is False else last)


def _etcd_status(reply: machine_pb2.EtcdStatusResponse) -> EtcdStatus:
    found = reply.messages[0].member_status
    return EtcdStatus(
        found.member_id,
        found.protocol_version,
        found.leader,
        found.is_learner,
        found.raft_term,
        found.raft_index,
        found.raft_applied_index,
        found.db_size,
        found.db_size_in_use,
        tuple(found.errors),
    )


def _members(reply: machine_pb2.EtcdMemberListResponse) -> list[Member]:
    return [
        Member(each.id, each.hostname, tuple(each.peer_urls), each.is_learner) for each in reply.messages[0].members
    ]


def _alarms(reply: machine_pb2.EtcdAlarmListResponse) -> list[Alarm]:
    kinds = machine_pb2.EtcdMemberAlarm.AlarmType
    found = reply.messages[0].member_alarms if reply.messages else ()
    return [Alarm(each.member_id, kinds.Name(each.alarm)) for each in found]


def _stage(reply: state_pb2.GetResponse) -> MachineStage:
    spec = fitted(bounded.load(reply.resource.spec.yaml_spec), _STAGE)
    status = spec.get("status", {})
    unmet = tuple(f"{each['name']}: {each['reason']}" for each in status.get("unmetConditions", ()))
    return MachineStage(spec["stage"], status.get("ready", False), unmet)


_MANIFESTS: Shape = {
    "items": [{"apiVersion!": str, "kind!": str, "metadata!": {"name!": str, "namespace": str}}],
}
_STAGE: Shape = {"stage!": str, "status": {"ready": bool, "unmetConditions": [{"name!": str, "reason!": str}]}}
