"""A machine's life between power on and power off: what it starts, when, and what it waits for.

Every moment follows from what the store remembers, so a lab that was killed goes on where it stopped.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
from collections.abc import Coroutine
from typing import Any, Protocol

from tallship.lab.clock import LabClock
from tallship.lab.talos import durations
from tallship.lab.talos.etcd import Etcd
from tallship.lab.talos.machine import Machine

log = logging.getLogger(__name__)


class Surroundings(Protocol):
    """What a machine needs of the lab around it."""

    clock: LabClock
    etcd: Etcd

    def os_key(self, machine: Machine) -> str:
        """Return the key that signs the machine's own certificate; empty while nobody has it."""

    def alive(self, cluster_id: str) -> set[int]:
        """Return the machines (server ids) whose etcd takes part."""

    def members_admit(self, machine: Machine) -> bool:
        """True when the machine's own address reaches etcd on every member of its cluster."""

    async def recover(self, machine: Machine) -> None:
        """Make an etcd of the snapshot that the machine was given, or remember why that cannot be."""

    def changed(self) -> None:
        """Make every machine look again at what it waits for."""


class Face(Protocol):
    """What a machine shows to the outside."""

    async def open_talos(self) -> None:
        """Serve the Talos API."""

    async def open_kubernetes(self) -> None:
        """Serve the cluster's API."""

    async def close_kubernetes(self) -> None:
        """Serve the cluster's API no more."""

    async def close(self) -> None:
        """Serve nothing."""


class Boot:
    """One machine that has power."""

    def __init__(self, machine: Machine, around: Surroundings, face: Face) -> None:
        self._machine = machine
        self._around = around
        self._face = face
        self._look = asyncio.Event()
        self._etcd_ran = False
        self._task = in_own_context(self._survive())

    def look(self) -> None:
        """Look again at what the machine waits for."""
        self._look.set()

    async def stop(self) -> None:
        """The machine loses its power."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._machine.serves_talos = self._machine.serves_kubernetes = False
        await self._face.close()

    async def _survive(self) -> None:
        try:
            await self._live()
        except Exception:
            log.exception("machine %s died", self._machine.name)

    async def _live(self) -> None:
        machine = self._machine
        if machine.loaded is None or machine.record["is_dead"]:
            return  # Talos stays in its boot and tries again; port 50000 stays closed
        await self._around.clock.sleep(machine.api_at - self._around.clock.now())
        while not self._around.os_key(machine):  # a worker's certificate is signed by a control plane
            self._look.clear()
            await wait_for(self._look, self._around.clock, durations.TRUST_RETRY)
        await self._face.open_talos()
        machine.serves_talos = True
        self._around.changed()
        while True:
            self._look.clear()
            await wait_for(self._look, self._around.clock, await self._step())

    async def _step(self) -> float | None:
        """Do what is due; return in how many seconds to look again, None for not before something changes."""
        machine, now = self._machine, self._around.clock.now()
        machine.refusal = "" if machine.has_etcd_data else self._around.etcd.refusal(machine.identity)
        if not machine.is_control_plane:
            return None
        waits = [await self._etcd_step(now), await self._api_server_step(now)]
        return min((each for each in waits if each is not None), default=None)

    async def _etcd_step(self, now: float) -> float | None:
        machine = self._machine
        if machine.record["has_left"] or machine.has_stopped_services:
            return None
        if not machine.has_etcd_data and machine.recovery is not None:
            left = float(machine.recovery["at"]) - now
            if left > 0 or machine.recovery_problem:
                return left if left > 0 else None
            await self._around.recover(machine)
            return 0
        if not machine.has_etcd_data and not self._join(now):
            return durations.ETCD_JOIN_RETRY if machine.etcd_state == "Preparing" else None
        if machine.etcd_at is None:
            machine.change(etcd_at=max(now, machine.api_at) + durations.ETCD_START)
        if machine.etcd_at is not None and now < machine.etcd_at:
            return machine.etcd_at - now
        if not self._etcd_ran:
            self._etcd_ran = True
            self._around.changed()
        return self._learn(now)

    def _join(self, now: float) -> bool:
        """Try to become a member; true for success."""
        machine, etcd, key = self._machine, self._around.etcd, self._machine.cluster_id
        address = machine.etcd_address
        if (
            machine.etcd_state == "Failed"
            or machine.refusal
            or address is None
            or not etcd.has_quorum(key, self._around.alive(key))
            or not self._around.members_admit(machine)
        ):
            return False
        member = etcd.join(key, machine.server_id, machine.hostname, address, now)
        if member is None:
            return False
        machine.change(member=member.id, etcd_at=now)
        return True

    def _learn(self, now: float) -> float | None:
        """Be promoted when a learner has caught up, and tell the others what changed."""
        machine, key = self._machine, self._machine.cluster_id
        member = machine.member
        if member is None or not member.is_learner:
            return None
        left = max(member.joined_at, machine.etcd_at or 0) + durations.ETCD_LEARNING - now
        if left > 0:
            return left
        if not self._around.etcd.has_quorum(key, self._around.alive(key)):
            return durations.ETCD_JOIN_RETRY
        self._around.etcd.promote(key, machine.server_id)
        self._around.changed()
        return None

    async def _api_server_step(self, now: float) -> float | None:
        machine, up = self._machine, self._machine.api_server_at
        if up is not None and now < up:
            return up - now
        wanted = up is not None and self._can_serve()
        if wanted and not machine.serves_kubernetes:
            await self._face.open_kubernetes()
            machine.change(has_images=True)
        elif machine.serves_kubernetes and not wanted:
            await self._face.close_kubernetes()
        machine.serves_kubernetes = wanted
        return None

    def _can_serve(self) -> bool:
        member, key = self._machine.member, self._machine.cluster_id
        if not self._machine.runs_etcd or member is None or member.is_learner:
            return False
        return self._around.etcd.has_quorum(key, self._around.alive(key))


async def wait_for(event: asyncio.Event, clock: LabClock, seconds: float | None) -> None:
    """Return when the event is set or so many modelled seconds have passed."""
    if seconds is None:
        await event.wait()
        return
    tasks = [asyncio.ensure_future(event.wait()), asyncio.ensure_future(clock.sleep(seconds))]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks, return_exceptions=True)


def in_own_context(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Start work that does not count as the request that began it being held."""
    return asyncio.get_running_loop().create_task(work, context=contextvars.Context())
