"""Control plane servers are replaced one by one: watched, with a deadline for each, until all are as they should be."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from tallship.engine import Seen, State, Step
from tallship.env import Env
from tallship.errors import ApiError, TimedOut
from tallship.manifests import access, cluster, conditions, deadlock
from tallship.manifests.roll import Roll, look
from tallship.ops import nudges, server_choice
from tallship.ops.access import TalosconfigWritten
from tallship.ops.cluster import (
    APPLY_CONTROL_PLANE,
    DIAGNOSE,
    ClusterApplied,
    find_control_plane,
    find_hetzner_cluster,
    has_providers,
    load_balancer_address,
    running_unseen,
    with_pause,
)
from tallship.ops.kinds import HCLOUD_MACHINE, MACHINE, TALOS_CONFIG
from tallship.spec.names import CONTROL_PLANE_LABEL

Document = dict[str, Any]

SERVER_SECONDS = 1800.0
"""How long one server may take to come or to go: a boot, an etcd that catches up, a deletion."""
STUCK_SECONDS = 60.0
"""How long a Machine must be seen out of etcd before it is taken for forgotten: leaving takes CACPPT seconds."""
DELETE, TAKE = "delete Machine ", "take "
SOLD_OUT = "resource_unavailable"
"""Hetzner API: the error of an order for what cannot be had."""


@dataclass(frozen=True)
class Watched:
    """What a roll-out's watcher remembers within one run."""

    since: dict[str, float] = field(default_factory=dict)
    """When each state was first seen."""
    members: dict[str, str] = field(default_factory=dict)
    """What etcd said of its members when each state was first seen."""


@dataclass(frozen=True)
class ControlPlaneRolledOut(Step[Env]):
    """Every control plane Machine is what the control plane document says, and there are as many as it says."""

    name: ClassVar[str] = "roll-out"
    title: ClassVar[str] = "Replace servers that are out of date"
    timeout: ClassVar[float] = 9 * SERVER_SECONDS
    interval: ClassVar[float] = 5

    is_last: bool = True
    """False where the document will not be what the cluster file says until a later step."""
    watched: Watched = field(default_factory=Watched, compare=False)

    def probe(self, env: Env) -> Seen:
        """Compare the Machines with the document; find one that nobody will come back to."""
        if not has_providers(env):
            return Seen(State.BLOCKED, "needs `capi-init` first")
        plane = find_control_plane(env)
        if plane is None or not conditions.initialized(plane):
            return Seen(State.BLOCKED, "needs `wait-cp` first")
        machines = list_machines(env)
        servers = env.home.list(*HCLOUD_MACHINE, "default")
        roll = look(plane, machines, servers, env.home.list(*TALOS_CONFIG, "default"))
        through_them = not env.spec.load_balancer.talos_api  # else it is written once, at the end
        if (roll.is_done or through_them) and (stale := self._stale_talosconfig(env, machines)) is not None:
            return stale
        if roll.is_done:
            return self._see_changed(env) or Seen(State.READY, f"all {len(roll.current)} servers are up to date")
        for name, why in roll.failed.items():
            return Seen(State.MISSING, roll.text, f"{DELETE}{name}, whose server will never serve: {why}")
        if (stuck := self._stuck(env, plane, machines)) and self._is_old(env, f"stuck {stuck}", STUCK_SECONDS):
            why = "it has left etcd, and CACPPT v0.5.12 does not come back to it (#237)"
            return Seen(State.MISSING, roll.text, f"{DELETE}{stuck}: {why}")
        if (other := _take_another(env, machines, servers)) is not None:
            return Seen(State.MISSING, "; ".join([roll.text, *_unmade(servers)]), other)
        self._heed_deadline(env, roll)
        told = "; ".join([roll.text, *self._members(env, roll, machines), *_unmade(servers)])
        seen = nudges.see(told, nudges.News("CAPH", find_hetzner_cluster(env), running_unseen(env, servers)))
        return with_pause(env, seen)

    def act(self, env: Env, seen: Seen) -> None:
        """Delete exactly the Machine that is named, write the talosconfig, or tell CAPH."""
        if seen.change.startswith(TAKE):
            words = seen.change.split()
            _take(env, words[1], words[-1])
        elif seen.change.startswith(DELETE):
            name = seen.change.removeprefix(DELETE).split(",")[0].split(":")[0]
            env.home.delete(*MACHINE, name, "default")
        elif nudges.is_news(seen):
            nudges.tell(env, seen)
        else:
            TalosconfigWritten().act(env, seen)
            env.look_again()

    def explain(self, env: Env) -> list[str]:
        """Return what the controllers say of the control plane and of each Machine and server."""
        plane = find_control_plane(env)
        objects = [plane] if plane else []
        objects += list_machines(env) + env.home.list(*HCLOUD_MACHINE, "default")
        return [line for each in objects for line in conditions.why_not_ready(each)]

    def _see_changed(self, env: Env) -> Seen | None:
        """Return that the document is not what the cluster file says any more, or None."""
        seen = ClusterApplied().see_control_plane(env, load_balancer_address(env)) if self.is_last else None
        if seen is None or seen.state is State.READY:
            return None
        hands = seen.change.removeprefix(APPLY_CONTROL_PLANE).removeprefix(", ")
        return Seen(State.BLOCKED, f"needs `apply` first: {hands or seen.detail}", hint=seen.hint)

    def _stale_talosconfig(self, env: Env, machines: list[Document]) -> Seen | None:
        """Return how the talosconfig changes with the servers: it names them."""
        if not env.talosconfig.exists():
            return None
        seen = TalosconfigWritten().probe(env)
        if seen.state is not State.MISSING:
            return None
        nodes = ", ".join(access.node_addresses(machines).internal)
        return Seen(State.MISSING, seen.detail, f"name {nodes} in the talosconfig")

    def _stuck(self, env: Env, plane: Document, machines: list[Document]) -> str | None:
        """Return the Machine that has left etcd and that nobody will delete; asked only when etcd is not well."""
        healthy = conditions.find_condition(plane, "EtcdClusterHealthyCondition")
        if healthy is None or healthy.get("status") == "True" or not env.talosconfig.exists():
            return None
        addresses = access.node_addresses(machines).internal
        try:
            members = env.talos.members(addresses[0]) if addresses else []
        except ApiError:
            return None
        return deadlock.stuck_machine(machines, members, env.talos.services(addresses))

    def _members(self, env: Env, roll: Roll, machines: list[Document]) -> list[str]:
        """Return how many members etcd has: asked once before and after each server that comes or goes."""
        if roll.text not in self.watched.members:
            addresses = access.node_addresses(machines).internal
            try:
                found = env.talos.members(addresses[0]) if addresses and env.talosconfig.exists() else []
            except ApiError:
                return []  # a server on its way: the next look asks again
            learning = sum(each.is_learner for each in found)
            also = f", {learning} of them learning" if learning else ""
            self.watched.members[roll.text] = f"etcd has {len(found)} members{also}" if found else ""
        return [each for each in (self.watched.members[roll.text],) if each]

    def _heed_deadline(self, env: Env, roll: Roll) -> None:
        """Raise TimedOut when one and the same server has been coming or going for too long."""
        state = roll.text
        if self._is_old(env, state, SERVER_SECONDS):
            raise TimedOut(
                f"nothing has changed for {SERVER_SECONDS / 60:.0f} minutes: {state}",
                detail="\n".join(self.explain(env)),
                hint=DIAGNOSE,
            )

    def _is_old(self, env: Env, state: str, seconds: float) -> bool:
        return env.clock.now() - self.watched.since.setdefault(state, env.clock.now()) >= seconds


