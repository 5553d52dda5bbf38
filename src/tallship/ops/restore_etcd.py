"""A new etcd on machines that keep their configuration: what they have is wiped, one begins, the others join."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from tallship.adapters import talos_recovery, talos_upgrade
from tallship.adapters.talos import Talos
from tallship.engine import Seen, State, Step
from tallship.env import Env
from tallship.errors import ApiError, SetupError, Unreachable
from tallship.manifests import conditions, restore
from tallship.manifests.restore import Verified
from tallship.ops.in_place_nodes import why_stage_waits
from tallship.ops.nodes import why_etcd_waits
from tallship.ops.restore_nodes import (
    BEGUN,
    FIRST,
    NOTE,
    Look,
    Plane,
    list_planes,
    look,
    note,
    open_ways,
    talos_of,
)

GRACE_SECONDS = 60.0
"""How long a snapshot that an earlier run may have begun to restore is waited for, before it is sent again."""
REFUSED = "ALREADY_EXISTS"


@dataclass(frozen=True)
class Source:
    """The snapshot to restore; read and verified once."""

    file: Path

    @cached_property
    def verified(self) -> Verified:
        """What it holds. Raises SetupError where it cannot be read, or is not whole."""
        try:
            return restore.verified(self.file.read_bytes())
        except OSError as error:
            raise SetupError(f"the snapshot `{self.file}` cannot be read", detail=str(error), hint=_LIST) from error
        except ValueError as error:
            raise SetupError(f"`{self.file}` is no snapshot of etcd that is whole: {error}", hint=_LIST) from error

    @property
    def hash(self) -> str:
        """Its SHA-256 in hex. Raises SetupError."""
        return self.verified.sha256


@dataclass(frozen=True)
class EtcdWiped(Step[Env]):
    """No control plane has data of the lost etcd, and each waits for a new one."""

    name: ClassVar[str] = "restore-reset"
    title: ClassVar[str] = "Wipe etcd's data"
    timeout: ClassVar[float] = 1200
    interval: ClassVar[float] = 8

    source: Source
    asked: set[str] = field(default_factory=set, compare=False)
    """Those that were told to reset in this run."""

    def probe(self, env: Env) -> Seen:
        """Look at every disk; once a new etcd is begun on one, none is wiped any more."""
        planes = list_planes(env)
        if first(planes, self.source.hash):
            return Seen(State.READY, "a new etcd has been begun: nothing is wiped any more")
        if not all(each.is_noted(BEGUN, self.source.hash) for each in planes):
            return Seen(State.BLOCKED, "needs `restore-checks` first")
        talos = talos_of(env, planes)
        found = {each.name: _look(talos, each) for each in planes}
        wipe = [name for name, it in found.items() if isinstance(it, Look) and it.has_data and name not in self.asked]
        if wipe:
            return Seen(State.MISSING, "", f"wipe {', '.join(wipe)}: only their configuration stays")
        left = [f"{name}: {_told(it)}" for name, it in found.items() if isinstance(it, str) or not it.waits]
        return Seen(State.WORKING, "; ".join(left)) if left else Seen(State.READY, f"{len(planes)} machines wait")

    def act(self, env: Env, seen: Seen) -> None:
        """Reset the data of those that have some, and boot them again."""
        planes = list_planes(env)
        talos = talos_of(env, planes)
        for plane in planes:
            it = _look(talos, plane)
            if isinstance(it, Look) and it.has_data and plane.name not in self.asked:
                env.tell(self, f"wiping {plane.name}")
                talos_recovery.wipe(talos, plane.node)
                self.asked.add(plane.name)

    def explain(self, env: Env) -> list[str]:
        """Return the end of the kernel logs of those that have not come back without data."""
        planes = list_planes(env)
        talos, lines = talos_of(env, planes), []
        for plane in planes:
            with suppress(ApiError):
                if look(talos, plane).has_data:
                    lines += [f"{plane.name}: {each}" for each in talos_upgrade.kernel_log(talos, plane.node, 6)]
        return lines


@dataclass(frozen=True)
class EtcdRecovered(Step[Env]):
    """One machine runs a new etcd with the snapshot's objects."""

    name: ClassVar[str] = "restore-etcd"
    title: ClassVar[str] = "Make a new etcd of the snapshot"
    timeout: ClassVar[float] = 900
    interval: ClassVar[float] = 5

    source: Source
    sent: list[float] = field(default_factory=list, compare=False)
    """When this run began an etcd."""
    seen_at: list[float] = field(default_factory=list, compare=False)
    """When this run first saw what an earlier one may have begun."""

    def probe(self, env: Env) -> Seen:
        """Look at the service etcd of the machine that has been chosen, or will be."""
        planes = list_planes(env)
        chosen = first(planes, self.source.hash)
        talos = talos_of(env, planes)
        if chosen is None:
            found = [_look(talos, each) for each in planes]
            if not planes or not all(isinstance(each, Look) and each.waits for each in found):
                return Seen(State.BLOCKED, "needs `restore-reset` first")
            return self._missing(planes[0])
        it = _look(talos, chosen)
        if isinstance(it, str) or it.etcd is None:
            return Seen(State.WORKING, f"{chosen.name}: {_told(it)}")
        if it.has_data:
            told = f"etcd on {chosen.name} is {it.etcd.state}"
            return Seen(State.READY if it.etcd.is_healthy else State.WORKING, told)
        if it.etcd.state == "Failed" and self.sent:
            told = f"etcd on {chosen.name} did not take the snapshot: {it.etcd.message}"
            return Seen(State.BROKEN, told, hint="`tallship backup restore` with another snapshot tries again")
        if it.etcd.state == "Failed":
            return self._missing(chosen)
        if self.sent or self._may_be_at_it(env):
            return Seen(State.WORKING, f"etcd on {chosen.name} is {it.etcd.state}")
        return self._missing(chosen)

    def act(self, env: Env, seen: Seen) -> None:
        """Choose the machine, send it the snapshot, and let it begin; whether that works is seen at its service."""
        planes = list_planes(env)
        chosen = first(planes, self.source.hash) or planes[0]
        env.hetzner.put_labels(chosen.resource, {NOTE: note(FIRST, self.source.hash)})
        env.tell(self, f"sending the snapshot to {chosen.name}")
        config = env.talosconfig.read_text(encoding="utf-8")
        talos_recovery.upload(config, open_ways(env, [chosen]), chosen.node, self.source.file)
        self.sent.append(env.clock.now())
        try:
            talos_recovery.bootstrap(talos_of(env, [chosen]), chosen.node)
        except ApiError as error:
            if error.code != REFUSED:
                raise

    def explain(self, env: Env) -> list[str]:
        """Return the last lines of the machine's kernel log."""
        planes = list_planes(env)
        chosen = first(planes, self.source.hash)
        with suppress(ApiError):
            return talos_upgrade.kernel_log(talos_of(env, planes), chosen.node, 8) if chosen else []
        return []

    def _missing(self, plane: Plane) -> Seen:
        return Seen(State.MISSING, "", f"make a new etcd on {plane.name} of {self.source.file.name}")

    def _may_be_at_it(self, env: Env) -> bool:
        if not self.seen_at:
            self.seen_at.append(env.clock.now())
        return env.clock.now() - self.seen_at[0] < GRACE_SECONDS


