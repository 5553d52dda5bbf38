"""Talos is upgraded in place: one node at a time, each watched until it serves again; the servers stay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, ClassVar

from tallship.adapters import talos_upgrade
from tallship.adapters.talos import MachineStage, Version
from tallship.engine import Seen, State, Step
from tallship.env import Env
from tallship.errors import ApiError, Interrupted, StepFailed, TimedOut, Unreachable
from tallship.manifests import conditions, image, in_place
from tallship.manifests.in_place import Mark
from tallship.ops.cluster import DIAGNOSE, has_providers, is_paused
from tallship.ops.image_build import register
from tallship.ops.in_place_nodes import (
    Fleet,
    Member,
    leader,
    list_machines,
    read_fleet,
    why_etcd_waits,
    why_none_can_be_spared,
    why_stage_waits,
)
from tallship.ops.kinds import MACHINE

NODE_SECONDS = 1800.0
"""talosctl v1.12: how long it waits for an operation of a node."""
DRAIN_SECONDS = 300.0
"""Talos v1.12: after so long a drain is given up, and the reboot comes all the same."""
EVICTION_INTERVAL = 5.0
"""Talos v1.12: how often a Pod is asked to go that a disruption budget holds."""
SETTLING_SECONDS = 120.0
"""How long a cluster that cannot spare a node is watched before it is refused: it may just have got one back."""
LOG_LINES = 12
"""How much of a kernel log is evidence."""
UNDER_WAY = ("upgrading", "rebooting", "shuttingDown")
"""Talos v1.12: the stages of a machine between its upgrade's beginning and the next boot."""

_CLUSTER = ""
"""What stands in `Watched.since` for the cluster as a whole."""
_START, _REBOOT, _FINISH, _GIVE_UP = "upgrade ", "drain and reboot ", "finish ", "give up "


@dataclass(frozen=True)
class Watched:
    """What is remembered of the nodes within one run."""

    since: dict[str, float] = field(default_factory=dict)
    """When each was first seen under way, or the cluster unable to spare one."""
    log: dict[str, list[str]] = field(default_factory=dict)
    """The end of each one's kernel log in the boot of its upgrade: with that boot it is gone."""
    failed: dict[str, str] = field(default_factory=dict)
    """Those whose upgrade has failed, and what is to be said of it."""


