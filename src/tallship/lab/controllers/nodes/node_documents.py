"""PURE: what a Talos machine's configuration makes of its Node."""

from __future__ import annotations

import hashlib
import ipaddress
import re
from typing import Any

from tallship.lab.clock import LabClock, timestamp
from tallship.lab.kubeclient import Object
from tallship.lab.talos.releases import boot_id, kernel

UNINITIALIZED = "node.cloudprovider.kubernetes.io/uninitialized"
CONTROL_PLANE = "node-role.kubernetes.io/control-plane"
NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"
PROVIDED_IP = "alpha.kubernetes.io/provided-node-ip"

_KUBELET_LABELS = (
    "kubernetes.io/hostname",
    "kubernetes.io/arch",
    "kubernetes.io/os",
    "beta.kubernetes.io/arch",
    "beta.kubernetes.io/os",
    "beta.kubernetes.io/instance-type",
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
)
"""Kubernetes: the labels of its own domains that a kubelet may set, beside those of `node.kubernetes.io`."""

NO_CNI = (
    "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady "
    "message:Network plugin returns error: cni plugin not initialized"
)

Config = dict[str, Any]
"""A machine's v1alpha1 document."""


def node_addresses(config: Config, addresses: list[str]) -> list[str]:
    """Return the addresses that Talos passes to kubelet as its node IPs.

    Talos: routed addresses outside the pod and service networks, filtered by `kubelet.nodeIP.validSubnets`
    (a subnet with a leading `!` takes addresses out); the first of each family.
    """
    network = section(config, "cluster", "network")
    excluded = [*network.get("podSubnets", []), *network.get("serviceSubnets", [])]
    wanted = section(config, "machine", "kubelet", "nodeIP").get("validSubnets", [])
    kept = [each for each in addresses if not _in_any(each, excluded) and _wanted(each, wanted)]
    first = {ipaddress.ip_address(each).version: each for each in reversed(kept)}
    return [first[version] for version in (4, 6) if version in first]


def node(name: str, config: Config, node_ips: list[str], talos_version: str, boots: int) -> Object:
    """Return the Node that kubelet registers."""
    own = _own_settings(config)
    labels = {
        "beta.kubernetes.io/arch": "amd64",
        "beta.kubernetes.io/os": "linux",
        "kubernetes.io/arch": "amd64",
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        **({CONTROL_PLANE: ""} if is_control_plane(config) else {}),
        **own.get("nodeLabels", {}),
    }
    annotations = {
        **({PROVIDED_IP: ",".join(node_ips)} if external_cloud(config) else {}),
        "node.alpha.kubernetes.io/ttl": "0",
        "volumes.kubernetes.io/controller-managed-attach-detach": "true",
        **own.get("nodeAnnotations", {}),
    }
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels, "annotations": annotations},
        "spec": {"taints": _first_taints(config)},
        "status": {
            "addresses": [
                *({"type": "InternalIP", "address": each} for each in node_ips),
                {"type": "Hostname", "address": name},
            ],
            "capacity": {"cpu": "4", "memory": "7941648Ki", "pods": "110", "ephemeral-storage": "77815Mi"},
            "allocatable": {"cpu": "3950m", "memory": "7413264Ki", "pods": "110", "ephemeral-storage": "71416Mi"},
            "nodeInfo": _node_info(name, config, talos_version, boots),
            "images": [],
        },
    }


def kind_node(name: str, version: str, address: str, clock: LabClock) -> Object:
    """Return the one node of a kind cluster, which is ready from the start."""
    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "lastTransitionTime": timestamp(clock)}
    addresses = [{"type": "InternalIP", "address": address}, {"type": "Hostname", "address": name}]
    info = {"kubeletVersion": version, "osImage": "Debian GNU/Linux 12 (bookworm)", "operatingSystem": "linux"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {CONTROL_PLANE: "", "kubernetes.io/hostname": name}},
        "spec": {},
        "status": {"addresses": addresses, "conditions": [ready], "nodeInfo": info, "images": []},
    }


def kubernetes_version(config: Config) -> str:
    """Return the version of the kubelet image, such as `v1.32.2`."""
    image = str(section(config, "machine", "kubelet").get("image", ""))
    return image.rpartition(":")[2]


def is_control_plane(config: Config) -> bool:
    """True for a machine that runs etcd and an API server."""
    return section(config, "machine").get("type") in ("controlplane", "init")


def external_cloud(config: Config) -> bool:
    """True when kubelet runs with `cloud-provider=external`: its node is tainted until a CCM knows it."""
    extra = section(config, "machine", "kubelet", "extraArgs").get("cloud-provider")
    return extra == "external" or bool(section(config, "cluster", "externalCloudProvider").get("enabled"))


