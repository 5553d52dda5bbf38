"""What a change of the pools does to servers that are there, how far it is, and what is of no use after it.

Cluster API v1.10 replaces the servers of a MachineDeployment when version, failure domain or the name of a template
differ; replicas, labels and the times for a drain it changes on what is there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from tallship.manifests.conditions import config_of, name, node_ready, why_node_waits
from tallship.manifests.roll import CLONED_FROM
from tallship.spec.names import POOL_LABEL

Document = Mapping[str, Any]

ON_DELETE = {"type": "OnDelete"}
"""Cluster API: the strategy that replaces only Machines that somebody deletes."""

HINTS = {
    "resource_unavailable": "it is sold out: another `server_type` or `location` for the pool may be had",
    "resource_limit_exceeded": "Hetzner's console shows the project's limits, and where to ask for more",
    "placement_error": "its placement group is full until a server that goes is gone",
}
"""What to do about Hetzner's refusals of a server, by the code in CAPH's message."""


def pool_of(live: Document) -> str | None:
    """Return the pool that an object of ours belongs to, or None."""
    found = (live["metadata"].get("labels") or {}).get(POOL_LABEL)
    return None if found is None else str(found)


def is_deleting(live: Document) -> bool:
    """True for what is on its way out."""
    return bool(live["metadata"].get("deletionTimestamp"))


def is_on_delete(deployment: Document) -> bool:
    """True when none of its servers is replaced because of what it says: that counts for new ones only."""
    return (deployment["spec"].get("strategy") or {}).get("type") == ON_DELETE["type"]


def has_outdated(deployment: Document, parts: Iterable[Document]) -> bool:
    """True when a HCloudMachine or TalosConfig of its Machines was made from another template than it names.

    Its status is not asked: just after a change it tells of the time before.
    """
    named = templates(deployment)
    return any((each["metadata"].get("annotations") or {}).get(CLONED_FROM) not in named for each in parts)


def without_replacing(wanted: Document) -> dict[str, Any]:
    """Return a MachineDeployment that replaces no server for what it says."""
    return {**wanted, "spec": {**wanted["spec"], "strategy": dict(ON_DELETE)}}


def differs_in_talos_alone(live: Document, wanted: Document, found: Mapping[str, Document]) -> bool:
    """True when two MachineDeployments differ in nothing but the version of Talos; `found` are templates by name."""
    return _without_talos(live, found) == _without_talos(wanted, found) is not None


def _without_talos(deployment: Document, found: Mapping[str, Document]) -> tuple[Any, ...] | None:
    """Return what makes the servers of a MachineDeployment but Talos' version; None where a template is not there."""
    spec = deployment["spec"]["template"]["spec"]
    names = (spec["infrastructureRef"]["name"], config_of(spec))
    if not set(names) <= set(found):
        return None
    parts = [found[each]["spec"]["template"]["spec"] for each in names]
    left_out = ("imageName", "talosVersion")
    kept = [{key: value for key, value in part.items() if key not in left_out and value} for part in parts]
    return (spec.get("version"), spec.get("failureDomain"), *kept)


def replaces_servers(live: Document, wanted: Document) -> list[str]:
    """Return why applying `wanted` over `live` would replace servers; nothing when it would not."""
    if is_on_delete(wanted):
        return []
    before, after = live["spec"], wanted["spec"]
    if not before.get("replicas", 1) and not (live.get("status") or {}).get("replicas"):
        return []
    before, after = before["template"]["spec"], after["template"]["spec"]
    reasons = []
    if before.get("version") != after["version"]:
        reasons.append(f"Kubernetes {before.get('version')} becomes {after['version']}")
    if before.get("failureDomain") != after["failureDomain"]:
        reasons.append(f"location {before.get('failureDomain')} becomes {after['failureDomain']}")
    if before["infrastructureRef"]["name"] != after["infrastructureRef"]["name"]:
        reasons.append("server type or image differ")
    if config_of(before) != config_of(after):
        reasons.append("Talos version, labels, taints or patches differ")
    return reasons


