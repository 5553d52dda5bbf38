"""What one machine answers to each call of its API, before apid puts it on the wire."""

from __future__ import annotations

import asyncio
import hashlib
import io
import tarfile
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Protocol

from google.protobuf.message import Message
from grpclib.const import Status
from grpclib.exceptions import GRPCError

from tallship.lab.clock import LabClock, timestamp
from tallship.lab.faults import Faults
from tallship.lab.kubeserver import KubeServer
from tallship.lab.pulls import pull_seconds
from tallship.lab.talos import durations
from tallship.lab.talos.config import secrets
from tallship.lab.talos.etcd import Etcd, Member
from tallship.lab.talos.machine import Machine
from tallship.lab.talos.services import Health, etcd_health, machine_status, service_list
from tallship.talosproto import common_pb2, machine_pb2, state_pb2

ETCD_DATA = "/var/lib/etcd"
MACHINE_STATUS = "MachineStatuses.runtime.talos.dev"
SNAPSHOT_BYTES = 512 * 1024
CHUNK = 64 * 1024


class Rack(Protocol):
    """What a call needs of the machines as a whole."""

    clock: LabClock
    etcd: Etcd
    faults: Faults
    workloads: dict[str, KubeServer]

    def holders(self, cluster_id: str) -> set[int]:
        """Return the machines (server ids) whose disk holds the data of one of the members, with power or without."""

    def find(self, machine: Machine, address: str) -> Machine | None:
        """Return the machine of the same cluster that has this address or name."""

    def os_key(self, machine: Machine) -> str:
        """Return the key that signs the machine's own certificate; empty while nobody has it."""

    def alive(self, cluster_id: str) -> set[int]:
        """Return the machines (server ids) whose etcd takes part."""

    def changed(self) -> None:
        """Make every machine look again at what it waits for."""

    async def restart(self, machine: Machine) -> None:
        """Take a machine down and boot it again."""

    async def halt(self, machine: Machine) -> None:
        """Take a machine down."""


async def version(rack: Rack, machine: Machine, request: Message) -> Message:
    """Return what runs."""
    found = machine_pb2.Version()
    found.version.tag = machine.talos_version
    found.version.os, found.version.arch = "linux", "amd64"
    found.platform.name, found.platform.mode = "hcloud", "cloud"
    found.features.rbac = True
    return found


async def hostname(rack: Rack, machine: Machine, request: Message) -> Message:
    """Return the host name."""
    return machine_pb2.Hostname(hostname=machine.hostname)


async def services(rack: Rack, machine: Machine, request: Message) -> Message:
    """Return the services and their health."""
    return machine_pb2.ServiceList(services=service_list(machine, rack.clock, health_of_etcd(rack, machine)))


def health_of_etcd(rack: Rack, machine: Machine) -> Health:
    """Return the health of a machine's etcd. The fault `etcd-member-unhealthy` (match: machine) makes it sick."""
    if not machine.is_control_plane:
        return Health(None)
    key = machine.cluster_id
    is_sick = machine.runs_etcd and rack.faults.take("etcd-member-unhealthy", machine=machine.hostname) is not None
    return etcd_health(machine, rack.clock.now(), rack.etcd.has_quorum(key, rack.alive(key)), is_sick)


async def bootstrap(rack: Rack, machine: Machine, request: Message) -> Message:
    """Make this machine the first member of its cluster's etcd."""
    if not machine.is_control_plane:
        raise GRPCError(Status.FAILED_PRECONDITION, "bootstrap can only be performed on a control plane node")
    if machine.has_etcd_data or rack.holders(machine.cluster_id):
        # with an etcd elsewhere this machine is about to join it: the lab keeps that from becoming two clusters
        raise GRPCError(Status.ALREADY_EXISTS, "etcd data directory is not empty")
    now, address = rack.clock.now(), machine.etcd_address
    if address is None:
        raise GRPCError(Status.FAILED_PRECONDITION, "bootstrap is not available yet")
    name = machine.settings.cluster_name
    first = rack.etcd.bootstrap(machine.identity, name, machine.server_id, machine.hostname, address, now)
    machine.change(member=first.id, etcd_at=now + durations.ETCD_START)
    rack.changed()
    return machine_pb2.Bootstrap()


