"""Moving Cluster API into the cluster itself. Interrupted anywhere, the same steps go on from what they find."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from tallship.adapters.kube import Kube
from tallship.engine import Seen, State, Step
from tallship.env import Env
from tallship.manifests import conditions, pivot
from tallship.ops import bootstrap, exports
from tallship.ops.kinds import CLUSTER, CONTROL_PLANE, HETZNER_CLUSTER, MACHINE, MACHINE_DEPLOYMENT
from tallship.ops.management import ProvidersInstalled
from tallship.ops.sides import MOVED, inside, moved_objects, outside
from tallship.spec.names import HETZNER_SECRET

UNPAUSE_HINT = "whoever paused it should finish; then set `spec.paused` of the Cluster to false, and run this again"


class PivotAllowed(Step[Env]):
    """A move may begin or go on: everything is made, nothing is rolling, and no other hand has paused it."""

    name = "pivot-checks"
    title = "Check that the move may begin"
    timeout = 900
    interval = 6

    def probe(self, env: Env) -> Seen:
        """Look at both sides, then at every object."""
        if not env.kubeconfig.exists():
            return Seen(State.BLOCKED, "there is no cluster yet", hint="`tallship up` makes it")
        here, there = outside(env), inside(env)
        if here.cluster is None and there.cluster is None:
            return Seen(State.BLOCKED, "there is no cluster yet", hint="`tallship up` makes it")
        if there.is_active and here.cluster is not None:
            return Seen(
                State.BROKEN,
                "Cluster API's objects are on both sides, and controllers may be at work on both",
                hint=f"`kubectl --kubeconfig {env.management_kubeconfig}`: pause its Cluster; keep the newer side",
            )
        if there.is_active:
            return Seen(State.READY, "the cluster manages itself")
        paused = here if here.cluster is not None else there
        if paused.is_paused and not paused.is_moving:
            return Seen(State.BROKEN, "the Cluster is paused, and not by a move of ours", hint=UNPAUSE_HINT)
        if paused.is_paused:
            return Seen(State.READY, "goes on with a move that was interrupted")
        return self._see_whole(env)

    def explain(self, env: Env) -> list[str]:
        """Return what is on which side."""
        return [
            f"{where}: {', '.join(pivot.names(moved_objects(kube))) or 'nothing'}"
            for where, kube in (("management cluster", env.management), ("the cluster itself", env.workload))
        ]

    def _see_whole(self, env: Env) -> Seen:
        kube, spec = env.management, env.spec
        cluster = kube.find(*CLUSTER, spec.name, "default") or {"spec": {}}
        why = pivot.why_not_yet(
            cluster,
            kube.find(*CONTROL_PLANE, spec.names.control_plane, "default"),
            kube.list(*MACHINE, "default"),
            kube.find("v1", "Secret", HETZNER_SECRET, "default"),
            kube.list(*MACHINE_DEPLOYMENT, "default"),
        )
        providers = ProvidersInstalled().probe(env)
        if providers.state is not State.READY:
            why.append(providers.detail or f"the management cluster does not have what it moves to: {providers.change}")
        if not pivot.room(env.workload.list("v1", "Node")):
            why.append("no node takes new Pods")
        return Seen(State.WORKING, "; ".join(why)) if why else Seen(State.READY)


class ManagementExported(Step[Env]):
    """What will be moved is saved before, in a private folder of this machine."""

    name = "pivot-export"
    title = "Save what will be moved"

    def probe(self, env: Env) -> Seen:
        """Look for an export of this Cluster that is young enough."""
        if env.programs.clusterctl_is_running():
            return Seen(State.WORKING, "clusterctl is at it")
        here, there = outside(env), inside(env)
        if there.cluster is not None:
            return Seen(State.READY, "the move has begun")
        if here.cluster is None:
            return Seen(State.BLOCKED, "needs `pivot-checks` first")
        found = exports.newest(env, here.cluster["metadata"]["uid"])
        if found is not None and abs(found.age(env.clock.today())) < exports.FRESH_SECONDS:
            return Seen(State.READY, f"saved as {found.folder.name}")
        return Seen(State.MISSING, change=f"export Cluster API's objects to {exports.root(env)}")

    def act(self, env: Env, seen: Seen) -> None:
        """Let clusterctl write every object into a folder; it pauses the Cluster meanwhile."""
        note_move(env, env.management)
        exports.make(env)


class ProvidersInstalledInside(ProvidersInstalled):
    """Cluster API and its providers are there at the same versions in the cluster itself, and available."""

    name = "pivot-init"
    title = "Install Cluster API in the cluster"

    def api(self, env: Env) -> Kube:
        """Return the cluster's own API."""
        return env.workload

    def is_up(self, env: Env) -> bool:
        """True when the cluster's API answers. Raises Unreachable when it is there and silent."""
        return env.kubeconfig.exists() and env.workload.find("v1", "Namespace", "default") is not None

    def target(self, env: Env) -> tuple[Path, str | None]:
        """Return its kubeconfig."""
        return env.kubeconfig, None