def templates(deployment: Document) -> set[str]:
    """Return the names of the templates that a MachineDeployment or MachineSet refers to."""
    spec = deployment["spec"]["template"]["spec"]
    return {str(spec["infrastructureRef"]["name"]), config_of(spec)} - {""}


def unused(found: Iterable[Document], users: Iterable[Document]) -> list[Document]:
    """Return the templates of pools that no MachineDeployment or MachineSet refers to."""
    used = {each for user in users for each in templates(user)}
    return [each for each in found if pool_of(each) is not None and name(each) not in used and not is_deleting(each)]


def is_rolled_out(deployment: Document) -> bool:
    """True when a MachineDeployment has as many servers as it should, all of its newest kind and ready."""
    status, wanted = deployment.get("status") or {}, deployment["spec"]["replicas"]
    if status.get("observedGeneration", 0) < deployment["metadata"].get("generation", 0):
        return False
    newest = () if is_on_delete(deployment) else ("updatedReplicas",)
    return all(status.get(key, 0) == wanted for key in ("replicas", "readyReplicas", *newest))


def waiting(deployments: Iterable[Document], machines: Iterable[Document], nodes: Iterable[Document]) -> Iterator[str]:
    """Yield what each pool still lacks: servers, nodes, or that what is not wanted any more is gone."""
    for each in deployments:
        if is_deleting(each):
            yield f"{name(each)} is going"
        elif not is_rolled_out(each):
            status, wanted = each.get("status") or {}, each["spec"]["replicas"]
            current = min(wanted, status.get("readyReplicas", 0))
            current = current if is_on_delete(each) else min(status.get("updatedReplicas", 0), current)
            yield f"{name(each)}: {current} of {wanted} servers are as they should be"
    found = {name(node): node for node in nodes}
    for machine in machines:
        if is_deleting(machine):
            yield f"{name(machine)} is going"
        elif node := (machine.get("status") or {}).get("nodeRef"):
            yield from why_node_waits(found[node["name"]]) if node["name"] in found else ()


def ready_nodes(machines: Iterable[Document], nodes: Iterable[Document]) -> int:
    """Return how many Machines have a node that is ready."""
    ready = {name(node) for node in nodes if node_ready(node)}
    return sum(((each.get("status") or {}).get("nodeRef") or {}).get("name") in ready for each in machines)


def hint(text: str) -> str:
    """Return what to do about a server that Hetzner refuses, by what is said of it; nothing where that is not known."""
    return next((advice for code, advice in HINTS.items() if code in text), "")


def with_groups_in_use(wanted: dict[str, Any], live: Document, servers: Sequence[Document]) -> dict[str, Any]:
    """Return a HetznerCluster that keeps the placement groups of servers that are still there.

    CAPH v1.0.7 deletes a group that the document does not name without a look at what is in it.
    """
    groups = wanted["spec"]["hcloudPlacementGroups"]
    names = {each["name"] for each in groups}
    used = {(each.get("spec") or {}).get("placementGroupName") for each in servers}
    kept = [each for each in live_groups(live) if each["name"] not in names and each["name"] in used]
    return {**wanted, "spec": {**wanted["spec"], "hcloudPlacementGroups": [*groups, *kept]}} if kept else wanted


def live_groups(hetzner_cluster: Document) -> list[dict[str, Any]]:
    """Return the placement groups that a HetznerCluster asks for."""
    return list(hetzner_cluster["spec"].get("hcloudPlacementGroups") or [])


def lacking_groups(hetzner_cluster: Document, wanted: Iterable[str]) -> list[str]:
    """Return the placement groups that CAPH has not made yet."""
    there = _made_groups(hetzner_cluster)
    return [each for each in wanted if each not in there]


def excess_groups(hetzner_cluster: Document) -> list[str]:
    """Return the placement groups that CAPH has still to delete."""
    wanted = {each["name"] for each in live_groups(hetzner_cluster)}
    return [each for each in _made_groups(hetzner_cluster) if each not in wanted]


def _made_groups(hetzner_cluster: Document) -> list[str]:
    return [each["name"] for each in (hetzner_cluster.get("status") or {}).get("hcloudPlacementGroups") or ()]