@dataclass(frozen=True)
class TalosUpgradedInPlace(Step[Env]):
    """Every node runs the cluster file's Talos, and none has an upgrade under way.

    Which node is under way stands on its Machine, with the boot that it was in: a run that was killed goes on by that.
    """

    name: ClassVar[str] = "upgrade-in-place"
    title: ClassVar[str] = "Upgrade Talos, node by node"
    timeout: ClassVar[float] = 50 * NODE_SECONDS
    interval: ClassVar[float] = 5

    watched: Watched = field(default_factory=Watched, compare=False)

    def probe(self, env: Env) -> Seen:
        """Follow the node that is under way, else choose the next one."""
        if not env.kubeconfig.exists() or not env.talosconfig.exists():
            return Seen(State.BLOCKED, "needs `kubeconfig` and `talosconfig` first")
        if not has_providers(env):
            return Seen(State.BLOCKED, "needs `capi-init` first")
        if self.watched.failed:
            hint = "the kernel log tells why; the same command tries again"
            return Seen(State.BROKEN, "; ".join(self.watched.failed.values()), hint=hint)
        machines = list_machines(env)
        try:
            fleet = read_fleet(env, machines)
        except Unreachable as silence:
            if not any(map(in_place.mark_of, machines)):
                raise
            return Seen(State.WORKING, silence.message)
        for each in fleet.members:
            if each.mark is not None:
                return self._see_marked(env, fleet, each, each.mark)
        return self._see_next(env, fleet)

    def act(self, env: Env, seen: Seen) -> None:
        """Begin with a node, reboot it where the node does not do so itself, finish with it, or give it up."""
        fleet = read_fleet(env, list_machines(env))
        for prefix, work in (
            (_START, self._start),
            (_REBOOT, self._reboot),
            (_FINISH, self._finish),
            (_GIVE_UP, self._give_up),
        ):
            if seen.change.startswith(prefix):
                work(env, fleet, fleet.get(seen.change.removeprefix(prefix).split(" ")[0]))

    def explain(self, env: Env) -> list[str]:
        """Return the end of the kernel logs of nodes under way, and what the nodes lack."""
        lines = [f"{name}: {line}" for name, log in self.watched.log.items() for line in log]
        with suppress(ApiError):
            lines += [why for each in env.workload.list("v1", "Node") for why in conditions.why_node_waits(each)]
        return lines

    def _see_next(self, env: Env, fleet: Fleet) -> Seen:
        target = env.spec.talos.version
        versions = env.talos.version([each.address for each in fleet.members])
        running = {each.name: _tag(versions[each.address]) for each in fleet.members}
        outdated = [each for each in fleet.members if running[each.name] != target]
        if not outdated:
            return Seen(State.READY, f"{len(fleet.members)} nodes run Talos {target}")
        if refusal := _refusal(env, fleet, running):
            return refusal
        if unwell := why_none_can_be_spared(env, fleet):
            return self._see_unwell(env, unwell)
        self.watched.since.pop(_CLUSTER, None)
        chosen = _in_order(outdated, leader(env, fleet))[0]
        before = running[chosen.name]
        told = f"{len(fleet.members) - len(outdated)} of {len(fleet.members)} nodes run Talos {target}"
        return Seen(State.MISSING, told, f"{_START}{chosen.name} from {before} to {target}")

    def _see_unwell(self, env: Env, unwell: list[str]) -> Seen:
        told = "no node can be spared now: " + "; ".join(unwell)
        if self._seconds_since(env, _CLUSTER) < SETTLING_SECONDS:
            return Seen(State.WORKING, told)
        hint = "`tallship status` shows it; `tallship diagnose` looks for the cause"
        return Seen(State.BROKEN, told, hint=hint)

    def _see_marked(self, env: Env, fleet: Fleet, member: Member, mark: Mark) -> Seen:
        """Return how far a node is; BROKEN is not for here, since its note has to go first."""
        if self._seconds_since(env, member.name) >= NODE_SECONDS:
            raise TimedOut(
                f"{member.name} is not back after {NODE_SECONDS / 60:.0f} minutes of its upgrade to {mark.target}",
                detail="\n".join([*self._lacks(env, fleet, member, mark), *self.explain(env)]),
                hint=DIAGNOSE,
            )
        try:
            boot, stage = talos_upgrade.boot_id(env.talos, member.address), _stage(env, member)
        except Unreachable as silence:
            return Seen(State.WORKING, f"{member.name} is on its way to {mark.target}: {silence.message}")
        if boot == mark.boot_id:
            return self._see_old_boot(env, fleet, member, mark, stage)
        running = _tag(env.talos.version([member.address])[member.address])
        if not running:
            return Seen(State.WORKING, f"{member.name} is booting")
        if running != mark.target:
            return Seen(State.MISSING, f"{member.name} runs {running} again", f"{_GIVE_UP}{member.name}")
        if lacks := self._lacks(env, fleet, member, mark):
            return Seen(State.WORKING, f"{member.name} runs {mark.target}, and is not done: {'; '.join(lacks)}")
        return Seen(State.MISSING, f"{member.name} runs {mark.target}", f"{_FINISH}{member.name}")

    def _see_old_boot(self, env: Env, fleet: Fleet, member: Member, mark: Mark, stage: MachineStage) -> Seen:
        if stage.stage in UNDER_WAY:
            with suppress(ApiError):
                self.watched.log[member.name] = talos_upgrade.kernel_log(env.talos, member.address, LOG_LINES)
            return Seen(State.WORKING, f"{member.name} is {stage.stage}")
        target = env.spec.talos.version
        if not mark.is_installed or mark.target != target:
            return Seen(State.MISSING, "", f"{_START}{member.name} from {mark.before} to {target}")
        if member.is_control_plane and (sick := why_etcd_waits(env, fleet)):
            return Seen(State.WORKING, f"{member.name} waits for its reboot: {'; '.join(sick)}")
        return Seen(State.MISSING, f"{mark.target} is installed on {member.name}", f"{_REBOOT}{member.name}")

    def _lacks(self, env: Env, fleet: Fleet, member: Member, mark: Mark) -> list[str]:
        """Return what a node that has booted the new version still lacks."""
        with suppress(ApiError):
            found = why_stage_waits(env.talos.stage([member.address])[member.address])
            found += conditions.why_node_waits(member.node)
            if conditions.talos_version(member.node) != mark.target:
                found.append("Kubernetes has not heard of its version")
            if in_place.is_cordoned(member.node) and not in_place.is_cordoned_by_us(member.node):
                found.append("it is cordoned")
            return found + (why_etcd_waits(env, fleet) if member.is_control_plane else [])
        return ["its Talos API does not answer"]

    def _start(self, env: Env, fleet: Fleet, member: Member) -> None:
        """Note the upgrade, then begin it; a node that refuses is not noted any more."""
        register(env, env.spec)
        running = env.talos.version([member.address])[member.address]
        if isinstance(running, ApiError):
            raise running
        mark = Mark(env.spec.talos.version, running.tag, talos_upgrade.boot_id(env.talos, member.address))
        self._note(env, member, mark)
        try:
            if member.is_control_plane and len(fleet.control_planes) > 1 and leader(env, fleet) == member.name:
                talos_upgrade.forfeit_leadership(env.talos, member.address)
            self._run_installer(env, member, mark)
        except ApiError as error:
            if not error.may_pass:
                self._end_note(env, member)
            raise

    def _run_installer(self, env: Env, member: Member, mark: Mark) -> None:
        installer = image.installer(env.spec)
        if not in_place.uses_lifecycle(mark.before):
            talos_upgrade.start(env.talos, member.address, installer)
            return
        talos_upgrade.install(env.talos, member.address, installer, lambda line: env.tell(self, line))
        self._note(env, member, Mark(mark.target, mark.before, mark.boot_id, is_installed=True))

    def _reboot(self, env: Env, fleet: Fleet, member: Member) -> None:
        """Cordon and drain, as nobody else does it from Talos v1.13 on; then reboot."""
        if not in_place.is_cordoned(member.node):
            env.workload.patch("v1", "Node", member.name, "", in_place.cordoning())
        deadline = env.clock.now() + DRAIN_SECONDS
        while left := in_place.to_evict(env.workload.list("v1", "Pod"), member.name):
            if env.clock.now() >= deadline:
                env.tell(self, f"{member.name} reboots with {len(left)} Pods that could not be evicted")
                break
            env.tell(
                self, f"{member.name} is drained: {len(left)} Pods are left, {conditions.name(left[0])} among them"
            )
            self._evict(env, left)
            if not env.pause(EVICTION_INTERVAL):
                raise Interrupted(f"stopped while {member.name} was drained", hint="the same command goes on from here")
        talos_upgrade.reboot(env.talos, member.address)

    def _evict(self, env: Env, pods: Sequence[Mapping[str, Any]]) -> None:
        for pod in pods:
            try:
                env.workload.evict(conditions.name(pod), pod["metadata"]["namespace"])
            except ApiError as error:
                if not error.may_pass:
                    raise

    def _finish(self, env: Env, fleet: Fleet, member: Member) -> None:
        self._release(env, member)
        self.watched.log.pop(member.name, None)

    def _give_up(self, env: Env, fleet: Fleet, member: Member) -> None:
        """End the note of an upgrade that has failed, so that the same command may try again."""
        target = member.mark.target if member.mark else env.spec.talos.version
        with suppress(ApiError):
            if member.name not in self.watched.log:
                self.watched.log[member.name] = talos_upgrade.kernel_log(env.talos, member.address, LOG_LINES)
        self._release(env, member)
        self.watched.failed[member.name] = (
            f"the upgrade of {member.name} to {target} failed on the node: it has booted again, into the version before"
        )

    def _release(self, env: Env, member: Member) -> None:
        """Take our cordon and our note back."""
        if in_place.is_cordoned_by_us(member.node):
            env.workload.patch("v1", "Node", member.name, "", in_place.uncordoning())
        self._end_note(env, member)

    def _note(self, env: Env, member: Member, mark: Mark) -> None:
        if member.machine is None:
            raise StepFailed(f"node {member.name} has no Machine", hint="`tallship status` shows its servers")
        change = in_place.marking(member.machine, mark)
        env.home.patch(*MACHINE, conditions.name(member.machine), "default", change)

    def _end_note(self, env: Env, member: Member) -> None:
        machine = env.home.find(*MACHINE, conditions.name(member.machine or {}), "default")
        if machine is not None:
            env.home.patch(*MACHINE, conditions.name(machine), "default", in_place.unmarking(machine))

    def _seconds_since(self, env: Env, what: str) -> float:
        return env.clock.now() - self.watched.since.setdefault(what, env.clock.now())