def rotates_server_certificates(config: Config) -> bool:
    """True when kubelet asks the API server for its serving certificate."""
    extra = section(config, "machine", "kubelet", "extraArgs").get("rotate-server-certificates", "")
    return str(extra).lower() == "true"


def kube_prism(config: Config) -> str:
    """Return `localhost:PORT` of KubePrism; empty when it is off."""
    prism = section(config, "machine", "features", "kubePrism")
    return f"localhost:{prism.get('port', 7445)}" if prism.get("enabled") else ""


def kube_proxy_runs(config: Config) -> bool:
    """True unless kube-proxy is disabled: then the service network has no way to the API server."""
    return not section(config, "cluster", "proxy").get("disabled")


def section(config: Config, *path: str) -> Config:
    """Return a section of the configuration; empty when it, or something above it, is absent or null."""
    found: Any = config
    for key in path:
        found = (found or {}).get(key)
    return found or {}


def pod_cidr(config: Config, taken: set[str]) -> str:
    """Return the first free /24 of the pod network, as kube-controller-manager gives them out; empty when full."""
    subnets = section(config, "cluster", "network").get("podSubnets") or ["10.244.0.0/16"]
    network = ipaddress.ip_network(subnets[0])
    parts = network.subnets(new_prefix=max(24, network.prefixlen)) if network.version == 4 else iter(())
    return next((str(each) for each in parts if str(each) not in taken), "")


def _first_taints(config: Config) -> list[Object]:
    taints: list[Object] = [{"key": NOT_READY, "effect": "NoSchedule"}]
    if external_cloud(config):
        taints.append({"key": UNINITIALIZED, "value": "true", "effect": "NoSchedule"})
    if is_control_plane(config) and not section(config, "cluster").get("allowSchedulingOnControlPlanes"):
        taints.append({"key": CONTROL_PLANE, "effect": "NoSchedule"})
    taints += section(config, "machine", "kubelet", "extraConfig").get("registerWithTaints") or []
    for key, value in _own_settings(config).get("nodeTaints", {}).items():
        text, _, effect = str(value).rpartition(":")
        taints.append({"key": key, "effect": effect} | ({"value": text} if text else {}))
    return taints


def _own_settings(config: Config) -> Config:
    """Return what a machine may say of its own Node: labels, annotations, taints.

    Talos v1.12 writes the three in one update; on a worker with the kubelet's rights. Kubernetes: its plug-in
    NodeRestriction refuses an update of taints, and of labels in its own domains but for a few, as a whole.
    """
    machine = section(config, "machine")
    own = {key: machine.get(key) or {} for key in ("nodeLabels", "nodeAnnotations", "nodeTaints")}
    if is_control_plane(config) or (not own["nodeTaints"] and all(map(_may_label, own["nodeLabels"]))):
        return own
    return {}


def _may_label(key: str) -> bool:
    """True for a label that a kubelet may give its Node (Kubernetes: NodeRestriction)."""
    domain = key.partition("/")[0] if "/" in key else ""
    if not any(domain == each or domain.endswith(f".{each}") for each in ("kubernetes.io", "k8s.io")):
        return True
    own = any(domain == each or domain.endswith(f".{each}") for each in ("kubelet.kubernetes.io", "node.kubernetes.io"))
    return own or key in _KUBELET_LABELS


def _node_info(name: str, config: Config, talos_version: str, boots: int) -> Object:
    identity = hashlib.sha256(name.encode()).hexdigest()
    return {
        "architecture": "amd64",
        "bootID": boot_id(name, boots),
        "containerRuntimeVersion": "containerd://2.1.6",
        "kernelVersion": kernel(talos_version),
        "kubeProxyVersion": kubernetes_version(config),
        "kubeletVersion": kubernetes_version(config),
        "machineID": identity[:32],
        "operatingSystem": "linux",
        "osImage": f"Talos ({talos_version})",
        "systemUUID": _uuid(identity),
    }


def _uuid(digits: str) -> str:
    return re.sub(r"^(.{8})(.{4})(.{4})(.{4})(.{12}).*$", r"\1-\2-\3-\4-\5", digits)


def _in_any(address: str, networks: list[str]) -> bool:
    found = ipaddress.ip_address(address)
    return any(found in ipaddress.ip_network(each) for each in networks)


def _wanted(address: str, subnets: list[str]) -> bool:
    if _in_any(address, [each[1:] for each in subnets if each.startswith("!")]):
        return False
    included = [each for each in subnets if not each.startswith("!")]
    return not included or _in_any(address, included)
