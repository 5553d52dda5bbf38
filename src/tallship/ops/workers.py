"""The pools of workers: documents first, and when the control plane is as it should be, what replaces servers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tallship.engine import Seen, State, Step
from tallship.env import Env
from tallship.manifests import cluster, conditions, worker_rollout, workers
from tallship.manifests.conditions import name
from tallship.ops import nudges
from tallship.ops.cluster import (
    DIAGNOSE,
    find_control_plane,
    find_hetzner_cluster,
    has_providers,
    infrastructure,
    running_unseen,
    with_pause,
)
from tallship.ops.kinds import (
    HCLOUD_MACHINE,
    HCLOUD_MACHINE_TEMPLATE,
    MACHINE,
    MACHINE_DEPLOYMENT,
    MACHINE_SET,
    TALOS_CONFIG,
    TALOS_CONFIG_TEMPLATE,
)
from tallship.ops.objects import equals_stored, missing
from tallship.spec.names import CLUSTER_LABEL

Document = dict[str, Any]

REPLACE_HINT = "`tallship plan` shows the difference; `tallship up --replace` agrees to it"


@dataclass(frozen=True)
class Pools:
    """What should be and what is."""

    wanted: list[Document]
    live: dict[str, Document]
    """MachineDeployments of ours by their names."""
    templates: list[Document]

    @property
    def deployments(self) -> list[Document]:
        """The MachineDeployments that should be."""
        return [each for each in self.wanted if each["kind"] == "MachineDeployment"]

    @property
    def unnamed(self) -> list[Document]:
        """The MachineDeployments that the file does not name."""
        names = {name(each) for each in self.deployments}
        return [each for each in self.live.values() if name(each) not in names]

    @property
    def replaced(self) -> dict[str, list[str]]:
        """Why the servers of a MachineDeployment would be replaced, by its name."""
        found = {
            name(each): worker_rollout.replaces_servers(self.live[name(each)], each)
            for each in self.deployments
            if name(each) in self.live
        }
        return {each: reasons for each, reasons in found.items() if reasons}

    def losses(self, env: Env) -> list[str]:
        """Return what the file does to servers that are there: which are replaced, and which pools go."""
        named = {pool.name for pool in env.spec.workers}
        lost = [
            f"{name(each)} goes with its {each['spec']['replicas']} servers: the cluster file does not name its pool"
            for each in self.unnamed
            if worker_rollout.pool_of(each) not in named
            and each["spec"].get("replicas", 1)
            and not worker_rollout.is_deleting(each)
        ]
        replaced = [
            f"{each} is replaced, server by server: {'; '.join(reasons)}" for each, reasons in self.replaced.items()
        ]
        return [*replaced, *lost]

    def different(self, env: Env, deployments: list[Document]) -> list[Document]:
        """Return those of these MachineDeployments, and the templates they name, that are not stored as they should."""
        stored = {name(each) for each in self.templates}
        used = {each for one in deployments for each in worker_rollout.templates(one)}
        absent = [each for each in self.wanted if name(each) in used - stored and each not in self.deployments]
        return absent + [each for each in deployments if not equals_stored(env.home, each)]


def look(env: Env) -> Pools:
    """Return the pools as the file has them, and as they are."""
    deployments, configs = _list(env, MACHINE_DEPLOYMENT), _list(env, TALOS_CONFIG_TEMPLATE)
    wanted = workers.documents(env.spec, deployments, configs)
    live, templates = {name(each): each for each in deployments}, configs + _list(env, HCLOUD_MACHINE_TEMPLATE)
    if not env.replace:
        found = {name(each): each for each in (*wanted, *templates)}
        wanted = [
            worker_rollout.without_replacing(each) if _was_in_place(env, live.get(name(each)), each, found) else each
            for each in wanted
        ]
    return Pools(wanted, live, templates)


def _was_in_place(env: Env, live: Document | None, wanted: Document, templates: Mapping[str, Document]) -> bool:
    """True when every node of a MachineDeployment runs the Talos that is wanted, and nothing else would change."""
    if live is None or wanted["kind"] != "MachineDeployment":
        return False
    label = f"{workers.DEPLOYMENT_LABEL}={name(live)}"
    if not worker_rollout.replaces_servers(live, wanted):
        if not worker_rollout.is_on_delete(live):
            return False
        parts = [*env.home.list(*HCLOUD_MACHINE, "default", label), *env.home.list(*TALOS_CONFIG, "default", label)]
        return worker_rollout.has_outdated(live, parts)
    if not worker_rollout.differs_in_talos_alone(live, wanted, templates):
        return False
    machines = env.home.list(*MACHINE, "default", label)
    names = {((each.get("status") or {}).get("nodeRef") or {}).get("name") for each in machines}
    nodes = [each for each in env.workload.list("v1", "Node") if name(each) in names]
    return bool(nodes) and {conditions.talos_version(each) for each in nodes} == {env.spec.talos.version}


def _see_missing_groups(env: Env) -> Seen | None:
    """Return that a placement group is not there yet, or None: CAPH would ask for it again only after 5 minutes."""
    live, wanted = find_hetzner_cluster(env), cluster.placement_groups(env.spec)
    if live is None or not set(wanted) <= {each["name"] for each in worker_rollout.live_groups(live)}:
        return Seen(State.BLOCKED, "needs `apply` first")
    lacking = worker_rollout.lacking_groups(live, wanted)
    return Seen(State.WORKING, f"waiting for placement group {', '.join(lacking)}") if lacking else None


def _list(env: Env, kind: tuple[str, str]) -> list[Document]:
    """Return what belongs to the pools of this cluster."""
    return _ours(env.home.list(*kind, "default", f"{CLUSTER_LABEL}={env.spec.name}"))


def _ours(found: list[Document]) -> list[Document]:
    return [each for each in found if worker_rollout.pool_of(each) is not None]


def why_blocked(env: Env) -> str:
    """Return the step that has to come first, or nothing."""
    if not has_providers(env):
        return "needs `capi-init` first"
    plane = find_control_plane(env)
    return "" if plane is not None and conditions.initialized(plane) else "needs `wait-cp` first"


class WorkersApplied(Step[Env]):
    """Each pool has its documents, and none is there that the file does not name.

    What replaces servers is left to `wait-workers`, when the control plane is as it should be.
    """

    name = "workers"
    title = "Apply the pools of workers"
    interval = 3

    def probe(self, env: Env) -> Seen:
        """Compare each document with what is stored."""
        if why := why_blocked(env):
            return Seen(State.BLOCKED, why)
        pools = look(env)
        if not env.replace and (refused := pools.losses(env)):
            return Seen(State.BROKEN, "; ".join(refused), hint=REPLACE_HINT)
        if going := [
            each for each in pools.deployments if worker_rollout.is_deleting(pools.live.get(name(each), each))
        ]:
            return Seen(State.WORKING, f"waiting until the old {_names(going)} is gone")
        if deleted := [each for each in pools.unnamed if not worker_rollout.is_deleting(each)]:
            return Seen(State.MISSING, change=f"delete {_names(deleted)}")
        now = [each for each in pools.deployments if name(each) not in pools.replaced]
        if different := pools.different(env, now):
            if (seen := _see_missing_groups(env)) is not None:
                return seen
            return missing(env.home, different, _names(different)) or Seen(State.READY, _told(env))
        return Seen(State.READY, _told(env))

    def act(self, env: Env, seen: Seen) -> None:
        """Apply what is new or changes in place, or delete what the file does not name; its nodes are drained."""
        pools = look(env)
        if seen.change.startswith("delete"):
            for each in pools.unnamed:
                env.home.delete(*MACHINE_DEPLOYMENT, name(each), "default")
            return
        for each in pools.different(env, [one for one in pools.deployments if name(one) not in pools.replaced]):
            env.home.apply(each)

    def explain(self, env: Env) -> list[str]:
        """Return what CAPH says of the HetznerCluster."""
        live = find_hetzner_cluster(env)
        return conditions.why_not_ready(live) if live else []


class WorkersReady(Step[Env]):
    """Each pool has as many servers as it should, all of its newest kind, each a Ready node; nothing old is left."""

    name = "wait-workers"
    title = "Wait for the workers"
    timeout = 3600
    interval = 6
    advice = DIAGNOSE

    def probe(self, env: Env) -> Seen:
        """Look at Machines and nodes; then for templates and placement groups of which nobody has any use."""
        if why := why_blocked(env):
            return Seen(State.BLOCKED, why)
        pools = look(env)
        if any(_replicas(each) != _replicas(pools.live.get(name(each))) for each in pools.deployments):
            return Seen(State.BLOCKED, "needs `workers` first")
        if not env.replace and (refused := pools.losses(env)):
            return Seen(State.BROKEN, "; ".join(refused), hint=REPLACE_HINT)
        if pools.replaced:
            told = (f"{each}, server by server: {'; '.join(reasons)}" for each, reasons in pools.replaced.items())
            return Seen(State.MISSING, change=f"replace {'; '.join(told)}")
        if (seen := self._see_servers(env, pools)) is not None:
            return seen
        if useless := worker_rollout.unused(pools.templates, [*self._users(env, pools), *pools.deployments]):
            return Seen(State.MISSING, change=f"delete {_names(useless)}, which nothing refers to")
        return self._see_groups(env) or Seen(State.READY, _told(env))

    def act(self, env: Env, seen: Seen) -> None:
        """Name the new templates, delete exactly those that are named, or tell CAPH."""
        if nudges.is_news(seen):
            nudges.tell(env, seen)
            return
        pools = look(env)
        if seen.change.startswith("replace"):
            for each in pools.different(env, [one for one in pools.deployments if name(one) in pools.replaced]):
                env.home.apply(each)
        elif seen.change.startswith("delete"):
            for each in pools.templates:
                if f" {name(each)}," in f"{seen.change},":
                    env.home.delete(each["apiVersion"], each["kind"], name(each), "default")
        else:
            for each in infrastructure(env):
                env.home.apply(each)

    def explain(self, env: Env) -> list[str]:
        """Return what the controllers say of each pool, and of each Machine and server in it."""
        found = list(look(env).live.values())
        for kind in (MACHINE, HCLOUD_MACHINE, TALOS_CONFIG):
            found += _list(env, kind)
        return [line for each in found for line in conditions.why_not_ready(each)][-12:]

    def _see_servers(self, env: Env, pools: Pools) -> Seen | None:
        """Return what the pools still lack, or None."""
        machines = _list(env, MACHINE)
        nodes = env.workload.list("v1", "Node")
        lacks = list(worker_rollout.waiting(pools.live.values(), machines, nodes))
        if not lacks:
            return None
        servers = _list(env, HCLOUD_MACHINE)
        wanted = sum(each["spec"]["replicas"] for each in pools.deployments)
        ready = f"{worker_rollout.ready_nodes(machines, nodes)} of {wanted} workers are ready"
        text = "; ".join([ready, conditions.machines(machines, servers), *lacks[:3]])
        seen = nudges.see(text, nudges.News("CAPH", find_hetzner_cluster(env), running_unseen(env, servers)))
        return with_pause(env, Seen(seen.state, seen.detail, seen.change, worker_rollout.hint(text)))

    def _see_groups(self, env: Env) -> Seen | None:
        """Return that a placement group is of no use any more, or None."""
        live = find_hetzner_cluster(env)
        wanted = next(each for each in infrastructure(env) if each["kind"] == "HetznerCluster")
        if live is None:
            return None
        if worker_rollout.live_groups(live) != worker_rollout.live_groups(wanted):
            return Seen(State.MISSING, change="apply HetznerCluster without placement groups that are empty")
        excess = worker_rollout.excess_groups(live)
        return Seen(State.WORKING, f"waiting until placement group {', '.join(excess)} is gone") if excess else None

    def _users(self, env: Env, pools: Pools) -> list[Document]:
        """Return everything that refers to templates: the MachineDeployments, and their sets, older ones too."""
        sets = env.home.list(*MACHINE_SET, "default", f"{CLUSTER_LABEL}={env.spec.name}")
        return [*pools.live.values(), *sets]


def _replicas(deployment: Document | None) -> int | None:
    return None if deployment is None else int(deployment["spec"]["replicas"])


def _names(found: Iterable[Mapping[str, Any]]) -> str:
    return ", ".join(f"{each['kind']} {name(each)}" for each in found)


def _told(env: Env) -> str:
    pools = env.spec.workers
    return f"{sum(each.replicas for each in pools)} servers in {len(pools)} pools" if pools else "no pools"
