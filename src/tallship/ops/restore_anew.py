"""A lost cluster is made again in an empty project: new servers with the old keys, and etcd from a snapshot.

The control plane provider would begin an empty etcd as soon as its servers answer. So it is held back from the moment
when all Machines exist until one server has the restored etcd; from then on it finds one, and begins none.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from tallship.engine import Flow, Seen, State, Step, select, steps
from tallship.env import Env
from tallship.errors import SetupError, Unreachable
from tallship.manifests import access, bundle, conditions, restore
from tallship.ops.access import KubeconfigWritten, TalosconfigWritten, stored
from tallship.ops.cluster import (
    APPLY_CONTROL_PLANE,
    ClusterApplied,
    find_control_plane,
    has_providers,
    list_control_planes,
)
from tallship.ops.kinds import CLUSTER, CONTROL_PLANE
from tallship.ops.restore_etcd import EtcdRecovered, EtcdWhole, EtcdWiped, NodesBack, Source, first
from tallship.ops.restore_management import LostManagementRemoved
from tallship.ops.restore_nodes import BEGUN, NOTE, list_planes, note, silent, talos_of


@dataclass(frozen=True)
class Secrets:
    """The secrets that every machine of the lost cluster was made from; read once."""

    file: Path

    @cached_property
    def text(self) -> str:
        """The bundle, as Cluster API's bootstrap provider stores it. Raises SetupError."""
        try:
            text = self.file.read_text(encoding="utf-8")
            bundle.read(text)
        except (OSError, UnicodeDecodeError, bundle.Unreadable) as error:
            raise SetupError(f"`{self.file}` is no secrets bundle: {error}", hint=_BACKUP) from error
        return text


@dataclass(frozen=True)
class AnewAllowed(Step[Env]):
    """Snapshot and secrets are whole, and the project holds no server of such a cluster, or those of this restore."""

    name: ClassVar[str] = "anew-checks"
    title: ClassVar[str] = "Check what it is made from"

    source: Source
    secrets: Secrets

    def probe(self, env: Env) -> Seen:
        """Verify both files, then look for what would be in the way."""
        told, _ = self.source.verified.told, self.secrets.text
        if is_under_way(env, self.source):
            return Seen(State.READY, "goes on with a restore that was begun")
        if servers := env.hetzner.list_servers(env.spec.names.owned_by_caph):
            names = ", ".join(sorted(each.name for each in servers))
            hint = "a lost quorum is restored on the servers that there are; delete them if they are gone for good"
            return Seen(State.BROKEN, f"the project already holds servers of this cluster: {names}", hint=hint)
        if has_providers(env) and find_control_plane(env) is not None:
            hint = "`tallship destroy` ends it; nothing was changed"
            return Seen(State.BROKEN, "the management cluster already holds this cluster's control plane", hint=hint)
        return Seen(State.READY, told)


@dataclass(frozen=True)
class SecretsGiven(Step[Env]):
    """The bootstrap provider finds the old secrets, and makes no others."""

    name: ClassVar[str] = "anew-secrets"
    title: ClassVar[str] = "Give Cluster API the old secrets"

    secrets: Secrets

    def probe(self, env: Env) -> Seen:
        """Compare the Secret, and the authority that may have been made of another one."""
        if not has_providers(env):
            return Seen(State.BLOCKED, "needs `capi-init` first")
        names, text = env.spec.names, self.secrets.text
        authority, _ = bundle.authority(bundle.read(text))
        found = (stored(env, names.talos_secret, "bundle"), stored(env, names.ca_secret, "tls.crt"))
        if found[0] not in (None, text) or found[1] not in (None, authority):
            hint = f"delete Secrets {names.talos_secret} and {names.ca_secret} if no cluster of this name is left"
            return Seen(State.BROKEN, "the management cluster holds other secrets for this cluster", hint=hint)
        return Seen(State.READY) if found[0] else Seen(State.MISSING, change=f"apply Secret {names.talos_secret}")

    def act(self, env: Env, seen: Seen) -> None:
        """Apply the Secret."""
        env.home.apply(restore.secrets(env.spec.names, self.secrets.text))


