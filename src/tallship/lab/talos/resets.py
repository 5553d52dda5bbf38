"""What a machine answers to Reset, and what it does from then on (Talos v1.12).

Where it is follows from what the store remembers, so a lab that was killed goes on with it.
"""

from __future__ import annotations

import uuid

from google.protobuf.message import Message
from grpclib.const import Status
from grpclib.exceptions import GRPCError

from tallship.lab.talos import durations
from tallship.lab.talos.calls import Rack, Unary
from tallship.lab.talos.machine import Machine
from tallship.talosproto import machine_pb2

LABELS = frozenset(("EPHEMERAL", "STATE", "META", "EFI", "BIOS", "BOOT"))
BOOTED_FROM = frozenset(("EFI", "BIOS", "BOOT"))
"""Without one of these nothing boots any more."""
LOOK = 5.0
"""From one try to leave etcd to the next."""


async def reset(rack: Rack, machine: Machine, request: machine_pb2.ResetRequest) -> Message:
    """Begin to reset; the answer comes before any of the work. A reset or an upgrade under way is not disturbed.

    Without a list of partitions the whole system disk goes, and nothing boots from it again.
    """
    if request.mode == machine_pb2.ResetRequest.USER_DISKS or request.user_disks_to_wipe:
        raise GRPCError(Status.UNIMPLEMENTED, "the lab has no user disks")
    wanted = request.system_partitions_to_wipe
    for each in wanted:
        if each.label not in LABELS:
            raise GRPCError(Status.UNKNOWN, f"failed to locate partition with label {each.label!r}")
    if machine.upgrade is None and machine.reset is None:
        labels = [each.label for each in wanted if each.wipe] if wanted else sorted(LABELS)
        began = {"began_at": rack.clock.now(), "stopped_at": None}
        machine.change(reset={**began, "labels": labels, "graceful": request.graceful, "reboots": request.reboot})
        rack.reset(machine)
    return machine_pb2.Reset(actor_id=str(uuid.uuid4()))


async def run(rack: Rack, machine: Machine) -> None:
    """Take a machine through its reset: one that cannot leave etcd gracefully boots again with all that it had."""
    asked = machine.reset or {}
    if asked["graceful"] and asked["stopped_at"] is None and not await _leave_etcd(rack, machine):
        await rack.clock.sleep(durations.FAILURE_PAUSE)
        await rack.restart(machine)
        return
    if asked["stopped_at"] is None:
        asked = {**asked, "stopped_at": rack.clock.now()}
        machine.change(reset=asked)
        rack.changed()
    await rack.clock.sleep(asked["stopped_at"] + durations.STOP_SERVICES + durations.WIPE - rack.clock.now())
    rack.wipe(machine)
    if asked["reboots"]:
        await rack.restart(machine)
    else:
        await rack.halt(machine)


async def _leave_etcd(rack: Rack, machine: Machine) -> bool:
    """Leave the cluster's etcd; false when it has not let the machine go in time. The lab drains nothing before."""
    key, began = machine.cluster_id if machine.is_control_plane else "", float((machine.reset or {})["began_at"])
    while machine.is_control_plane and (member := machine.member) is not None:
        if rack.etcd.has_quorum(key, rack.alive(key)) and len(rack.etcd.members(key)) > 1:
            rack.etcd.remove(key, member.id)
            machine.change(member=0, has_left=True, etcd_at=None)
            rack.changed()
        elif rack.clock.now() >= began + durations.ETCD_LEAVE_LIMIT:
            return False
        else:
            await rack.clock.sleep(LOOK)
    return True


UNARY: dict[str, Unary] = {"Reset": reset}
CHANGES = frozenset(("Reset",))
"""Calls that change something."""
