"""What one machine answers to each call of its API, before apid puts it on the wire."""

from __future__ import annotations

import asyncio
import io
import tarfile
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Protocol

import yaml
from google.protobuf.message import Message
from grpclib.const import Status
from grpclib.exceptions import GRPCError

from tallship.lab.clock import LabClock
from tallship.lab.faults import Faults
from tallship.lab.kubeserver import KubeServer
from tallship.lab.pulls import pull_seconds
from tallship.lab.talos import durations, manifests
from tallship.lab.talos.config import secrets
from tallship.lab.talos.etcd import Etcd
from tallship.lab.talos.machine import Machine
from tallship.lab.talos.services import Health, etcd_health, machine_status, service_list
from tallship.talosproto import common_pb2, machine_pb2, state_pb2

MACHINE_STATUS = "MachineStatuses.runtime.talos.dev"
MANIFESTS = "Manifests.kubernetes.talos.dev"


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

    async def workload(self, machine: Machine) -> KubeServer:
        """Return the API whose objects are in the machine's etcd."""

    def upload(self, machine: Machine, content: bytes) -> None:
        """Keep a snapshot on the machine's disk, in the place of one that is there."""

    def reset(self, machine: Machine) -> None:
        """Begin the reset that the machine remembers, or go on with it."""

    def wipe(self, machine: Machine) -> None:
        """Forget what the machine's reset wipes."""

    def upgrade(self, machine: Machine) -> None:
        """Begin the upgrade that the machine remembers, or go on with it."""

    def has_schematic(self, schematic: str) -> bool:
        """True when the image factory knows a schematic of that id."""


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


async def reboot(rack: Rack, machine: Machine, request: Message) -> Message:
    """Begin to reboot; the answer comes at once. Talos v1.12: an upgrade that is under way is not disturbed."""
    if machine.upgrade is None:
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


async def resources(rack: Rack, machine: Machine, request: state_pb2.ListRequest) -> AsyncIterator[Message]:
    """Yield COSI resources of one type: those of the bootstrap manifests are the only ones that are listed."""
    if request.type != MANIFESTS or not machine.is_control_plane:
        return
    for name, items in manifests.resources(machine.talos_version, machine.config).items():
        found = state_pb2.ListResponse()
        found.resource.metadata.namespace, found.resource.metadata.type = request.namespace, request.type
        found.resource.metadata.id, found.resource.metadata.phase = name, "running"
        found.resource.spec.yaml_spec = yaml.safe_dump({"items": items}, sort_keys=False)
        yield found


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
    lines += [f"[talos] {line}" for line in (machine.upgrade or {}).get("log", [])]
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
    "ImagePull": pull_image,
    "Reboot": reboot,
    "Shutdown": shutdown,
    "Get": resource,
}
STREAMS: dict[str, Stream] = {
    "ListResources": resources,
    "ImageList": image_list,
    "Events": events,
    "Kubeconfig": kubeconfig,
    "Dmesg": kernel_log,
    "Logs": service_log,
}
CHANGES = frozenset(("ImagePull", "Reboot", "Shutdown"))
"""Calls that change something."""