@dataclass(frozen=True)
class ClusterAppliedAnew(ClusterApplied):
    """Every document is applied, and the Cluster says that it is being restored before its control plane is there."""

    name: ClassVar[str] = "anew-apply"

    source: Source

    def act(self, env: Env, seen: Seen) -> None:
        """Apply what is known by now; note the restore before there can be a machine."""
        if seen.change.startswith(APPLY_CONTROL_PLANE):
            env.home.patch(*CLUSTER, env.spec.name, "default", restore.noting(self.source.hash))
        super().act(env, seen)


@dataclass(frozen=True)
class ControlPlaneHeld(Step[Env]):
    """All Machines are there, and the control plane provider leaves them alone."""

    name: ClassVar[str] = "anew-hold"
    title: ClassVar[str] = "Hold the control plane provider back"
    timeout: ClassVar[float] = 300
    interval: ClassVar[float] = 1
    slowest: ClassVar[float] = 2

    source: Source

    def probe(self, env: Env) -> Seen:
        """Count the Machines: each takes the provider a moment, and its server more than twenty seconds."""
        live = find_control_plane(env) if has_providers(env) else None
        if live is None:
            return Seen(State.BLOCKED, "needs `anew-apply` first")
        if restore.PAUSED in (live["metadata"].get("annotations") or {}):
            return Seen(State.READY)
        found, wanted = len(list_control_planes(env)), env.spec.control_plane.replicas
        if found < wanted:
            return Seen(State.WORKING, f"{found} of {wanted} Machines")
        if first(list_planes(env), self.source.hash):  # asked last: Hetzner's calls are counted
            return Seen(State.READY)
        return Seen(State.MISSING, change="pause the control plane provider")

    def act(self, env: Env, seen: Seen) -> None:
        """Pause it for this control plane alone: the others go on and make the servers."""
        env.home.patch(*CONTROL_PLANE, env.spec.names.control_plane, "default", restore.pausing())


class ServersMade(Step[Env]):
    """Every Machine has its addresses, and the talosconfig's Secret is there."""

    name = "anew-servers"
    title = "Wait for the servers"
    timeout = 900
    interval = 4

    def probe(self, env: Env) -> Seen:
        """Read the Machines."""
        if not has_providers(env) or find_control_plane(env) is None:
            return Seen(State.BLOCKED, "needs `anew-apply` first")
        machines = list_control_planes(env)
        made, wanted = len(access.node_addresses(machines).internal), env.spec.control_plane.replicas
        if made < wanted or stored(env, env.spec.names.talosconfig_secret, "talosconfig") is None:
            return Seen(State.WORKING, conditions.machines(machines, []))
        return Seen(State.READY, f"{made} servers")


@dataclass(frozen=True)
class ServersNoted(Step[Env]):
    """Talos answers on every server, and each has a note of the restore."""

    name: ClassVar[str] = "anew-talos"
    title: ClassVar[str] = "Wait for Talos"
    timeout: ClassVar[float] = 900
    interval: ClassVar[float] = 5

    source: Source

    def probe(self, env: Env) -> Seen:
        """Ask each server for its version."""
        if not env.talosconfig.exists():
            return Seen(State.BLOCKED, "needs `talosconfig` first")
        if first(list_planes(env), self.source.hash):
            return Seen(State.READY, "a new etcd has been begun")
        planes = list_planes(env)
        if len(planes) < env.spec.control_plane.replicas:
            return Seen(State.WORKING, f"{len(planes)} servers")
        if away := silent(talos_of(env, planes), planes):
            return Seen(State.WORKING, f"Talos on {', '.join(away)} does not answer yet")
        if fresh := [each.name for each in planes if not each.is_noted(BEGUN, self.source.hash)]:
            return Seen(State.MISSING, change=f"note the restore on {', '.join(fresh)}")
        return Seen(State.READY)

    def act(self, env: Env, seen: Seen) -> None:
        """Note it on every server."""
        for plane in list_planes(env):
            env.hetzner.put_labels(plane.resource, {NOTE: note(BEGUN, self.source.hash)})