def list_machines(env: Env) -> list[Document]:
    """Return the Machines of the control plane."""
    return env.home.list(*MACHINE, "default", f"{CONTROL_PLANE_LABEL}=")


def _take_another(env: Env, machines: list[Document], servers: list[Document]) -> str | None:
    """Return which type to take for a Machine whose server is sold out, when the cluster file names one that is not.

    A server of a type that was passed over already, and a Machine that is going, say nothing more.
    """
    types = env.spec.control_plane.types
    refused = {conditions.name(each): each for each in servers if SOLD_OUT in " ".join(_unmade([each]))}
    waiting = {
        conditions.name(each): refused[each["spec"]["infrastructureRef"]["name"]]["spec"]["type"]
        for each in machines
        if each["spec"]["infrastructureRef"]["name"] in refused
        and not each["metadata"].get("deletionTimestamp")
        and not (each.get("status") or {}).get("nodeRef")
    }
    if not waiting or len(types) == 1:
        return None
    current = server_choice.chosen(env)
    name = next((machine for machine, its in waiting.items() if its == current), None)
    later = types[types.index(current) + 1 :] if current in types else ()
    other = next(server_choice.available(env, later), None) if name else None
    return f"{TAKE}{other} for {current}, which is sold out; delete Machine {name}" if other else None


def _take(env: Env, server_type: str, machine: str) -> None:
    """Let the control plane be made of another type, and delete the Machine that cannot be: its place is filled."""
    spec = server_choice.with_type(env.spec, server_type)
    env.home.apply(cluster.machine_template(spec))
    wanted, live = cluster.control_plane(spec, load_balancer_address(env)), find_control_plane(env)
    env.home.apply(conditions.with_stored_patches(live, wanted) if live else wanted)
    env.home.delete(*MACHINE, machine, "default")


def _unmade(servers: list[Document]) -> list[str]:
    """Return what CAPH says of servers that it could not order."""
    found = [conditions.find_condition(each, "ServerCreateSucceeded") for each in servers]
    return sorted({str(each["message"]) for each in found if each and each.get("status") == "False"})
