"""What the cluster is now. Whatever cannot be seen is said to be unseen; nothing is changed.

All that is needed is read side by side first, each thing once; then it is put together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from typing import Any

from tallship.engine import State
from tallship.env import Env
from tallship.errors import ApiError, SetupError, TallshipError
from tallship.manifests import conditions
from tallship.ops import backup
from tallship.ops.cluster import PAUSED
from tallship.ops.cost import Cost, monthly
from tallship.ops.firewall_view import View, view
from tallship.ops.in_place_nodes import comebacks
from tallship.ops.kinds import CLUSTER, CONTROL_PLANE
from tallship.ops.node_list import EtcdView, Node, describe, look_at_etcd
from tallship.ops.nodes import why_etcd_waits
from tallship.ops.rollout import ControlPlaneRolledOut
from tallship.ops.status_parts import Addon, Certificate, addons, balancer_problems, certificates

Document = dict[str, Any]

SOON_DAYS = 60
"""A certificate that ends within so many days is a problem."""


@dataclass
class Problem:
    """Something that is wrong, or that could not be seen."""

    what: str
    hint: str = ""


@dataclass
class Status:
    """One look at everything."""

    phase: str = "absent"
    managed_by: str = ""
    """Where Cluster API runs: `the cluster itself`, or the kind of its management cluster."""
    endpoint: str = ""
    versions: dict[str, Any] = field(default_factory=dict)
    control_plane: dict[str, Any] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)
    etcd: dict[str, Any] = field(default_factory=dict)
    addons: list[Addon] = field(default_factory=list)
    firewall: View | None = None
    certificates: list[Certificate] = field(default_factory=list)
    backup: backup.Stored | None = None
    cost: Cost | None = None
    problems: list[Problem] = field(default_factory=list)
    unseen: list[Problem] = field(default_factory=list)

    def as_data(self) -> dict[str, Any]:
        """Return it as the JSON envelope shows it."""
        return {
            "phase": self.phase,
            "managed_by": self.managed_by,
            "endpoint": self.endpoint,
            "versions": self.versions,
            "control_plane": self.control_plane,
            "nodes": [node.as_data() for node in self.nodes],
            "etcd": self.etcd,
            "addons": [asdict(each) for each in self.addons],
            "firewall": self.firewall.as_data() if self.firewall else None,
            "certificates": [each.as_data() for each in self.certificates],
            "backup": self.backup.as_data() if self.backup else None,
            "cost": self.cost.as_data() if self.cost else None,
            "problems": [asdict(problem) for problem in self.problems],
            "unseen": [asdict(each) for each in self.unseen],
        }


def look(env: Env) -> Status:
    """Return what can be seen now; each part that is down is named and hides nothing else."""
    status = Status()
    with ExitStack() as moment:
        if env.kubeconfig.exists():
            moment.enter_context(env.workload.memory.kept())
        if env.management_kubeconfig.exists():
            moment.enter_context(env.management.memory.kept())
        moment.enter_context(env.hetzner.memory.kept())
        for looks in _order(env, status):
            env.clock.run_threads([_guarded(each, status) for each in looks])
        _guarded(lambda: _see_comeback(env, status), status)()
    return status


def watch(env: Env, every: float, hetzner_every: float) -> Iterator[tuple[Status, str]]:
    """Yield a look every so many seconds, with a word on the next one, until somebody wants to stop.

    Hetzner is asked less often: what it said is remembered meanwhile, and said again.
    """
    while not env.stop.is_set():
        with env.hetzner.memory.kept():
            until = env.clock.now() + hetzner_every
            while not env.stop.is_set() and env.clock.now() < until:
                found = look(env)
                least, why = env.brake()
                seen = f"{env.clock.today():%H:%M:%S} UTC, next look in {max(every, least):.0f} s, Ctrl-C ends"
                yield found, f"{seen}\n{why}".strip()
                env.pause(max(every, least))


def _order(env: Env, status: Status) -> list[list[Callable[[], None]]]:
    """Return what is looked at: first what others build on, each group side by side."""
    labels = env.spec.names.owned_by_caph
    return [
        [
            lambda: _see_cluster(env, status),
            lambda: _read_nodes(env),
            lambda: _see_cost(env, status),
            lambda: void(env.hetzner.list_servers(labels)),
            lambda: void(env.hetzner.find_firewall(env.spec.names.firewall)),
            lambda: void(env.hetzner.list_load_balancers(labels)),
            lambda: _see_certificates(env, status),
            lambda: _see_backup(env, status),
        ],
        [
            lambda: _see_nodes(env, status),
            lambda: _see_addons(env, status),
            lambda: _see_roll(env, status),
            lambda: _see_firewall(env, status),
            lambda: _see_balancer(env, status),
        ],
    ]


def void(_found: object) -> None:
    """Return nothing of what was read: the memory of the moment has it."""


def _see_cluster(env: Env, status: Status) -> None:
    if not env.manages_itself and not env.management_kubeconfig.exists():
        status.problems.append(Problem(f"there is no cluster `{env.spec.name}`", "`tallship up` makes it"))
        return
    live = _find_cluster(env)
    if live is None:
        status.problems.append(Problem(f"there is no cluster `{env.spec.name}`", "`tallship up` makes it"))
        return
    status.managed_by = "the cluster itself" if env.manages_itself else env.spec.management.mode
    status.phase = live.get("status", {}).get("phase", "Pending")
    if live["spec"].get("paused"):
        hint = "`tallship pivot` finishes a move; else whoever paused it ends the pause"
        status.problems.append(Problem(PAUSED, hint))
    endpoint = live.get("spec", {}).get("controlPlaneEndpoint", {})
    status.endpoint = f"https://{endpoint['host']}:{endpoint.get('port', 6443)}" if endpoint.get("host") else ""
    plane = env.home.find(*CONTROL_PLANE, env.spec.names.control_plane, "default")
    spec, state = (plane or {}).get("spec", {}), (plane or {}).get("status", {})
    config = spec.get("controlPlaneConfig", {}).get("controlplane", {})
    status.control_plane = {
        "replicas": spec.get("replicas", 0),
        "ready": state.get("readyReplicas", 0),
        "initialized": bool(state.get("initialized")),
    }
    status.versions |= {
        "kubernetes_wanted": env.spec.kubernetes.version,
        "kubernetes_applied": spec.get("version", ""),
        "talos_wanted": env.spec.talos.version,
        "talos_applied": config.get("talosVersion", ""),
    }


def _find_cluster(env: Env) -> Document | None:
    try:
        return env.home.find(*CLUSTER, env.spec.name, "default")
    except ApiError as error:
        if error.code == "unknown-kind":
            return None
        raise


def _read_nodes(env: Env) -> None:
    if env.kubeconfig.exists():
        env.workload.list("v1", "Node")


def _see_nodes(env: Env, status: Status) -> None:
    if not env.kubeconfig.exists():
        return
    nodes = env.workload.list("v1", "Node")
    etcd = look_at_etcd(env, nodes) if env.talosconfig.exists() else EtcdView()
    try:
        servers = env.hetzner.list_servers(env.spec.names.owned_by_caph)
    except ApiError:
        servers = []  # it was told when they were read
    status.nodes = describe(nodes, servers, etcd, env.clock.today())
    status.versions |= {
        "kubernetes_seen": sorted({each.kubernetes for each in status.nodes}),
        "talos_seen": sorted({each.talos for each in status.nodes}),
    }
    status.problems += [Problem(why) for node in nodes for why in conditions.why_node_waits(node)]
    status.unseen += [Problem(why) for why in etcd.unseen]
    sick = [] if etcd.unseen else why_etcd_waits(etcd.members, etcd.services, env.spec.control_plane.replicas)
    sick += [f"etcd raises the alarm {each.kind}" for each in etcd.alarms]
    if nodes and env.talosconfig.exists():
        status.etcd = etcd.as_data([*sick, *etcd.unseen])
        status.problems += [Problem(why, "`tallship diagnose` looks for the cause") for why in sick]


def _see_comeback(env: Env, status: Status) -> None:
    """Say with which Talos a replaced server would come back; asked only when nodes run another one."""
    applied, seen = status.versions.get("talos_applied"), status.versions.get("talos_seen")
    if not applied or not seen or seen == [applied]:
        return
    status.problems += [Problem(each.text, each.hint) for each in comebacks(env) if each.text]


def _see_addons(env: Env, status: Status) -> None:
    if env.kubeconfig.exists():
        status.addons = addons(env)
        hint = "`tallship up` installs what the cluster file says"
        status.problems += [Problem(each.problem, hint) for each in status.addons if each.problem]


def _see_roll(env: Env, status: Status) -> None:
    """Say that servers are being replaced; asked only when versions or numbers tell of it."""
    plane, versions = status.control_plane, status.versions
    if not plane or not plane["initialized"]:
        return
    seen = set(versions.get("kubernetes_seen", [])) | {versions["kubernetes_applied"]}
    if plane["ready"] == plane["replicas"] and len(seen) == 1:
        return
    found = ControlPlaneRolledOut(is_last=False).probe(env)
    if found.state is not State.READY:
        status.problems.append(Problem(f"servers are changing: {found.detail}", "`tallship up` waits until it is done"))


def _see_firewall(env: Env, status: Status) -> None:
    status.firewall = view(env)
    hint = "`tallship firewall apply`"
    status.problems += [Problem(f"firewall: {why}", hint) for why in status.firewall.problems]


def _see_balancer(env: Env, status: Status) -> None:
    labels = env.spec.names.owned_by_caph
    servers = {each.id: each.name for each in env.hetzner.list_servers(labels)}
    balancers = env.hetzner.list_load_balancers(labels)
    if status.endpoint and not balancers:
        told = f"the cluster's load balancer is gone: nothing leads to {status.endpoint}"
        status.problems.append(Problem(told, "`tallship diagnose` tells more"))
    found = balancer_problems(balancers, servers)
    status.problems += [Problem(why, "`tallship diagnose` looks for the cause") for why in found]


def _see_cost(env: Env, status: Status) -> None:
    status.cost = monthly(env)


def _see_certificates(env: Env, status: Status) -> None:
    status.certificates = certificates(env)
    for each in status.certificates:
        if each.days < SOON_DAYS:
            status.problems.append(Problem(f"{each.what} ends in {each.days} days", each.hint))


def _see_backup(env: Env, status: Status) -> None:
    status.backup = backup.newest(env)


def _guarded(look_at: Callable[[], None], status: Status) -> Callable[[], None]:
    def guard() -> None:
        try:
            look_at()
        except SetupError as error:
            _note(status.problems, Problem(error.message, error.hint))
        except TallshipError as error:
            _note(status.unseen, Problem(error.message, error.hint))

    return guard


def _note(told: list[Problem], problem: Problem) -> None:
    if problem not in told:
        told.append(problem)