class ControlPlaneReleased(Step[Env]):
    """The control plane provider works again: it finds an etcd, and begins none."""

    name = "anew-release"
    title = "Let the control plane provider go on"

    def probe(self, env: Env) -> Seen:
        """Look for our pause."""
        live = find_control_plane(env) if has_providers(env) else None
        if live is None:
            return Seen(State.BLOCKED, "needs `anew-apply` first")
        if restore.PAUSED in (live["metadata"].get("annotations") or {}):
            return Seen(State.MISSING, change="end the pause of the control plane provider")
        return Seen(State.READY)

    def act(self, env: Env, seen: Seen) -> None:
        """End it."""
        env.home.patch(*CONTROL_PLANE, env.spec.names.control_plane, "default", restore.resuming())


class StaleNodesDeleted(Step[Env]):
    """Kubernetes knows no node whose server is gone: a cloud controller there would count as running."""

    name = "anew-nodes"
    title = "Delete the lost nodes"
    timeout = 600
    interval = 4

    def probe(self, env: Env) -> Seen:
        """Compare the nodes with the servers."""
        if not env.kubeconfig.exists():
            return Seen(State.BLOCKED, "needs `kubeconfig` first")
        try:
            stale = _stale(env)
        except Unreachable as silence:
            return Seen(State.WORKING, silence.message)
        return Seen(State.MISSING, change=f"delete the nodes {', '.join(stale)}") if stale else Seen(State.READY)

    def act(self, env: Env, seen: Seen) -> None:
        """Delete them."""
        for name in _stale(env):
            env.workload.delete("v1", "Node", name)


class AnewFinished(Step[Env]):
    """Nothing says any more that the cluster is being restored."""

    name = "anew-finish"
    title = "Take the notes away"

    def probe(self, env: Env) -> Seen:
        """Look at the Cluster and the servers."""
        noted = [each.name for each in list_planes(env) if NOTE in each.resource.labels]
        if noted or _note(env):
            return Seen(State.MISSING, change="take the notes of the restore away")
        return Seen(State.READY)

    def act(self, env: Env, seen: Seen) -> None:
        """Take the servers' away, then the Cluster's, by which a restore goes on."""
        for plane in list_planes(env):
            env.hetzner.drop_label(plane.resource, NOTE)
        env.home.patch(*CLUSTER, env.spec.name, "default", restore.noting(None))


def flow(snapshot: Path, secrets: Path, up: Flow[Env]) -> Flow[Env]:
    """Return the restore of a lost cluster into an empty project; `up` is the flow that makes a cluster.

    `secrets` is the bundle of the lost cluster, as a backup holds it.
    """
    source, given = Source(snapshot), Secrets(secrets)
    names = [each.name for each in steps(up)]
    before = select(up, last=names[names.index(ClusterApplied.name) - 1])
    return (
        AnewAllowed(source, given),
        *before,
        SecretsGiven(given),
        ClusterAppliedAnew(source),
        ControlPlaneHeld(source),
        ServersMade(),
        TalosconfigWritten(),
        ServersNoted(source),
        EtcdWiped(source),
        EtcdRecovered(source),
        ControlPlaneReleased(),
        KubeconfigWritten(),
        LostManagementRemoved(),
        StaleNodesDeleted(),
        EtcdWhole(source),
        *select(up, first=ClusterApplied.name),
        NodesBack(),
        AnewFinished(),
    )


def is_under_way(env: Env, source: Source) -> bool:
    """True when this snapshot is being restored into a new cluster."""
    return has_providers(env) and _note(env) == source.hash


def _note(env: Env) -> str:
    live = env.home.find(*CLUSTER, env.spec.name, "default")
    annotations: dict[str, Any] = ((live or {}).get("metadata") or {}).get("annotations") or {}
    return str(annotations.get(restore.RESTORING, ""))


def _stale(env: Env) -> list[str]:
    """Return the nodes that no server of the cluster has the name of."""
    living = {each.name for each in env.hetzner.list_servers(env.spec.names.owned_by_caph)}
    return sorted({conditions.name(each) for each in env.workload.list("v1", "Node")} - living)


_BACKUP = "it is the file `secrets.yaml` of a whole backup"
