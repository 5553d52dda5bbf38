"""The nodes, each as Kubernetes, etcd, Talos and Hetzner see it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from tallship.adapters.hetzner_resources import Server
from tallship.adapters.talos import Alarm, EtcdStatus, MachineStage, Member, Service, Talos
from tallship.env import Env
from tallship.errors import ApiError
from tallship.manifests import conditions

Document = dict[str, Any]

PATIENCE = 30.0
"""Seconds for which one control plane after the other is asked for etcd's members, where none answers."""


@dataclass(frozen=True)
class Node:
    """One server of the cluster."""

    name: str
    role: str
    ready: bool
    kubernetes: str
    talos: str
    server_type: str
    location: str
    addresses: tuple[str, ...]
    etcd: str
    """leader, member, learner or no member; nothing for a worker."""
    stage: str
    """Talos' word for how far the machine has come; nothing when it was not seen."""
    age_seconds: float | None
    """Since the server was made; None when Hetzner does not know it."""

    def as_data(self) -> dict[str, Any]:
        """Return it as the JSON envelope shows it."""
        return asdict(self)


@dataclass
class EtcdView:
    """etcd and Talos as the control planes tell."""

    members: list[Member] = field(default_factory=list)
    alarms: list[Alarm] = field(default_factory=list)
    statuses: Mapping[str, EtcdStatus | ApiError] = field(default_factory=dict)
    services: Mapping[str, list[Service] | ApiError] = field(default_factory=dict)
    stages: Mapping[str, MachineStage | ApiError] = field(default_factory=dict)
    unseen: list[str] = field(default_factory=list)
    """Why something could not be asked."""

    @property
    def leader(self) -> str:
        """The name of the leader's node, or nothing."""
        told = {each.leader for each in self.statuses.values() if not isinstance(each, ApiError)}
        return next((each.hostname for each in self.members if each.id in told), "")

    def as_data(self, problems: Sequence[str]) -> dict[str, Any]:
        """Return it as the JSON envelope shows it."""
        sizes = [each.db_bytes for each in self.statuses.values() if not isinstance(each, ApiError)]
        return {
            "members": sum(not each.is_learner for each in self.members),
            "learners": sum(each.is_learner for each in self.members),
            "leader": self.leader,
            "healthy": not problems,
            "alarms": [each.kind for each in self.alarms],
            "db_bytes": max(sizes, default=0),
        }


def list_nodes(env: Env) -> list[Node]:
    """Return every node with what Hetzner and etcd say of it."""
    nodes = env.workload.list("v1", "Node")
    servers = env.hetzner.list_servers(env.spec.names.owned_by_caph)
    return describe(nodes, servers, look_at_etcd(env, nodes), env.clock.today())


def look_at_etcd(env: Env, nodes: Sequence[Document], by: Talos | None = None) -> EtcdView:
    """Ask the control planes for etcd and all nodes for their stage, side by side; a silent one hides no other.

    `by` are other ways to them than those that the talosconfig names.
    """
    view = EtcdView()
    addresses = [address for each in nodes if (address := conditions.internal_ip(each))]
    planes = [conditions.internal_ip(each) for each in nodes if conditions.is_control_plane(each)]
    planes = [each for each in planes if each]
    if not planes:
        return view
    talos = by or env.talos

    def members() -> None:
        until = env.clock.now() + PATIENCE
        for address in planes:  # the first that answers tells for all
            if env.clock.now() > until:
                return
            try:
                view.members = talos.members(address)
                view.alarms = talos.alarms(address)
            except ApiError as error:
                view.unseen.append(f"etcd: {error.message}")
            else:
                view.unseen.clear()
                return

    def statuses() -> None:
        view.statuses = talos.etcd_status(planes)

    def services() -> None:
        view.services = talos.services(planes)

    def stages() -> None:
        view.stages = talos.stage(addresses)

    env.clock.run_threads([members, statuses, services, stages])
    return view


def describe(nodes: Sequence[Document], servers: Sequence[Server], etcd: EtcdView, today: datetime) -> list[Node]:
    """Return each node, by name, with what the others know of it."""
    by_name = {server.name: server for server in servers}
    members = {member.hostname: member for member in etcd.members}
    return [
        _node(each, by_name.get(conditions.name(each)), members.get(conditions.name(each)), etcd, today)
        for each in sorted(nodes, key=conditions.name)
    ]


def _node(node: Document, server: Server | None, member: Member | None, etcd: EtcdView, today: datetime) -> Node:
    address, is_plane = conditions.internal_ip(node), conditions.is_control_plane(node)
    stage = etcd.stages.get(address)
    return Node(
        conditions.name(node),
        "control-plane" if is_plane else "worker",
        conditions.node_ready(node),
        node.get("status", {}).get("nodeInfo", {}).get("kubeletVersion", ""),
        conditions.talos_version(node),
        server.server_type if server else "",
        server.location if server else "",
        tuple(filter(None, (address, server.ipv4 if server else ""))),
        _part_in_etcd(member, etcd) if is_plane else "",
        stage.stage if isinstance(stage, MachineStage) else "",
        (today - server.created).total_seconds() if server else None,
    )


def _part_in_etcd(member: Member | None, etcd: EtcdView) -> str:
    if member is None:
        return "no member"
    if member.is_learner:
        return "learner"
    return "leader" if member.hostname == etcd.leader else "member"
