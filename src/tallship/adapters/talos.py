"""The nodes' Talos API: verbs in, frozen dataclasses out. Calls to several nodes go out side by side."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import yaml
from google.protobuf.empty_pb2 import Empty
from grpclib.client import Channel

from tallship.adapters.calls import Calls
from tallship.adapters.talos_channel import Access, Channels, failure, translated
from tallship.errors import ApiError
from tallship.talosproto import common_pb2, machine_pb2, state_pb2
from tallship.talosproto.machine_grpc import MachineServiceStub
from tallship.talosproto.state_grpc import StateStub

Found = TypeVar("Found", covariant=True)

MACHINE_STATUS = ("runtime", "MachineStatuses.runtime.talos.dev", "machine")
"""Namespace, type and id of the resource that tells a machine's stage (Talos v1.12)."""

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
        text = talosconfig.read_text(encoding="utf-8") if isinstance(talosconfig, Path) else talosconfig
        access = Access.parse(text, endpoints)
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

    def _ask(self, node: str, call: _Call[Found]) -> Found:
        found = self._ask_all([node], call)[node]
        if isinstance(found, ApiError):
            raise found
        return found

    def _ask_all(self, nodes: Iterable[str], call: _Call[Found]) -> dict[str, Found | ApiError]:
        return asyncio.run(self._gather(list(dict.fromkeys(nodes)), call))

    async def _gather(self, nodes: list[str], call: _Call[Found]) -> dict[str, Found | ApiError]:
        async with Channels(self._endpoints, self._tls) as channels:
            answers = await asyncio.gather(*(self._answer(channels, node, call) for node in nodes))
        return dict(zip(nodes, answers, strict=True))

    async def _answer(self, channels: Channels, node: str, call: _Call[Found]) -> Found | ApiError:
        async def send(channel: Channel) -> Any:
            metadata = {"node": node, "client": "tallship"}
            timeout = self._timeout if call.timeout is None else call.timeout
            return await getattr(call.stub(channel), call.name)(call.request, timeout=timeout, metadata=metadata)

        self.calls.note(call.name)
        try:
            reply = await channels.first_answer(send)
        except Exception as error:
            return translated(error, node)
        return failure(reply, node) or call.read(reply)


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
    spec = yaml.safe_load(reply.resource.spec.yaml_spec)
    status = spec.get("status") or {}
    unmet = tuple(f"{each['name']}: {each['reason']}" for each in status.get("unmetConditions") or [])
    return MachineStage(spec["stage"], bool(status.get("ready")), unmet)