async def pull_image(rack: Rack, machine: Machine, request: machine_pb2.ImagePullRequest) -> Message:
    """Pull an image. The fault `image-pull` (match: machine) makes the registry refuse it.

    Only images for kubelet's containers are remembered. Static Pods that wait for theirs meanwhile come later.
    """
    if rack.faults.take("image-pull", machine=machine.hostname) is not None:
        raise GRPCError(Status.NOT_FOUND, f"failed to resolve reference {request.reference!r}: not found")
    if request.reference in machine.images:
        return machine_pb2.ImagePull()
    began = machine.api_server_at
    if not machine.record["has_images"] and (began is None or rack.clock.now() < began):
        machine.change(api_server_takes=durations.API_SERVER_FIRST + durations.SHARED_PULL)
    await rack.clock.sleep(pull_seconds(request.reference))
    if request.namespace == common_pb2.NS_CRI:
        machine.change(images=[*machine.images, request.reference])
    return machine_pb2.ImagePull()


async def etcd_members(rack: Rack, machine: Machine, request: Message) -> Message:
    """Return the members; that needs a quorum."""
    _need_quorum(rack, machine)
    return machine_pb2.EtcdMembers(members=[_member(each) for each in rack.etcd.members(machine.cluster_id)])


async def etcd_status(rack: Rack, machine: Machine, request: Message) -> Message:
    """Return what the machine's own etcd says; it answers without a quorum."""
    member = _need_etcd(machine)
    key = machine.cluster_id
    leader = rack.etcd.leader(key, rack.alive(key))
    index = int(rack.clock.now()) + 1000
    found = machine_pb2.EtcdMemberStatus(
        member_id=member.id,
        protocol_version="3.6.7",
        storage_version="3.6.0",
        leader=leader.id if leader else 0,
        is_learner=member.is_learner,
        raft_term=rack.etcd.term(key),
        raft_index=index,
        raft_applied_index=index,
        db_size=4 * 2**20,
        db_size_in_use=3 * 2**20,
        errors=[] if leader else ["etcdserver: no leader"],
    )
    return machine_pb2.EtcdStatus(member_status=found)


async def etcd_alarms(rack: Rack, machine: Machine, request: Message) -> Message:
    """Return the alarms: none."""
    _need_quorum(rack, machine)
    return machine_pb2.EtcdAlarm()


async def etcd_forfeit(rack: Rack, machine: Machine, request: Message) -> Message:
    """Give the leadership to another member."""
    _need_quorum(rack, machine)
    key = machine.cluster_id
    if len(rack.etcd.members(key)) == 1:
        raise GRPCError(Status.UNKNOWN, "cannot forfeit leadership, only one member")
    leader = rack.etcd.forfeit(key, machine.server_id, rack.alive(key))
    return machine_pb2.EtcdForfeitLeadership(member=leader.hostname if leader else "")


async def etcd_leave(rack: Rack, machine: Machine, request: Message) -> Message:
    """Leave the cluster, stop etcd until the next boot, and delete its data."""
    _need_quorum(rack, machine)
    member = _need_etcd(machine)
    if len(rack.etcd.members(machine.cluster_id)) == 1:
        raise GRPCError(Status.UNKNOWN, "etcdserver: re-configuration failed due to not enough started members")
    rack.etcd.remove(machine.cluster_id, member.id)
    machine.change(member=0, has_left=True, etcd_at=None)
    rack.changed()
    return machine_pb2.EtcdLeaveCluster()


async def etcd_remove(rack: Rack, machine: Machine, request: machine_pb2.EtcdRemoveMemberByIDRequest) -> Message:
    """Remove any member by its id."""
    _need_quorum(rack, machine)
    if not rack.etcd.remove(machine.cluster_id, request.member_id):
        raise GRPCError(Status.NOT_FOUND, "etcdserver: member not found")
    rack.changed()
    return machine_pb2.EtcdRemoveMemberByID()


