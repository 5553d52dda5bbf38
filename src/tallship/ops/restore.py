"""A lost etcd is restored from a snapshot, on the machines that the cluster has.

What the Kubernetes API would remember is noted on the servers at Hetzner, so a run that was killed goes on: nothing is
wiped any more once a new etcd has been begun.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from tallship.engine import Flow, Seen, State, Step
from tallship.env import Env
from tallship.manifests import pivot, restore
from tallship.ops.kinds import CLUSTER
from tallship.ops.restore_etcd import EtcdRecovered, EtcdWhole, EtcdWiped, NodesBack, Source, first
from tallship.ops.restore_nodes import (
    BEGUN,
    NOTE,
    count_workers,
    leading,
    list_planes,
    note,
    silent,
    talos_of,
    unproven,
)
from tallship.ops.sides import outside


@dataclass(frozen=True)
class RestoreAllowed(Step[Env]):
    """The snapshot is whole, etcd has no quorum, every control plane answers, and each server has a note of it."""

    name: ClassVar[str] = "restore-checks"
    title: ClassVar[str] = "Check that etcd is lost"
    timeout: ClassVar[float] = 120
    interval: ClassVar[float] = 5

    source: Source

    def probe(self, env: Env) -> Seen:
        """Verify the snapshot, then ask each machine for what it knows of a leader."""
        if not env.talosconfig.exists() or not env.kubeconfig.exists():
            return Seen(State.BLOCKED, "there is no talosconfig or no kubeconfig", hint=_ACCESS)
        told, planes = self.source.verified.told, list_planes(env)
        if not planes:
            hint = "`tallship up` makes servers; a restore needs the machines that have the cluster's keys"
            return Seen(State.BROKEN, "the cluster has no control plane's server at Hetzner", hint=hint)
        if first(planes, self.source.hash):
            return Seen(State.READY, "goes on with a restore that was begun")
        talos = talos_of(env, planes)
        if found := leading(talos, planes):
            hint = "`tallship status` shows what is wrong; a member that is lost is replaced, not restored"
            return Seen(State.BROKEN, f"etcd has a quorum: {found} knows its leader; nothing was changed", hint=hint)
        if away := silent(talos, planes):
            hint = "switch it on; or delete its server at Hetzner if it is gone for good"
            return Seen(State.WORKING, f"Talos on {', '.join(away)} does not answer", hint=hint)
        if doubts := unproven(talos, planes):
            return Seen(State.WORKING, "; ".join(doubts), hint="`tallship status` and `tallship diagnose` show more")
        fresh = [each.name for each in planes if not each.is_noted(BEGUN, self.source.hash)]
        if fresh:
            return Seen(State.MISSING, told, f"note the restore on {', '.join(fresh)}")
        return Seen(State.READY, f"etcd has no quorum; the snapshot: {told}")

    def act(self, env: Env, seen: Seen) -> None:
        """Note it on every server."""
        for plane in list_planes(env):
            env.hetzner.put_labels(plane.resource, {NOTE: note(BEGUN, self.source.hash)})


class ClusterHeld(Step[Env]):
    """No controller outside the cluster works on it: else machines would be replaced in the middle."""

    name = "restore-pause"
    title = "Pause the Cluster"

    def probe(self, env: Env) -> Seen:
        """Look for the Cluster in the management cluster."""
        cluster = outside(env).cluster
        if cluster is None:
            return Seen(State.READY, "nobody outside the cluster works on it")
        if pivot.is_paused(cluster):
            return Seen(State.READY, "" if restore.is_held(cluster) else "somebody has paused it before")
        return Seen(State.MISSING, change="pause the Cluster")

    def act(self, env: Env, seen: Seen) -> None:
        """Pause it, and say by whom."""
        today = env.clock.today().strftime("%Y-%m-%dT%H:%M:%SZ")
        env.management.patch(*CLUSTER, env.spec.name, "default", restore.holding(today))


@dataclass(frozen=True)
class RestoreFinished(Step[Env]):
    """The controllers work again, and no server has a note of a restore."""

    name: ClassVar[str] = "restore-finish"
    title: ClassVar[str] = "Let the controllers go on"

    def probe(self, env: Env) -> Seen:
        """Look for our pause and our notes."""
        cluster = outside(env).cluster
        if cluster is not None and restore.is_held(cluster):
            return Seen(State.MISSING, change="end the pause of the Cluster")
        if noted := [each.name for each in list_planes(env) if NOTE in each.resource.labels]:
            return Seen(State.MISSING, change=f"take the notes off {', '.join(noted)}")
        told = ["the Cluster stays paused, as it was before"] if cluster and pivot.is_paused(cluster) else []
        if workers := count_workers(env):
            told.append(
                f"on {workers} worker{'s' * (workers > 1)} the kubelet and Cilium may watch from before: {_AGAIN}"
            )
        return Seen(State.READY, "; ".join(told))

    def act(self, env: Env, seen: Seen) -> None:
        """End the pause, then take the notes away."""
        if seen.change.startswith("end"):
            env.management.patch(*CLUSTER, env.spec.name, "default", restore.releasing())
            return
        for plane in list_planes(env):
            env.hetzner.drop_label(plane.resource, NOTE)


def flow(snapshot: Path) -> Flow[Env]:
    """Return the restore of a cluster whose etcd has lost its quorum, on the machines that it has."""
    source = Source(snapshot)
    return (
        RestoreAllowed(source),
        ClusterHeld(),
        EtcdWiped(source),
        EtcdRecovered(source),
        EtcdWhole(source),
        NodesBack(),
        RestoreFinished(),
    )


_AGAIN = "docs/restore.md tells how they are restarted"
_ACCESS = "both were written when the cluster was made; they are in its state folder"
