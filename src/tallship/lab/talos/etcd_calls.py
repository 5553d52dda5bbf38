"""What one machine answers to the calls that ask or change etcd."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

from google.protobuf.message import Message
from grpclib.const import Status
from grpclib.exceptions import GRPCError

from tallship.lab.bbolt import Buckets
from tallship.lab.kubeserver import SnapshotRefused
from tallship.lab.talos import durations, recovery
from tallship.lab.talos.calls import Rack, Stream, Unary
from tallship.lab.talos.etcd import Member
from tallship.lab.talos.machine import Machine
from tallship.talosproto import common_pb2, machine_pb2

ETCD_DATA = "/var/lib/etcd"
VERSION, STORAGE = "3.6.7", "3.6.0"
"""What Talos v1.12 runs, and how etcd calls the layout of its data."""
CHUNK = 64 * 1024


async def bootstrap(rack: Rack, machine: Machine, request: machine_pb2.BootstrapRequest) -> Message:
    """Make this machine the first member of its cluster's etcd, which is empty or has an uploaded snapshot's objects.

    Talos v1.12: the answer comes before a snapshot was looked at.
    """
    if not machine.is_control_plane:
        raise GRPCError(Status.FAILED_PRECONDITION, "bootstrap can only be performed on a control plane node")
    recovers = request.recover_etcd
    if machine.has_etcd_data or (not recovers and rack.holders(machine.cluster_id)):
        # with an etcd elsewhere this machine is about to join it: the lab keeps that from becoming two clusters
        raise GRPCError(Status.ALREADY_EXISTS, "etcd data directory is not empty")
    now, address = rack.clock.now(), machine.etcd_address
    if address is None:
        raise GRPCError(Status.FAILED_PRECONDITION, "bootstrap is not available yet")
    if recovers:
        asked = {"at": now + durations.ETCD_RESTORE, "skips_hash": request.recover_skip_hash_check, "problem": ""}
        machine.change(recovery=asked, etcd_at=None)
        rack.changed()
        return machine_pb2.Bootstrap()
    keyspace = rack.etcd.new_keyspace(machine.settings.cluster_name)
    first = rack.etcd.bootstrap(machine.identity, keyspace, machine.server_id, machine.hostname, address, now)
    machine.change(member=first.id, etcd_at=now + durations.ETCD_START)
    rack.changed()
    return machine_pb2.Bootstrap()


async def members(rack: Rack, machine: Machine, request: Message) -> Message:
    """Return the members; that needs a quorum."""
    _need_quorum(rack, machine)
    return machine_pb2.EtcdMembers(members=[_member(each) for each in rack.etcd.members(machine.cluster_id)])


async def status(rack: Rack, machine: Machine, request: Message) -> Message:
    """Return what the machine's own etcd says; it answers without a quorum."""
    member = _need_etcd(machine)
    key = machine.cluster_id
    leader = rack.etcd.leader(key, rack.alive(key))
    index = _index(rack)
    found = machine_pb2.EtcdMemberStatus(
        member_id=member.id,
        protocol_version=VERSION,
        storage_version=STORAGE,
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


async def alarms(rack: Rack, machine: Machine, request: Message) -> Message:
    """Return the alarms: none."""
    _need_quorum(rack, machine)
    return machine_pb2.EtcdAlarm()


async def forfeit(rack: Rack, machine: Machine, request: Message) -> Message:
    """Give the leadership to another member."""
    _need_quorum(rack, machine)
    key = machine.cluster_id
    if len(rack.etcd.members(key)) == 1:
        raise GRPCError(Status.UNKNOWN, "cannot forfeit leadership, only one member")
    leader = rack.etcd.forfeit(key, machine.server_id, rack.alive(key))
    return machine_pb2.EtcdForfeitLeadership(member=leader.hostname if leader else "")


async def leave(rack: Rack, machine: Machine, request: Message) -> Message:
    """Leave the cluster, stop etcd until the next boot, and delete its data."""
    _need_quorum(rack, machine)
    member = _need_etcd(machine)
    if len(rack.etcd.members(machine.cluster_id)) == 1:
        raise GRPCError(Status.UNKNOWN, "etcdserver: re-configuration failed due to not enough started members")
    rack.etcd.remove(machine.cluster_id, member.id)
    machine.change(member=0, has_left=True, etcd_at=None)
    rack.changed()
    return machine_pb2.EtcdLeaveCluster()


async def remove(rack: Rack, machine: Machine, request: machine_pb2.EtcdRemoveMemberByIDRequest) -> Message:
    """Remove any member by its id."""
    _need_quorum(rack, machine)
    if not rack.etcd.remove(machine.cluster_id, request.member_id):
        raise GRPCError(Status.NOT_FOUND, "etcdserver: member not found")
    rack.changed()
    return machine_pb2.EtcdRemoveMemberByID()


async def files(rack: Rack, machine: Machine, request: machine_pb2.ListRequest) -> AsyncIterator[Message]:
    """Yield what is in a folder: etcd's data are the only files that the lab knows."""
    root = request.root.rstrip("/")
    if root not in (ETCD_DATA, f"{ETCD_DATA}/member") or not machine.is_control_plane or not machine.has_etcd_data:
        raise GRPCError(Status.UNKNOWN, f"lstat {root}: no such file or directory")
    below = ("member",) if root == ETCD_DATA else ("snap", "wal")
    yield machine_pb2.FileInfo(name=root, relative_name=".", is_dir=True, size=4096)
    for name in below:
        yield machine_pb2.FileInfo(name=f"{root}/{name}", relative_name=name, is_dir=True, size=4096)


async def snapshot(rack: Rack, machine: Machine, request: Message) -> AsyncIterator[Message]:
    """Yield the machine's own etcd: its database, and then the SHA-256 of it; no quorum is needed."""
    _need_etcd(machine)
    try:
        server = await rack.workload(machine)
        whole = recovery.with_hash(await server.snapshot(_about_etcd(rack, machine.cluster_id)))
    except SnapshotRefused as error:
        raise GRPCError(Status.UNKNOWN, f"error reading snapshot: {error}") from error
    for start in range(0, len(whole), CHUNK):
        yield common_pb2.Data(bytes=whole[start : start + CHUNK])


async def upload(rack: Rack, machine: Machine, request: list[common_pb2.Data]) -> Message:
    """Keep a snapshot for a Bootstrap that follows; nothing of it is checked."""
    if not machine.is_control_plane:
        raise GRPCError(Status.UNIMPLEMENTED, "etcd recover is only available on control plane nodes")
    rack.upload(machine, b"".join(each.bytes for each in request))
    return machine_pb2.EtcdRecover()


def _about_etcd(rack: Rack, key: str) -> Buckets:
    """Return what etcd keeps in its database about itself."""
    known = rack.etcd.members(key)
    voters, learners = ([each.id for each in known if each.is_learner is learning] for learning in (False, True))
    state = {"voters": voters, "learners": learners, "auto_leave": False}
    return {
        b"meta": [
            (b"confState", json.dumps(state).encode()),
            (b"consistent_index", _index(rack).to_bytes(8)),
            (b"storageVersion", STORAGE.encode()),
            (b"term", rack.etcd.term(key).to_bytes(8)),
        ],
        b"members": sorted((f"{each.id:016x}".encode(), json.dumps(_attributes(each)).encode()) for each in known),
        b"cluster": [(b"clusterVersion", STORAGE.encode())],
    }


def _attributes(member: Member) -> dict[str, object]:
    shown = _member(member)
    found = {"id": shown.id, "peerURLs": list(shown.peer_urls), "name": shown.hostname}
    return {**found, "clientURLs": list(shown.client_urls)} if not shown.is_learner else {**found, "isLearner": True}


def _index(rack: Rack) -> int:
    """Return how long etcd's log is: it grows with time."""
    return int(rack.clock.now()) + 1000


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


UNARY: dict[str, Unary] = {
    "Bootstrap": bootstrap,
    "EtcdMemberList": members,
    "EtcdStatus": status,
    "EtcdAlarmList": alarms,
    "EtcdForfeitLeadership": forfeit,
    "EtcdLeaveCluster": leave,
    "EtcdRemoveMemberByID": remove,
    "EtcdRecover": upload,
}
STREAMS: dict[str, Stream] = {"List": files, "EtcdSnapshot": snapshot}
CHANGES = frozenset(("Bootstrap", "EtcdRecover", "EtcdForfeitLeadership", "EtcdLeaveCluster", "EtcdRemoveMemberByID"))
"""Calls that change something."""