async def reboot(rack: Rack, machine: Machine, request: Message) -> Message:
    """Begin to reboot; the answer comes at once."""
    await rack.restart(machine)
    return machine_pb2.Reboot(actor_id=str(uuid.uuid4()))


async def shutdown(rack: Rack, machine: Machine, request: Message) -> Message:
    """Begin to shut down; the answer comes at once."""
    await rack.halt(machine)
    return machine_pb2.Shutdown(actor_id=str(uuid.uuid4()))


async def resource(rack: Rack, machine: Machine, request: state_pb2.GetRequest) -> Message:
    """Return one COSI resource: MachineStatus is the only one."""
    if request.type != MACHINE_STATUS or request.id != "machine":
        raise GRPCError(Status.NOT_FOUND, f"resource {request.type}({request.namespace}/{request.id}) doesn't exist")
    found = state_pb2.GetResponse()
    found.resource.metadata.namespace, found.resource.metadata.type = request.namespace, request.type
    found.resource.metadata.id, found.resource.metadata.phase = request.id, "running"
    api = rack.workloads.get(machine.cluster_id)
    is_ready = api is not None and await api.node_is_ready(machine.hostname)  # without a CNI it never is
    found.resource.spec.yaml_spec = machine_status(machine, health_of_etcd(rack, machine), is_ready)
    return found


async def files(rack: Rack, machine: Machine, request: machine_pb2.ListRequest) -> AsyncIterator[Message]:
    """Yield what is in a folder: etcd's data are the only files that the lab knows."""
    root = request.root.rstrip("/")
    if root not in (ETCD_DATA, f"{ETCD_DATA}/member") or not machine.is_control_plane or not machine.has_etcd_data:
        raise GRPCError(Status.UNKNOWN, f"lstat {root}: no such file or directory")
    below = ("member",) if root == ETCD_DATA else ("snap", "wal")
    yield machine_pb2.FileInfo(name=root, relative_name=".", is_dir=True, size=4096)
    for name in below:
        yield machine_pb2.FileInfo(name=f"{root}/{name}", relative_name=name, is_dir=True, size=4096)


async def image_list(rack: Rack, machine: Machine, request: machine_pb2.ImageListRequest) -> AsyncIterator[Message]:
    """Yield the images for kubelet's containers that were pulled by request; the lab knows no others."""
    if request.namespace == common_pb2.NS_CRI:
        for name in machine.images:
            yield machine_pb2.ImageListResponse(name=name)


async def events(rack: Rack, machine: Machine, request: machine_pb2.EventsRequest) -> AsyncIterator[Message]:
    """Yield an empty hello, with `tail_events` what has happened since the boot, and then what happens: nothing."""
    yield machine_pb2.Event()
    actions = machine_pb2.SequenceEvent.Action
    for action in (actions.START, actions.STOP) if request.tail_events else ():
        event = machine_pb2.Event(id=f"{machine.boots}-{action}")
        event.data.Pack(machine_pb2.SequenceEvent(sequence="boot", action=action), "talos/runtime")
        yield event
    await asyncio.Event().wait()  # until the client goes, or the machine


async def snapshot(rack: Rack, machine: Machine, request: Message) -> AsyncIterator[Message]:
    """Yield a snapshot of etcd: a database, and at its end the SHA-256 of it, as etcd writes it."""
    member = _need_etcd(machine)
    seed = f"etcd snapshot of {machine.cluster_id} by {member.id} at {timestamp(rack.clock)}".encode()
    database = seed.ljust(SNAPSHOT_BYTES, b"\0")
    whole = database + hashlib.sha256(database).digest()
    for start in range(0, len(whole), CHUNK):
        yield common_pb2.Data(bytes=whole[start : start + CHUNK])


