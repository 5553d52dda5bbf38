"""The nodes as Kubernetes, etcd and the cloud see them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tallship.adapters.talos import Member, Service, Talos
from tallship.engine import Seen, State, Step
from tallship.env import Env
from tallship.errors import ApiError, Unreachable
from tallship.manifests import conditions
from tallship.ops import nudges
from tallship.ops.cluster import DIAGNOSE, find_hetzner_cluster

Document = dict[str, Any]


class NodesReady(Step[Env]):
    """Every control plane is a Ready node, matched to its server, and etcd has as many healthy members."""

    name = "wait-nodes"
    title = "Wait for the nodes"
    timeout = 900
    interval = 4
    advice = DIAGNOSE

    def probe(self, env: Env) -> Seen:
        """Ask Kubernetes for the nodes and the nodes for etcd."""
        if not env.kubeconfig.exists() or not env.talosconfig.exists():
            return Seen(State.BLOCKED, "needs `kubeconfig` and `talosconfig` first")
        nodes = control_planes(env)
        live = find_hetzner_cluster(env)
        if live and not conditions.is_true(live, "TargetClusterReady"):
            told = nudges.see("waiting for CAPH to see the API server", nudges.News("CAPH", live, ["api-server"]))
            if nudges.is_news(told):
                return told
        wanted = env.spec.control_plane.replicas
        if len(nodes) < wanted:
            return Seen(State.WORKING, f"{len(nodes)} of {wanted} nodes have joined")
        if any(conditions.why_node_waits(node) for node in nodes):
            ready = sum(conditions.node_ready(node) for node in nodes)
            matched = sum(not conditions.node_uninitialized(node) for node in nodes)
            return Seen(State.WORKING, f"of {len(nodes)} nodes {ready} are ready, {matched} matched to their server")
        sick = etcd_problems(env.talos, [conditions.internal_ip(node) for node in nodes], wanted)
        if sick:
            return Seen(State.WORKING, "; ".join(sick))
        return Seen(State.READY, f"{len(nodes)} nodes, {wanted} etcd members")

    def act(self, env: Env, seen: Seen) -> None:
        """Tell CAPH that the workload API answers."""
        nudges.tell(env, seen)

    def explain(self, env: Env) -> list[str]:
        """Return what each node lacks, and the last warnings of the add-ons."""
        nodes = control_planes(env)
        lacks = [why for node in nodes for why in conditions.why_node_waits(node)]
        return lacks + env.workload.events("kube-system")[-8:]


def control_planes(env: Env) -> list[Document]:
    """Return the nodes that run the control plane, and etcd with it."""
    return [each for each in env.workload.list("v1", "Node") if conditions.is_control_plane(each)]


def etcd_problems(talos: Talos, nodes: list[str], wanted: int) -> list[str]:
    """Return what keeps etcd from having `wanted` healthy members; nothing when it has."""
    try:
        members = talos.members(nodes[0])
    except Unreachable as error:
        return [f"etcd: {error.message}"]
    return why_etcd_waits(members, talos.services(nodes), wanted)


def why_etcd_waits(
    members: Sequence[Member], services: Mapping[str, Sequence[Service] | ApiError], wanted: int
) -> list[str]:
    """Return what members and services lack of `wanted` healthy members of etcd."""
    problems = [f"etcd member {member.hostname} is still learning" for member in members if member.is_learner]
    if len(members) != wanted:
        problems.append(f"etcd has {len(members)} of {wanted} members")
    for node, found in services.items():
        if isinstance(found, ApiError):
            problems.append(f"etcd on {node}: {found.message}")
            continue
        etcd = next((each for each in found if each.id == "etcd"), None)
        if etcd is None or not etcd.is_healthy:
            problems.append(f"etcd on {node} is {f'{etcd.state}, not healthy' if etcd else 'absent'}")
    return problems
