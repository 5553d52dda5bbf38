"""What live objects say, as plain facts. Conditions that are true too early are not asked."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tallship.manifests.release import Release, newest_release, release_equals
from tallship.manifests.rollout import replaces_machines, same_meaning, with_stored_patches
from tallship.versions import PROVIDERS

__all__ = [
    "Release",
    "bootstrapped",
    "deployment_available",
    "find_condition",
    "infrastructure_ready",
    "initialized",
    "internal_ip",
    "is_control_plane",
    "is_true",
    "load_balancer_address",
    "machines",
    "name",
    "network_id",
    "newest_release",
    "node_ready",
    "provider_problems",
    "release_equals",
    "replaces_machines",
    "same_meaning",
    "talos_version",
    "why_node_waits",
    "why_not_ready",
    "with_live_endpoint",
    "with_stored_patches",
]

Document = Mapping[str, Any]

UNINITIALIZED_TAINT = "node.cloudprovider.kubernetes.io/uninitialized"
CONTROL_PLANE_ROLE = "node-role.kubernetes.io/control-plane"


def name(live: Document) -> str:
    """Return an object's name."""
    return str(live["metadata"]["name"])


def config_of(spec: Mapping[str, Any]) -> str:
    """Return the name of the Talos configuration, or of its template, that a Machine's spec refers to, or nothing."""
    return str((spec["bootstrap"].get("configRef") or {}).get("name", ""))


def find_condition(live: Document, kind: str) -> Document | None:
    """Return a condition by its type, or None."""
    return next((each for each in _status(live).get("conditions") or () if each.get("type") == kind), None)


def is_true(live: Document, kind: str) -> bool:
    """True when the condition is there and true."""
    found = find_condition(live, kind)
    return found is not None and found.get("status") == "True"


def infrastructure_ready(hetzner_cluster: Document) -> bool:
    """True when network, load balancer and placement group stand. The condition Ready needs the workload API too."""
    return bool(_status(hetzner_cluster).get("ready"))


def load_balancer_address(hetzner_cluster: Document) -> str:
    """Return the load balancer's public IPv4 address once the infrastructure stands, else nothing."""
    balancer = _status(hetzner_cluster).get("controlPlaneLoadBalancer") or {}
    return str(balancer.get("ipv4") or "") if infrastructure_ready(hetzner_cluster) else ""


def network_id(hetzner_cluster: Document) -> str | None:
    """Return the private network's id at Hetzner, or None while there is none."""
    identity = (_status(hetzner_cluster).get("networkStatus") or {}).get("id")
    return str(identity) if identity else None


def with_live_endpoint(wanted: dict[str, Any], hetzner_cluster: Document) -> dict[str, Any]:
    """Return a document with the endpoint that CAPH has filled in; only a HetznerCluster has one to keep."""
    host = (hetzner_cluster.get("spec", {}).get("controlPlaneEndpoint") or {}).get("host")
    if wanted["kind"] != "HetznerCluster" or not host:
        return wanted
    endpoint = {**wanted["spec"]["controlPlaneEndpoint"], "host": host}
    return {**wanted, "spec": {**wanted["spec"], "controlPlaneEndpoint": endpoint}}


def initialized(control_plane: Document) -> bool:
    """True when the control plane's API has answered; Ready comes only with the network of the pods."""
    return bool(_status(control_plane).get("initialized"))


def bootstrapped(control_plane: Document) -> bool:
    """True when etcd was begun on one of its machines."""
    return bool(_status(control_plane).get("bootstrapped"))


def machines(found: Sequence[Document], servers: Sequence[Document]) -> str:
    """Return how far the Machines and their servers are, and what CAPH cannot make.

    Such as `3 machines: 3 Provisioning; servers: 3 starting`.
    """
    if not found:
        return "no machine yet"
    phases = _counted(_status(machine).get("phase") or "Pending" for machine in found)
    states = _counted(_status(server).get("instanceState") or "not created" for server in servers)
    failures = sorted({_status_message(server, "ServerCreateSucceeded") for server in servers} - {""})
    told = [f"{len(found)} machines: {phases}", *([f"servers: {states}"] if states else []), *failures]
    return "; ".join(told)