@dataclass(frozen=True)
class InPlaceAllowed(Step[Env]):
    """A node can be spared for its upgrade now, or upgrades have begun already, or none is needed."""

    name: ClassVar[str] = "in-place-allowed"
    title: ClassVar[str] = "Check that a node can be spared"
    timeout: ClassVar[float] = 2 * SETTLING_SECONDS
    interval: ClassVar[float] = 5

    upgrade: TalosUpgradedInPlace

    def probe(self, env: Env) -> Seen:
        """See what the upgrade sees, and be content with everything that it could go on from."""
        if has_providers(env) and any(map(in_place.mark_of, list_machines(env))):
            return Seen(State.READY, "it has begun: this run goes on with it")
        seen = self.upgrade.probe(env)
        return Seen(State.READY, seen.detail) if seen.state is State.MISSING else seen


def _refusal(env: Env, fleet: Fleet, running: dict[str, str]) -> Seen | None:
    """Return why no node is upgraded whatever happens, or None."""
    if is_paused(env):
        told = "the Cluster is paused: somebody moves it, or works on it"
        return Seen(State.BROKEN, told, hint="`tallship pivot` finishes a move; else whoever paused it ends the pause")
    target = env.spec.talos.version
    known = {name: version for name, version in running.items() if version}
    found = in_place.refusals(known, [in_place.kubelet_version(each.node) for each in fleet.members], target)
    if found:
        return Seen(State.BROKEN, "; ".join(found), hint="choose another Talos version; nothing was changed")
    if len(fleet.control_planes) == 2:
        told = "with two members etcd can spare none, and Talos refuses the upgrade"
        return Seen(State.BROKEN, told, hint="scale to 3 control planes first")
    return None


def _in_order(outdated: list[Member], leading: str) -> list[Member]:
    """Return nodes in the order of their upgrade: control planes, etcd's leader as the last of them, then workers."""
    return sorted(outdated, key=lambda each: (not each.is_control_plane, each.name == leading, each.name))


def _stage(env: Env, member: Member) -> MachineStage:
    found = env.talos.stage([member.address])[member.address]
    if isinstance(found, ApiError):
        raise found
    return found


def _tag(found: Version | ApiError) -> str:
    return found.tag if isinstance(found, Version) else ""
