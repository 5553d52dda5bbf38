"""An upgrade in place inside the machine, from the answer to the call until the reboot (Talos v1.12).

Where it is follows from what the store remembers, so a lab that was killed goes on with it.
"""

from __future__ import annotations

from typing import Any

from tallship.lab.talos import durations
from tallship.lab.talos.calls import Rack
from tallship.lab.talos.machine import Machine
from tallship.lab.talos.releases import refusal
from tallship.lab.talos.upgrades import failure

LOOK = 1.0
"""How often it is looked for what the cluster does with the node."""


class _Failed(Exception):
    """A phase of the sequence has failed: the machine reboots into what it had."""


async def run(rack: Rack, machine: Machine) -> None:
    """Take a machine through its upgrade, and reboot it: into the new version, or after a failure into the old one."""
    try:
        await _leave_cluster(rack, machine)
        await _install(rack, machine)
    except _Failed as failed:
        _note(machine, f"upgrade failed: {failed}")
        await rack.clock.sleep(durations.FAILURE_PAUSE)
    await rack.restart(machine)


async def _leave_cluster(rack: Rack, machine: Machine) -> None:
    """Wait until the node is cordoned, then until it is drained."""
    began = _told(machine, "began_at")
    _note(machine, "phase drain (1/13): 1 tasks(s)")
    while _told(machine, "cordoned_at") is None:
        if rack.clock.now() >= began + durations.CORDON_LIMIT:
            raise _Failed("task cordonAndDrainNode: failed to cordon: context deadline exceeded")
        await rack.clock.sleep(LOOK)
    cordoned = _told(machine, "cordoned_at")
    while _told(machine, "drained_at") is None and rack.clock.now() < cordoned + durations.DRAIN_LIMIT:
        await rack.clock.sleep(LOOK)
    await rack.clock.sleep(cordoned + durations.EVICTION - rack.clock.now())


async def _install(rack: Rack, machine: Machine) -> None:
    """Stop the services, and let the installer do what it does."""
    if _told(machine, "stopped_at") is None:
        _note(machine, "phase stopServices (4/13): 1 tasks(s)", stopped_at=rack.clock.now())
        rack.changed()
    stopped, target = _told(machine, "stopped_at"), _told(machine, "to")
    await rack.clock.sleep(stopped + durations.STOP_SERVICES - rack.clock.now())
    _note(machine, f"task upgrade (1/1): performing upgrade via {target}")
    _note(machine, "running pre-flight checks")
    if problem := refusal(machine.talos_version, target):
        raise _Failed(f"pre-flight checks failed: {problem}")
    await rack.clock.sleep(stopped + durations.STOP_SERVICES + durations.INSTALL - rack.clock.now())
    if problem := failure(rack, machine):
        raise _Failed(problem)
    _note(machine, "task upgrade (1/1): done")
    machine.change(installed=target)


def _told(machine: Machine, key: str) -> Any:
    """Return what is remembered of the upgrade; nothing once it is over."""
    return (machine.upgrade or {}).get(key)


def _note(machine: Machine, line: str, **values: object) -> None:
    """Write a line into the kernel log, once."""
    upgrade = machine.upgrade or {}
    log = [*upgrade["log"], *([] if line in upgrade["log"] else [line])]
    machine.change(upgrade={**upgrade, **values, "log": log})
