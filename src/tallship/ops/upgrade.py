"""What must hold before a cluster's versions change, and the change of the cluster file that says so."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

from tallship import versions
from tallship.engine import Seen, State, Step
from tallship.env import Env
from tallship.errors import ManyErrors, SetupError, SpecError, StepFailed, TallshipError
from tallship.manifests import conditions
from tallship.manifests.rollout import replaces_machines
from tallship.ops import workers
from tallship.ops.cluster import control_plane, find_control_plane, has_providers, is_paused, load_balancer_address
from tallship.ops.in_place_nodes import outdated
from tallship.ops.nodes import etcd_problems
from tallship.ops.server_choice import chosen
from tallship.spec import Spec, changed, edit_spec, load_spec
from tallship.spec.edit import Changes
from tallship.spec.load import dotted

Document = dict[str, Any]

SETTLING = timedelta(minutes=5)
"""How long a node may take from its first sign until it and its etcd are well."""
SPREAD_LIMIT = 10
"""Hetzner: servers in one placement group of type spread."""


@dataclass(frozen=True)
class ChangeAllowed(Step[Env]):
    """Nothing known speaks against replacing or upgrading servers now. Everything that does is told at once."""

    name: ClassVar[str] = "change-allowed"
    title: ClassVar[str] = "Check that the change is safe now"
    timeout: ClassVar[float] = 300

    makes_servers: bool = True
    """True when new servers are made for it."""

    def probe(self, env: Env) -> Seen:
        """Raise all findings together, or find nothing; a change that has begun already is only gone on with."""
        if not has_providers(env):
            raise SetupError("the management cluster does not answer", hint="`tallship status` shows where it is")
        plane = find_control_plane(env)
        if plane is None or not conditions.initialized(plane):
            raise SetupError(f"there is no cluster `{env.spec.name}` yet", hint="`tallship up` makes it")
        if is_paused(env):
            raise StepFailed(
                "the Cluster is paused: no controller works on it",
                hint="`tallship pivot` finishes a move; else whoever paused it ends the pause",
            )
        found = [*steps(env, plane)]
        wanted = control_plane(env, load_balancer_address(env))
        nodes = [each for each in env.workload.list("v1", "Node") if conditions.is_control_plane(each)]
        is_counting = len(nodes) != plane["spec"]["replicas"] != wanted["spec"]["replicas"]
        same_number = plane["spec"]["replicas"] == wanted["spec"]["replicas"]
        replaces = replaces_machines(plane, wanted)
        has_begun = not replaces and (same_number or is_counting)
        if not has_begun:
            unwell = [*health(env, plane, nodes)]
            if unwell and (fresh := just_joined(env, nodes)):
                return Seen(State.WORKING, f"{unwell[0].message}; {', '.join(fresh)} joined a moment ago")
            found += unwell
            found += room(env, bool(replaces)) if self.makes_servers else ()
        if len(found) == 1:
            raise found[0]
        if found:
            raise ManyErrors(found)
        return Seen(State.READY, "it has begun: this run goes on with it" if has_begun else "")


def steps(env: Env, plane: Document) -> Iterator[TallshipError]:
    """Yield an error for each version that cannot be reached from what the control plane is made of now."""
    spec = env.spec
    config = plane["spec"]["controlPlaneConfig"]["controlplane"]
    for problem in (
        versions.check_kubernetes_step(plane["spec"]["version"], spec.kubernetes.version),
        versions.check_talos_step(config.get("talosVersion") or spec.talos.version, spec.talos.version),
    ):
        if problem is not None:
            yield StepFailed(problem.message, hint=problem.hint)


def health(env: Env, plane: Document, nodes: list[Document]) -> Iterator[TallshipError]:
    """Yield an error for each node or etcd member that is not well, and for a change that is still under way."""
    replicas = plane["spec"]["replicas"]
    hint = "`tallship status` shows it; `tallship diagnose` looks for the cause"
    if len(nodes) != replicas or plane.get("status", {}).get("replicas", replicas) != replicas:
        what = f"another change is under way: there are {len(nodes)} of {replicas} control plane nodes"
        yield StepFailed(what, hint="`tallship up` waits until it is done")
        return
    if waiting := [line for node in nodes for line in conditions.why_node_waits(node)]:
        yield StepFailed("not every node is ready", detail="\n".join(waiting), hint=hint)
    addresses = [conditions.internal_ip(node) for node in nodes]
    sick = etcd_problems(env.talos, addresses, replicas)
    sick += [f"etcd raises the alarm {each.kind}" for each in (env.talos.alarms(addresses[0]) if not sick else ())]
    if sick:
        yield StepFailed("etcd has no member to spare", detail="\n".join(sick), hint=hint)


def just_joined(env: Env, nodes: list[Document]) -> list[str]:
    """Return the nodes that are so young that what is not well yet may become so, as after a run that was killed."""
    youngest = env.clock.today() - SETTLING
    return [
        conditions.name(each)
        for each in nodes
        if datetime.fromisoformat(each["metadata"]["creationTimestamp"]) > youngest
    ]


def room(env: Env, replaces: bool) -> Iterator[TallshipError]:
    """Yield an error when one more server cannot be had: its type is sold out, or its placement group is full.

    `replaces`: the workers are replaced, too, after the control plane.
    """
    spec = env.spec
    needed = {(chosen(env), spec.hetzner.location): "name others in `control_plane.fallback_types`"}
    for pool in spec.workers if replaces else ():
        key = (pool.server_type, pool.location or spec.hetzner.location)
        needed.setdefault(key, f"give pool `{pool.name}` another type, which replaces its servers")
    for (wanted, location), other in needed.items():
        found = env.hetzner.find_server_type(wanted)
        if found is None or location not in found.available_in:
            where = ", ".join(sorted(found.available_in)) if found else ""
            yield StepFailed(
                f"`{wanted}` is sold out in {location} now",
                detail=f"available in: {where or 'nowhere'}",
                hint=f"wait, or {other}",
            )
    if env.spec.control_plane.replicas + 1 > SPREAD_LIMIT:
        yield StepFailed(
            f"a placement group holds {SPREAD_LIMIT} servers, and one more is needed while they are replaced",
            hint="scale to 9 control planes first",
        )


@dataclass(frozen=True)
class FileSays(Step[Env]):
    """The cluster file says these values, every other byte as it was."""

    name: ClassVar[str] = "cluster-file"
    title: ClassVar[str] = "Write it into the cluster file"

    path: Path
    changes: Changes

    def probe(self, env: Env) -> Seen:
        """Read the file, and heed what somebody has written into it since the command began."""
        now = self._read(env)
        if overtaken := self._overtaken(env, now):
            hint = "run the same command again: it begins with the file as it is now"
            told = f"{self.path} was changed since this began: {'; '.join(overtaken)}"
            return Seen(State.BROKEN, told, hint=hint)
        others = changed.differing(env.written, now) if env.written else []
        places = [dotted(keys) for keys in others if keys not in self.changes]
        beside = (
            f"; {', '.join(places)} was changed in it since this began: `tallship up` makes it so" if places else ""
        )
        different = {keys: value for keys, value in self.changes.items() if changed.value(now, keys) != value}
        if not different:
            return Seen(State.READY, f"{self.path}{beside}")
        text = ", ".join(f"{dotted(keys)}: {value}" for keys, value in different.items())
        return Seen(State.MISSING, change=f"write {text} into {self.path}{beside}")

    def act(self, env: Env, seen: Seen) -> None:
        """Write all values at once, or nothing."""
        edit_spec(self.path, self.changes)

    def _read(self, env: Env) -> Spec:
        try:
            return load_spec(self.path)
        except SpecError as error:
            if env.written is None:
                raise
            hint = f"somebody has changed it since this began; {error.hint}"
            raise SpecError(error.message, detail="nothing was changed", hint=hint) from error

    def _overtaken(self, env: Env, now: Spec) -> list[str]:
        """Return which values that are to be written somebody has set otherwise, or moved to another place."""
        if env.written is None:
            return []
        items = [
            (*keys[: at + 1], "name") for keys in self.changes for at, key in enumerate(keys) if isinstance(key, int)
        ]
        found = []
        for keys in (*self.changes, *items):
            then, is_now = changed.value(env.written, keys), changed.value(now, keys)
            if is_now not in (then, self.changes.get(keys, then)):
                found.append(f"{dotted(keys)} was {then}, and is {'gone' if is_now is changed.ABSENT else is_now}")
        return found


@dataclass(frozen=True)
class Consequence:
    """What a change of the file does to servers that are there."""

    reasons: tuple[str, ...]
    """Why servers are replaced; nothing when none is."""
    replaced: tuple[str, ...]
    """The nodes that go, in no order."""
    before: int
    after: int
    """How many control planes there are, and will be."""
    rebooted: tuple[str, ...] = ()
    """The nodes that are upgraded in place, in no order."""
    workers: tuple[str, ...] = ()
    """What happens to the servers of pools, a line each."""

    @property
    def is_nothing(self) -> bool:
        """True when no server comes or goes."""
        return not self.reasons and self.before == self.after and not self.workers

    def lines(self) -> list[str]:
        """Say it to a person who is asked."""
        told = [*self.reasons]
        if self.replaced:
            told.append(f"replaced one by one, each by a new server: {', '.join(self.replaced)}")
        if self.rebooted:
            told.append(f"upgraded in place and rebooted, one after another: {', '.join(self.rebooted)}")
        if self.before != self.after:
            told.append(f"{self.before} control planes become {self.after}, one at a time")
        return [*told, *self.workers]


def consequence(env: Env) -> Consequence:
    """Return what making the file true would do to servers that are there. Raises SetupError without a cluster."""
    plane = find_control_plane(env) if has_providers(env) else None
    if plane is None:
        raise SetupError(f"there is no cluster `{env.spec.name}` yet", hint="`tallship up` makes it")
    wanted = control_plane(env, load_balancer_address(env))
    reasons = tuple(replaces_machines(plane, wanted))
    nodes = [each for each in env.workload.list("v1", "Node") if conditions.is_control_plane(each)] if reasons else []
    names = tuple(sorted(conditions.name(each) for each in nodes))
    pools = tuple(workers.look(env).losses(env))
    before, after = int(plane["spec"]["replicas"]), int(wanted["spec"]["replicas"])
    return Consequence(reasons, names, before, after, workers=pools)


def consequence_in_place(env: Env) -> Consequence:
    """Return what upgrading Talos in place does to the cluster's nodes. Raises SetupError without a cluster."""
    plane = find_control_plane(env) if has_providers(env) else None
    if plane is None:
        raise SetupError(f"there is no cluster `{env.spec.name}` yet", hint="`tallship up` makes it")
    found, replicas = outdated(env), int(plane["spec"]["replicas"])
    versions_there = sorted({version for version in found.values() if version})
    reasons = tuple(f"Talos {each} becomes {env.spec.talos.version}" for each in versions_there)
    return Consequence(reasons, (), replicas, replicas, rebooted=tuple(sorted(found)))
