"""What a machine answers to the calls that upgrade it in place, and what tells one of its boots from another."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator

from google.protobuf.message import Message
from grpclib.const import Status
from grpclib.exceptions import GRPCError

from tallship.lab.pulls import pull_seconds
from tallship.lab.talos import durations
from tallship.lab.talos.calls import Rack, Stream, Unary, health_of_etcd
from tallship.lab.talos.machine import Machine
from tallship.lab.talos.releases import INSTALLER, LIFECYCLE, UPGRADES, number, refusal
from tallship.talosproto import common_pb2, image_pb2, lifecycle_pb2, machine_pb2

BOOT_ID = "/proc/sys/kernel/random/boot_id"


async def read(rack: Rack, machine: Machine, request: machine_pb2.ReadRequest) -> AsyncIterator[Message]:
    """Yield a file's content: the id of the boot is the only file that the lab knows."""
    if request.path != BOOT_ID:
        raise GRPCError(Status.UNKNOWN, f"stat {request.path}: no such file or directory")
    yield common_pb2.Data(bytes=f"{machine.boot_id}\n".encode())


async def upgrade(rack: Rack, machine: Machine, request: machine_pb2.UpgradeRequest) -> Message:
    """Pull the installer, check etcd, and begin the upgrade; whether it may be is for the installer to say, later.

    Talos v1.12: the answer comes before any of the work; one that is under way already goes on undisturbed.
    """
    if request.stage:
        raise GRPCError(Status.UNIMPLEMENTED, "the lab has no staged upgrades")
    try:
        version = await _pull(rack, machine, request.image)
    except GRPCError as error:
        told = f"error validating installer image {request.image!r}: {error.message}"
        raise GRPCError(Status.UNKNOWN, told) from error
    if machine.is_control_plane and not request.force:
        await _check_etcd(rack, machine)
    if machine.upgrade is None:
        began = {"to": version, "began_at": rack.clock.now(), "cordoned_at": None, "drained_at": None}
        machine.change(upgrade={**began, "stopped_at": None, "log": []})
        rack.upgrade(machine)
    return machine_pb2.Upgrade(ack="Upgrade request received", actor_id=str(uuid.uuid4()))


async def _pull(rack: Rack, machine: Machine, image: str) -> str:
    """Return the version of an installer that has been pulled. Raises GRPCError for one that is not there.

    The fault `image-pull` (match: machine) makes the registry refuse it.
    """
    found = INSTALLER.fullmatch(image)
    schematic = found["schematic"] if found else None
    if (
        found is None
        or number(found["version"])[:2] not in UPGRADES
        or (schematic is not None and not rack.has_schematic(schematic))
        or rack.faults.take("image-pull", machine=machine.hostname) is not None
    ):
        raise GRPCError(Status.NOT_FOUND, f"failed to resolve reference {image!r}: {image}: not found")
    await rack.clock.sleep(pull_seconds(image))
    return found["version"]


async def _check_etcd(rack: Rack, machine: Machine) -> None:
    """Raise when etcd could not do without the machine. Only one machine of a cluster checks at a time (Talos v1.12).

    Members that are missing from the list, and alarms, are not looked at.
    """
    locks, key = rack.etcd.upgrade_locks, machine.cluster_id
    if key in locks:
        raise GRPCError(Status.UNKNOWN, "failed to acquire upgrade lock: mutex: Locked by another session")
    locks.add(key)
    try:
        await rack.clock.sleep(durations.ETCD_CHECK)
        if problem := _etcd_problem(rack, machine):
            raise GRPCError(Status.UNKNOWN, f"error validating etcd for upgrade: {problem}")
    finally:
        locks.discard(key)


def _etcd_problem(rack: Rack, machine: Machine) -> str:
    key = machine.cluster_id
    if not rack.etcd.has_quorum(key, rack.alive(key)):
        return "etcdserver: request timed out"
    members = rack.etcd.members(key)
    if len(members) == 2:
        return "etcd member count(2) is insufficient to maintain quorum if upgrade commences"
    for member in members:
        runs = rack.find(machine, member.hostname)
        if member.is_learner or runs is None or health_of_etcd(rack, runs).healthy is not True:
            return f"etcd member {member.id:016x} is not healthy; all members must be healthy to perform an upgrade"
    return ""