@dataclass(frozen=True)
class EtcdWhole(Step[Env]):
    """Every control plane is a healthy member of the new etcd, and all know the same leader."""

    name: ClassVar[str] = "restore-join"
    title: ClassVar[str] = "Wait for etcd's members"
    timeout: ClassVar[float] = 1800
    interval: ClassVar[float] = 8

    source: Source
    rebooted: set[str] = field(default_factory=set, compare=False)

    def probe(self, env: Env) -> Seen:
        """Ask the first machine for the members, and each for its own etcd."""
        planes = list_planes(env)
        chosen = first(planes, self.source.hash)
        if chosen is None:
            return Seen(State.BLOCKED, "needs `restore-etcd` first")
        talos, nodes = talos_of(env, planes), [each.node for each in planes]
        found = {each.name: _look(talos, each) for each in planes}
        tired = [name for name, it in found.items() if _is_tired(it) and name not in self.rebooted]
        if tired:
            told = "no new etcd came within Talos' time"
            return Seen(State.MISSING, told, f"reboot {', '.join(tired)}")
        try:
            waits = why_etcd_waits(talos.members(chosen.node), talos.services(nodes), len(planes))
        except Unreachable as silence:
            return Seen(State.WORKING, silence.message)
        leaders = {it.leader if not isinstance(it, ApiError) else 0 for it in talos.etcd_status(nodes).values()}
        if waits or len(leaders) != 1 or 0 in leaders:
            return Seen(State.WORKING, "; ".join(waits) or "not all members know the same leader")
        return Seen(State.READY, f"etcd has {len(planes)} members")

    def act(self, env: Env, seen: Seen) -> None:
        """Reboot machines that have given up waiting: Talos v1.12 starts their etcd at no other occasion."""
        planes = list_planes(env)
        talos = talos_of(env, planes)
        for plane in planes:
            if _is_tired(_look(talos, plane)) and plane.name not in self.rebooted:
                talos_upgrade.reboot(talos, plane.node)
                self.rebooted.add(plane.name)


