"""What a move of the Cluster API objects takes along, and what must be so before it may begin."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tallship.manifests import conditions
from tallship.manifests.health import MOVE_LABEL
from tallship.manifests.worker_rollout import is_rolled_out
from tallship.spec.names import HETZNER_SECRET

Document = Mapping[str, Any]

MOVING = "tallship.dev/moving"
"""Annotation on a Cluster that a move of ours has paused, with the time of its beginning."""


def is_paused(cluster: Document) -> bool:
    """True while no controller may touch what belongs to the Cluster."""
    return bool(cluster["spec"].get("paused"))


def is_moving(cluster: Document) -> bool:
    """True from the beginning of a move of ours until it is proven."""
    return MOVING in (cluster["metadata"].get("annotations") or {})


def why_not_yet(
    cluster: Document,
    control_plane: Document | None,
    machines: Sequence[Document],
    secret: Document | None,
    deployments: Sequence[Document] = (),
) -> list[str]:
    """Return what a move must wait for: everything made, nothing rolling, nothing on its way out."""
    status = cluster.get("status") or {}
    reasons = []
    if not status.get("infrastructureReady"):
        reasons.append("the infrastructure is not ready")
    if not status.get("controlPlaneReady") or not conditions.is_true(cluster, "ControlPlaneInitialized"):
        reasons.append("the control plane is not ready")
    reasons += _why_rolling(control_plane)
    reasons += [f"pool {conditions.name(each)} is changing" for each in deployments if not is_rolled_out(each)]
    reasons += [f"{conditions.name(each)} {why}" for each in machines for why in _why_unsettled(each)]
    if secret is None:
        reasons.append(f"there is no Secret {HETZNER_SECRET}: `tallship up --only secret` makes it")
    elif MOVE_LABEL not in (secret["metadata"].get("labels") or {}):
        reasons.append(f"Secret {HETZNER_SECRET} would stay behind: `tallship up --only secret` labels it")
    return reasons


def _why_rolling(control_plane: Document | None) -> list[str]:
    if control_plane is None:
        return ["there is no control plane yet"]
    wanted, status = control_plane["spec"]["replicas"], control_plane.get("status") or {}
    if status.get("replicas") != wanted or status.get("readyReplicas") != wanted:
        return [f"{status.get('readyReplicas', 0)} of {wanted} control planes are ready"]
    found = conditions.find_condition(control_plane, "MachinesSpecUpToDate")
    if found is not None and found.get("status") != "True":
        return ["machines are being replaced"]
    return []


def _why_unsettled(machine: Document) -> list[str]:
    if machine["metadata"].get("deletionTimestamp"):
        return ["is being deleted"]
    return [] if (machine.get("status") or {}).get("nodeRef") else ["has no node yet"]


def room(nodes: Iterable[Document]) -> bool:
    """True when some node takes new Pods; the controllers tolerate the taint of control planes."""
    return any(conditions.node_ready(each) and not each.get("spec", {}).get("unschedulable") for each in nodes)


def names(objects: Iterable[Document]) -> list[str]:
    """Return objects as `Machine/NAME`, in order."""
    return sorted(f"{each['kind']}/{conditions.name(each)}" for each in objects)


def why_idle(hetzner_cluster: Document | None, control_plane: Document | None, machines: Sequence[Document]) -> str:
    """Return what shows that the controllers have not taken the objects up yet; nothing when they have.

    A move carries no status: whatever stands in one was written by the new controllers.
    """
    if hetzner_cluster is None or not conditions.infrastructure_ready(hetzner_cluster):
        return "CAPH has not found the network and the load balancer again yet"
    if control_plane is None or not conditions.initialized(control_plane):
        return "the control plane provider has not seen the API server yet"
    if rolling := _why_rolling(control_plane):
        return rolling[0]
    waiting = [conditions.name(each) for each in machines if _why_unsettled(each)]
    return f"Cluster API has not matched {', '.join(waiting)} with its node yet" if waiting else ""