async def kubeconfig(rack: Rack, machine: Machine, request: Message) -> AsyncIterator[Message]:
    """Yield an administrator's kubeconfig, in a tar.gz."""
    own = machine.settings
    if not machine.is_control_plane:
        raise GRPCError(Status.UNIMPLEMENTED, "kubeconfig is only available on control plane nodes")
    text = secrets.kubeconfig(own.kubernetes_ca, own.kubernetes_key, own.cluster_name, own.endpoint).encode()
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        entry = tarfile.TarInfo("kubeconfig")
        entry.size = len(text)
        archive.addfile(entry, io.BytesIO(text))
    yield common_pb2.Data(bytes=packed.getvalue())


async def kernel_log(rack: Rack, machine: Machine, request: Message) -> AsyncIterator[Message]:
    """Yield what the kernel log says of this boot."""
    lines = [f"[talos] booting {machine.talos_version} on hcloud, boot {machine.boots}", machine.refusal]
    for line in filter(None, lines):
        yield common_pb2.Data(bytes=f"{line}\n".encode())


async def service_log(rack: Rack, machine: Machine, request: machine_pb2.LogsRequest) -> AsyncIterator[Message]:
    """Yield what a service's events say."""
    for info in service_list(machine, rack.clock, health_of_etcd(rack, machine)):
        if info.id == request.id:
            for event in info.events.events:
                yield common_pb2.Data(bytes=f"{event.ts.ToJsonString()} {event.state}: {event.msg}\n".encode())
            return
    raise GRPCError(Status.UNKNOWN, f"log {request.id!r} was not registered")


Unary = Callable[[Rack, Machine, Any], Awaitable[Message]]
Stream = Callable[[Rack, Machine, Any], AsyncIterator[Message]]

UNARY: dict[str, Unary] = {
    "Version": version,
    "Hostname": hostname,
    "ServiceList": services,
    "Bootstrap": bootstrap,
    "EtcdMemberList": etcd_members,
    "EtcdStatus": etcd_status,
    "EtcdAlarmList": etcd_alarms,
    "EtcdForfeitLeadership": etcd_forfeit,
    "EtcdLeaveCluster": etcd_leave,
    "EtcdRemoveMemberByID": etcd_remove,
    "ImagePull": pull_image,
    "Reboot": reboot,
    "Shutdown": shutdown,
    "Get": resource,
}
STREAMS: dict[str, Stream] = {
    "List": files,
    "ImageList": image_list,
    "Events": events,
    "EtcdSnapshot": snapshot,
    "Kubeconfig": kubeconfig,
    "Dmesg": kernel_log,
    "Logs": service_log,
}
CHANGES = frozenset(
    (
        "Bootstrap",
        "EtcdForfeitLeadership",
        "EtcdLeaveCluster",
        "EtcdRemoveMemberByID",
        "ImagePull",
        "Reboot",
        "Shutdown",
    )
)
"""Calls that change something."""


def _need_etcd(machine: Machine) -> Member:
    """Return the machine's member. Raises when it has none that runs."""
    if not machine.is_control_plane:
        raise GRPCError(Status.UNIMPLEMENTED, "member list is only available on control plane nodes")
    member = machine.member
    if not machine.runs_etcd or member is None:
        raise GRPCError(Status.UNAVAILABLE, "error building etcd client: connect: connection refused")
    return member


def _need_quorum(rack: Rack, machine: Machine) -> None:
    """Raise when etcd cannot answer; any member of the cluster is asked, not the machine's own."""
    if not machine.is_control_plane:
        raise GRPCError(Status.UNIMPLEMENTED, "member list is only available on control plane nodes")
    key = machine.cluster_id
    if machine.refusal or not rack.etcd.exists(key) or not rack.alive(key):
        raise GRPCError(Status.UNAVAILABLE, "error building etcd client: no endpoints available")
    if not rack.etcd.has_quorum(key, rack.alive(key)):
        raise GRPCError(Status.UNAVAILABLE, "etcdserver: request timed out")


def _member(member: Member) -> machine_pb2.EtcdMember:
    return machine_pb2.EtcdMember(
        id=member.id,
        hostname=member.hostname,
        peer_urls=[f"https://{member.address}:2380"],
        client_urls=[] if member.is_learner else [f"https://{member.address}:2379"],
        is_learner=member.is_learner,
    )