class NodesBack(Step[Env]):
    """The Kubernetes API answers, and every control plane's node is Ready in the boot that it is in."""

    name = "restore-nodes"
    title = "Wait for the nodes"
    timeout = 1200
    interval = 5

    def probe(self, env: Env) -> Seen:
        """Compare what the nodes say with what their machines say: the snapshot's word is an old one."""
        planes = list_planes(env)
        talos = talos_of(env, planes)
        try:
            nodes = {conditions.internal_ip(each): each for each in env.workload.list("v1", "Node")}
            lacks = [line for plane in planes for line in _lacks(talos, plane, nodes.get(plane.node))]
        except Unreachable as silence:
            return Seen(State.WORKING, silence.message)
        return Seen(State.WORKING, "; ".join(lacks)) if lacks else Seen(State.READY, f"{len(planes)} nodes")


def first(planes: Sequence[Plane], snapshot: str) -> Plane | None:
    """Return the machine on which a new etcd was begun, of this snapshot."""
    return next((each for each in planes if each.is_noted(FIRST, snapshot)), None)


def _look(talos: Talos, plane: Plane) -> Look | str:
    """Return how far a machine is, or why it does not say."""
    try:
        return look(talos, plane)
    except Unreachable as silence:
        return silence.message


def _told(it: Look | str) -> str:
    if isinstance(it, str):
        return it
    etcd = f"etcd {it.etcd.state}" if it.etcd else "no service etcd"
    return f"{it.stage}, {etcd}, {'with' if it.has_data else 'without'} data"


def _is_tired(it: Look | str) -> bool:
    return isinstance(it, Look) and not it.has_data and it.etcd is not None and it.etcd.state == "Failed"


def _lacks(talos: Talos, plane: Plane, node: dict[str, Any] | None) -> list[str]:
    """Return what a control plane lacks of a node that works. Raises Unreachable."""
    if node is None:
        return [f"{plane.name} is no node yet"]
    info = (node.get("status") or {}).get("nodeInfo") or {}
    if info.get("bootID") != talos_upgrade.boot_id(talos, plane.node):
        return [f"{plane.name}: its kubelet has said nothing yet"]
    found = [f"{plane.name}: {line}" for line in why_stage_waits(talos.stage([plane.node])[plane.node])]
    return conditions.why_node_waits(node) + found


_LIST = "`tallship backup list` shows the snapshots that are whole"