class ObjectsMoved(Step[Env]):
    """Every Cluster API object is in the cluster, none is outside, and the controllers may begin."""

    name = "pivot-move"
    title = "Move Cluster API's objects"
    timeout = 900

    def probe(self, env: Env) -> Seen:
        """Look where the Cluster is: it is made first, and deleted last."""
        if env.programs.clusterctl_is_running():
            return Seen(State.WORKING, "clusterctl is at it")
        here, there = outside(env), inside(env)
        if here.cluster is not None and not there.is_active:
            return Seen(State.MISSING, change="move Cluster API's objects into the cluster")
        if there.is_paused and there.is_moving:
            return Seen(State.MISSING, change="let the controllers in the cluster begin")
        if there.is_active and here.cluster is None:
            return Seen(State.READY)
        return Seen(State.BLOCKED, "needs `pivot-checks` first")

    def act(self, env: Env, seen: Seen) -> None:
        """Run `clusterctl move`, or do its last act where it was killed before that."""
        if seen.change.startswith("let"):
            env.workload.patch(*CLUSTER, env.spec.name, "default", {"spec": {"paused": None}})
        else:
            note_move(env, env.management)
            env.programs.clusterctl_move(env.management_kubeconfig, env.kubeconfig, env.spec.management.context)
        env.look_again()

    def explain(self, env: Env) -> list[str]:
        """Return what is on which side."""
        return PivotAllowed().explain(env)


class MoveProven(Step[Env]):
    """Everything that was saved is in the cluster, nothing is left outside, and the controllers there work on it."""

    name = "pivot-proof"
    title = "Prove that the cluster manages itself"
    timeout = 900
    interval = 4

    def probe(self, env: Env) -> Seen:
        """Compare with the export, then look for what only the new controllers can have written."""
        there = inside(env)
        if there.cluster is None or not there.is_active:
            return Seen(State.BLOCKED, "needs `pivot-move` first")
        kube, spec = env.workload, env.spec
        machines = kube.list(*MACHINE, "default")
        idle = pivot.why_idle(
            kube.find(*HETZNER_CLUSTER, spec.name, "default"),
            kube.find(*CONTROL_PLANE, spec.names.control_plane, "default"),
            machines,
        )
        if idle:
            return Seen(State.WORKING, idle)
        if not there.is_moving:
            return Seen(State.READY, f"{len(machines)} machines")
        lost = exports.missing(env, moved_objects(kube), (kind for _, kind in MOVED))
        if lost:
            hint = f"the export in {exports.root(env)} has them; do not run `tallship clean`"
            return Seen(State.BROKEN, f"not in the cluster after the move: {', '.join(lost)}", hint=hint)
        return Seen(State.MISSING, change="note that the move is over")

    def act(self, env: Env, seen: Seen) -> None:
        """Take the note of the move away."""
        env.workload.patch(*CLUSTER, env.spec.name, "default", {"metadata": {"annotations": {pivot.MOVING: None}}})

    def explain(self, env: Env) -> list[str]:
        """Return what the controllers in the cluster say."""
        return [line for each in moved_objects(env.workload) for line in conditions.why_not_ready(each)][:12]


@dataclass(frozen=True)
class BootstrapDeleted(Step[Env]):
    """The bootstrap cluster is gone, after it was seen to manage nothing."""

    name: ClassVar[str] = "clean"
    title: ClassVar[str] = "Delete the bootstrap cluster"

    is_given_up: bool = False
    """The person says that it will not come back, whatever it managed."""

    def probe(self, env: Env) -> Seen:
        """Look whether it is there, and whether anybody still needs it."""
        cluster = bootstrap.of(env)
        if cluster is None:
            return Seen(State.READY, "the management cluster is your own: it stays")
        if not cluster.exists():
            return Seen(State.READY, f"there is no {cluster.title.removeprefix('the ')}")
        if self.is_given_up:
            return Seen(State.MISSING, change=f"delete {cluster.title}")
        if env.management_kubeconfig.exists() and env.answers(env.management):
            owned = [each["metadata"]["name"] for each in env.management.list(*CLUSTER)]
            if owned:
                why = f"{cluster.title} still manages {', '.join(owned)}"
                return Seen(State.BROKEN, why, hint="`tallship pivot` moves it into the cluster first")
        elif not env.manages_itself:
            why = f"{cluster.title} does not answer: nobody knows what it manages"
            return Seen(State.BROKEN, why, hint="`tallship up --only kind-create` starts it")
        return Seen(State.MISSING, change=f"delete {cluster.title}")

    def act(self, env: Env, seen: Seen) -> None:
        """Delete it, and its kubeconfig."""
        cluster = bootstrap.of(env)
        if cluster is not None:
            cluster.delete()


def note_move(env: Env, kube: Kube) -> None:
    """Write on the Cluster that a move of ours begins, so that whoever finds it paused knows by whom."""
    note = {"metadata": {"annotations": {pivot.MOVING: env.clock.today().strftime("%Y-%m-%dT%H:%M:%SZ")}}}
    kube.patch(*CLUSTER, env.spec.name, "default", note)
