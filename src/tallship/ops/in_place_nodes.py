"""The nodes of a cluster that is upgraded in place: each with its Machine, and what keeps them from sparing one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tallship.adapters.talos import EtcdStatus, MachineStage, Version
from tallship.env import Env
from tallship.errors import ApiError
from tallship.manifests import conditions, in_place
from tallship.manifests.in_place import Comeback, Mark
from tallship.ops.cluster import find_control_plane
from tallship.ops.kinds import HCLOUD_MACHINE_TEMPLATE, MACHINE, MACHINE_DEPLOYMENT
from tallship.ops.nodes import etcd_problems
from tallship.spec.names import CLUSTER_LABEL

Document = dict[str, Any]

DEPLOYMENT_LABEL = "cluster.x-k8s.io/deployment-name"
"""Cluster API: on a Machine of a MachineDeployment, its name."""
BEHIND = 1000
"""How many entries of etcd's log a member that keeps up may be behind the others."""


@dataclass(frozen=True)
class Member:
    """One node, and the Machine behind it."""

    name: str
    address: str
    """Its private one, under which the Talos API passes calls on to it."""
    node: Document
    machine: Document | None

    @property
    def is_control_plane(self) -> bool:
        """True for a node with etcd."""
        return conditions.is_control_plane(self.node)

    @property
    def pool(self) -> str:
        """The MachineDeployment that its Machine is of, or nothing."""
        return str((self.machine or {}).get("metadata", {}).get("labels", {}).get(DEPLOYMENT_LABEL, ""))

    @property
    def mark(self) -> Mark | None:
        """What is noted of its upgrade."""
        return in_place.mark_of(self.machine) if self.machine else None


@dataclass(frozen=True)
class Fleet:
    """All nodes of a cluster."""

    members: Sequence[Member]
    unpaired: Sequence[str]
    """Machines without a node."""

    def get(self, name: str) -> Member:
        """Return the node of that name."""
        return next(each for each in self.members if each.name == name)

    @property
    def control_planes(self) -> list[Member]:
        """The nodes with etcd, by name."""
        return [each for each in self.members if each.is_control_plane]

    @property
    def etcd_addresses(self) -> list[str]:
        """The addresses of the nodes with etcd."""
        return [each.address for each in self.control_planes]


def list_machines(env: Env) -> list[Document]:
    """Return every Machine of the cluster, workers' too."""
    return env.home.list(*MACHINE, "default", f"{CLUSTER_LABEL}={env.spec.name}")


def read_fleet(env: Env, machines: Sequence[Document]) -> Fleet:
    """Return every node with its Machine. Raises ApiError."""
    nodes = sorted(env.workload.list("v1", "Node"), key=conditions.name)
    machine_of = {((each.get("status") or {}).get("nodeRef") or {}).get("name"): each for each in machines}
    members = [
        Member(conditions.name(each), conditions.internal_ip(each), each, machine_of.get(conditions.name(each)))
        for each in nodes
    ]
    names = {each.name for each in members}
    return Fleet(members, [conditions.name(each) for name, each in machine_of.items() if name not in names])


def why_none_can_be_spared(env: Env, fleet: Fleet) -> list[str]:
    """Return what keeps the cluster from doing without one of its nodes for some minutes; nothing when it can."""
    found = [f"Machine {name} is no node" for name in fleet.unpaired]
    found += [f"node {each.name} has no Machine" for each in fleet.members if each.machine is None]
    for each in fleet.members:
        if each.machine and each.machine["metadata"].get("deletionTimestamp"):
            found.append(f"{each.name} is being deleted")
        found += conditions.why_node_waits(each.node)
        if in_place.is_cordoned(each.node):
            found.append(f"{each.name} is cordoned, and would stay so: `kubectl uncordon {each.name}`")
    stages = env.talos.stage([each.address for each in fleet.members])
    for each in fleet.members:
        found += [f"{each.name}: {line}" for line in why_stage_waits(stages[each.address])]
    return found + why_etcd_waits(env, fleet)


def why_stage_waits(stage: MachineStage | ApiError) -> list[str]:
    """Return what a machine lacks of running and ready, which only count together (Talos v1.12)."""
    if isinstance(stage, ApiError):
        return [stage.message]
    if stage.stage != "running":
        return [f"it is {stage.stage}"]
    return [] if stage.is_ready else list(stage.unmet) or ["it is not ready"]


def why_etcd_waits(env: Env, fleet: Fleet) -> list[str]:
    """Return what etcd lacks: every control plane a healthy member, none learning or behind, a leader, no alarm."""
    addresses = fleet.etcd_addresses
    found = etcd_problems(env.talos, addresses, len(addresses))
    return found or [*_disagreements(env, fleet), *_alarms(env, addresses[0])]


def _disagreements(env: Env, fleet: Fleet) -> Iterator[str]:
    statuses = env.talos.etcd_status(fleet.etcd_addresses)
    known = {address: each for address, each in statuses.items() if isinstance(each, EtcdStatus)}
    yield from (each.message for each in statuses.values() if isinstance(each, ApiError))
    if len(leaders := {each.leader for each in known.values()}) != 1 or 0 in leaders:
        yield "etcd has no leader that all members know"
    newest = max((each.raft_applied_index for each in known.values()), default=0)
    for member in fleet.control_planes:
        status = known.get(member.address)
        if status is None:
            continue
        if status.errors:
            yield f"etcd on {member.name}: {'; '.join(status.errors)}"
        if newest - status.raft_applied_index > BEHIND:
            yield f"etcd on {member.name} is {newest - status.raft_applied_index} entries behind"


def _alarms(env: Env, address: str) -> list[str]:
    return [f"etcd raises the alarm {each.kind}" for each in env.talos.alarms(address)]


def outdated(env: Env) -> dict[str, str]:
    """Return the nodes that run another Talos than the cluster file's, each with its version, or nothing."""
    fleet = read_fleet(env, list_machines(env))
    found = env.talos.version([each.address for each in fleet.members])
    running = {each.name: found[each.address] for each in fleet.members}
    tags = {name: each.tag if isinstance(each, Version) else "" for name, each in running.items()}
    return {name: tag for name, tag in tags.items() if tag != env.spec.talos.version}


def comebacks(env: Env) -> list[Comeback]:
    """Return for the control plane and each pool with which Talos a replaced server would come back."""
    fleet = read_fleet(env, list_machines(env))
    templates = env.home.list(*HCLOUD_MACHINE_TEMPLATE, "default")
    plane, pools = find_control_plane(env), env.home.list(*MACHINE_DEPLOYMENT, "default")
    found = [in_place.comeback(plane, templates, [each.node for each in fleet.control_planes])] if plane else []
    for pool in pools:
        nodes = [each.node for each in fleet.members if each.pool == conditions.name(pool)]
        found.append(in_place.comeback(pool, templates, nodes))
    return found


def leader(env: Env, fleet: Fleet) -> str:
    """Return the name of the node whose etcd leads, or nothing."""
    statuses = env.talos.etcd_status(fleet.etcd_addresses).items()
    leading = {address for address, each in statuses if isinstance(each, EtcdStatus) and each.leader == each.member_id}
    return next((each.name for each in fleet.control_planes if each.address in leading), "")