async def pull(rack: Rack, machine: Machine, request: image_pb2.ImageServicePullRequest) -> AsyncIterator[Message]:
    """Pull an image into one of the machine's stores; its name is the last message (Talos v1.13)."""
    _need_lifecycle(machine, "ImageService")
    store = _store_of(request.containerd)
    yield image_pb2.ImageServicePullResponse(pull_progress=image_pb2.ImageServicePullProgress(layer_id="0"))
    await _pull(rack, machine, request.image_ref)
    pulled = [each for each in machine.record.get("pulled", []) if each != [store, request.image_ref]]
    machine.change(pulled=[*pulled, [store, request.image_ref]])
    yield image_pb2.ImageServicePullResponse(name=request.image_ref)


async def install(
    rack: Rack, machine: Machine, request: lifecycle_pb2.LifecycleServiceUpgradeRequest
) -> AsyncIterator[Message]:
    """Run the installer beside the system and stream what it says; any reboot then enters the new version.

    Talos v1.13: nothing else is done or checked. The fault `upgrade-fails` (match: machine) makes the installer fail.
    """
    _need_lifecycle(machine, "LifecycleService")
    image, found = request.source.image_name, INSTALLER.fullmatch(request.source.image_name)
    if found is None or [_store_of(request.containerd), image] not in machine.record.get("pulled", []):
        raise GRPCError(Status.INTERNAL, f"upgrade failed: image {image!r} not found in containerd store")
    if machine.is_installing or machine.upgrade is not None:
        raise GRPCError(Status.FAILED_PRECONDITION, "another installation/upgrade is already in progress")
    machine.is_installing = True
    try:
        yield _said("running pre-flight checks")
        problem = refusal(machine.talos_version, found["version"])
        if not problem:
            await rack.clock.sleep(durations.INSTALL)
            problem = failure(rack, machine)
        if problem:
            yield _said(problem)
            yield _exited(1)
            return
        machine.change(installed=found["version"])
        yield _said("installation complete")
        yield _exited(0)
    finally:
        machine.is_installing = False


def failure(rack: Rack, machine: Machine) -> str:
    """Return why the installer fails, or nothing. The fault `upgrade-fails` (match: machine) makes it fail."""
    if rack.faults.take("upgrade-fails", machine=machine.hostname) is None:
        return ""
    return "installer: failed to install bootloader: write /boot: input/output error"


def _need_lifecycle(machine: Machine, service: str) -> None:
    if number(machine.talos_version)[:2] < LIFECYCLE:
        raise GRPCError(Status.UNIMPLEMENTED, f"unknown service machine.{service}")


def _store_of(containerd: common_pb2.ContainerdInstance) -> str:
    """Return the name of the store that images are pulled into. Raises GRPCError for one that does not exist."""
    driver = common_pb2.ContainerDriver.Name(containerd.driver)
    namespace = common_pb2.ContainerdNamespace.Name(containerd.namespace)
    if (driver, namespace) == ("CONTAINERD", "NS_CRI") or namespace == "NS_UNKNOWN":
        raise GRPCError(Status.INVALID_ARGUMENT, f"namespace {namespace} is not supported by driver {driver}")
    return f"{driver}/{namespace}"


def _said(text: str) -> lifecycle_pb2.LifecycleServiceUpgradeResponse:
    progress = lifecycle_pb2.LifecycleServiceInstallProgress(message=text)
    return lifecycle_pb2.LifecycleServiceUpgradeResponse(progress=progress)


def _exited(code: int) -> lifecycle_pb2.LifecycleServiceUpgradeResponse:
    progress = lifecycle_pb2.LifecycleServiceInstallProgress(exit_code=code)
    return lifecycle_pb2.LifecycleServiceUpgradeResponse(progress=progress)


UNARY: dict[str, Unary] = {"Upgrade": upgrade}
STREAMS: dict[str, Stream] = {"Read": read, "Pull": pull, "Upgrade": install}
CHANGES = frozenset(("Upgrade", "Pull"))
"""Calls that change something."""