def _status_message(live: Document, kind: str) -> str:
    """Return the message of a condition that is not true."""
    found = find_condition(live, kind)
    return str(found.get("message") or "") if found and found.get("status") == "False" else ""


def _counted(words: Iterable[str]) -> str:
    return ", ".join(f"{count} {word}" for word, count in sorted(Counter(words).items()))


def why_not_ready(live: Document) -> list[str]:
    """Return a line of evidence for each condition that is not true, and for a failure the object names."""
    who = f"{live.get('kind', '')} {name(live)}".strip()
    lines = [
        f"{who}: {key[0].lower()}{key[1:]}: {_status(live)[key]}"
        for key in ("failureReason", "failureMessage")
        if _status(live).get(key)
    ]
    unmet = [each for each in _status(live).get("conditions") or () if each.get("status") != "True"]
    # Ready sums up the others, and says the same as one of them.
    told = [each for each in unmet if each["type"] != "Ready"] or unmet
    return lines + [f"{who}: {_tell(each)}" for each in told]


def _tell(condition: Document) -> str:
    reason, message = condition.get("reason") or "no reason given", condition.get("message") or ""
    return f"{condition['type']} is {condition.get('status')}: {reason}" + (f", {message}" if message else "")


def node_ready(node: Document) -> bool:
    """True when the kubelet says so."""
    return is_true(node, "Ready")


def node_uninitialized(node: Document) -> bool:
    """True while no cloud controller manager has matched the node with its server."""
    taints = node.get("spec", {}).get("taints") or ()
    return any(taint.get("key") == UNINITIALIZED_TAINT for taint in taints)


def why_node_waits(node: Document) -> list[str]:
    """Return what a node still lacks; nothing for one that is of use."""
    lines = []
    if not node_ready(node):
        found = find_condition(node, "Ready")
        lines.append(f"{name(node)}: {_tell(found)}" if found else f"{name(node)}: its kubelet has said nothing yet")
    if node_uninitialized(node):
        lines.append(f"{name(node)}: taint {UNINITIALIZED_TAINT}: the Hetzner CCM has not found its server")
    elif not node.get("spec", {}).get("providerID"):
        lines.append(f"{name(node)}: no provider ID: Cluster API cannot match it with its Machine")
    return lines


def internal_ip(node: Document) -> str:
    """Return a node's private IPv4 address, or nothing."""
    addresses = _status(node).get("addresses") or ()
    found = [each["address"] for each in addresses if each.get("type") == "InternalIP" and ":" not in each["address"]]
    return found[0] if found else ""


def is_control_plane(node: Document) -> bool:
    """True for a node that runs the control plane."""
    return CONTROL_PLANE_ROLE in (node["metadata"].get("labels") or {})


def talos_version(node: Document) -> str:
    """Return the Talos version a node runs, as `v1.12.2`, or nothing."""
    image = (_status(node).get("nodeInfo") or {}).get("osImage") or ""
    found = re.fullmatch(r"Talos \((v[^)]+)\)", image)
    return found[1] if found else ""


def deployment_available(deployment: Document) -> bool:
    """True when the Deployment's newest version is available."""
    seen = _status(deployment).get("observedGeneration", 0) >= deployment["metadata"].get("generation", 0)
    return seen and is_true(deployment, "Available")


def provider_problems(inventory: Iterable[Document]) -> tuple[list[str], list[str]]:
    """Return which pinned providers are absent, and which of clusterctl's inventory are others than pinned."""
    stored = {name(each): each for each in inventory}
    absent = [f"{each.inventory} {each.version}" for each in PROVIDERS if each.inventory not in stored]
    other = [
        f"{each.inventory} is {stored[each.inventory].get('version')}, not {each.version}"
        for each in PROVIDERS
        if each.inventory in stored and stored[each.inventory].get("version") != each.version
    ]
    return absent, other


def _status(live: Document) -> Mapping[str, Any]:
    return live.get("status") or {}
