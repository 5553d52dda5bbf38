"""What the cluster is now. Whatever cannot be seen is said to be unseen; nothing is changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

from tallship.adapters.hetzner_resources import Server
from tallship.env import Env
from tallship.errors import ApiError, SetupError, TallshipError
from tallship.manifests import conditions
from tallship.ops.cluster import has_providers
from tallship.ops.cost import Cost, monthly
from tallship.ops.firewall_view import View, view
from tallship.ops.kinds import CLUSTER, CONTROL_PLANE
from tallship.ops.nodes import etcd_problems

Document = dict[str, Any]
Found = TypeVar("Found")


@dataclass(frozen=True)
class Node:
    """One server of the cluster, as Kubernetes, etcd and Hetzner see it."""

    name: str
    role: str
    ready: bool
    kubernetes: str
    talos: str
    server_type: str
    addresses: tuple[str, ...]
    etcd: str

    def as_data(self) -> dict[str, Any]:
        """Return it as the JSON envelope shows it."""
        return asdict(self)


@dataclass
class Problem:
    """Something that is wrong, or that could not be seen."""

    what: str
    hint: str = ""


@dataclass
class Status:
    """One look at everything."""

    phase: str = "absent"
    endpoint: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    nodes: list[Node] = field(default_factory=list)
    etcd: dict[str, Any] = field(default_factory=dict)
    firewall: View | None = None
    cost: Cost | None = None
    problems: list[Problem] = field(default_factory=list)

    def as_data(self) -> dict[str, Any]:
        """Return it as the JSON envelope shows it."""
        return {
            "phase": self.phase,
            "endpoint": self.endpoint,
            "versions": self.versions,
            "nodes": [node.as_data() for node in self.nodes],
            "etcd": self.etcd,
            "firewall": self.firewall.as_data() if self.firewall else None,
            "cost": self.cost.as_data() if self.cost else None,
            "problems": [asdict(problem) for problem in self.problems],
        }


def look(env: Env) -> Status:
    """Return what can be seen now; each part that is down becomes a problem and hides nothing else."""
    status = Status()
    looks: list[Callable[[], None]] = [
        lambda: _see_cluster(env, status),
        lambda: _see_nodes(env, status),
        lambda: _see_firewall(env, status),
        lambda: _see_cost(env, status),
    ]
    env.clock.run_threads([_guarded(each, status) for each in looks])
    return status


def list_nodes(env: Env) -> list[Node]:
    """Return every node with what Hetzner and etcd say of it."""
    nodes = env.workload.list("v1", "Node")
    servers = {server.name: server for server in env.hetzner.list_servers(env.spec.names.owned_by_caph)}
    addresses = [conditions.internal_ip(node) for node in nodes]
    try:
        members = {member.hostname: member for member in env.talos.members(addresses[0])} if addresses else {}
        leaders = {s.leader for s in env.talos.etcd_status(addresses).values() if not isinstance(s, ApiError)}
    except ApiError:
        members, leaders = {}, set()
    return [_node(node, servers, members, leaders) for node in sorted(nodes, key=conditions.name)]


def _node(node: Document, servers: dict[str, Server], members: dict[str, Any], leaders: set[int]) -> Node:
    name = conditions.name(node)
    info = node.get("status", {}).get("nodeInfo", {})
    server, member = servers.get(name), members.get(name)
    if member is None:
        etcd = "no member"
    elif member.is_learner:
        etcd = "learner"
    else:
        etcd = "leader" if member.id in leaders else "member"
    public = server.ipv4 if server else ""
    return Node(
        name,
        "control-plane" if conditions.is_control_plane(node) else "worker",
        conditions.node_ready(node),
        info.get("kubeletVersion", ""),
        conditions.talos_version(node),
        server.server_type if server else "",
        tuple(filter(None, (conditions.internal_ip(node), public))),
        etcd,
    )


def _see_cluster(env: Env, status: Status) -> None:
    if not has_providers(env):
        status.problems.append(Problem("the management cluster does not answer", "`tallship up --only kind-create`"))
        return
    live = env.home.find(*CLUSTER, env.spec.name, "default")
    if live is None:
        status.problems.append(Problem(f"there is no cluster `{env.spec.name}`", "`tallship up` makes it"))
        return
    status.phase = live.get("status", {}).get("phase", "Pending")
    endpoint = live.get("spec", {}).get("controlPlaneEndpoint", {})
    status.endpoint = f"https://{endpoint['host']}:{endpoint['port']}" if endpoint.get("host") else ""
    control_plane = env.home.find(*CONTROL_PLANE, env.spec.names.control_plane, "default")
    status.versions = {
        "kubernetes_wanted": env.spec.kubernetes.version,
        "talos_wanted": env.spec.talos.version,
        "kubernetes_applied": control_plane["spec"]["version"] if control_plane else "",
    }


def _see_nodes(env: Env, status: Status) -> None:
    if not env.kubeconfig.exists() or not env.talosconfig.exists():
        return
    status.nodes = list_nodes(env)
    problems = [Problem(why) for node in env.workload.list("v1", "Node") for why in conditions.why_node_waits(node)]
    addresses = [node.addresses[0] for node in status.nodes if node.addresses]
    sick = etcd_problems(env.talos, addresses, env.spec.control_plane.replicas) if addresses else []
    status.etcd = {"members": sum(node.etcd in ("leader", "member") for node in status.nodes), "healthy": not sick}
    status.problems += problems + [Problem(why) for why in sick]


def _see_firewall(env: Env, status: Status) -> None:
    status.firewall = view(env)
    hint = "`tallship firewall apply`"
    status.problems += [Problem(f"firewall: {why}", hint) for why in status.firewall.problems]


def _see_cost(env: Env, status: Status) -> None:
    status.cost = monthly(env)


def _guarded(look_at: Callable[[], None], status: Status) -> Callable[[], None]:
    def guard() -> None:
        try:
            look_at()
        except SetupError as error:
            status.problems.append(Problem(error.message, error.hint))
        except TallshipError as error:
            status.problems.append(Problem(f"could not be seen: {error.message}", error.hint))

    return guard
