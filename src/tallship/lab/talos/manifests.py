"""PURE: what Talos puts into a new cluster by itself: the cluster's DNS (Talos v1.12: `11-core-dns`)."""

from __future__ import annotations

import ipaddress
from typing import Any

from tallship.lab.talos.releases import number

Document = dict[str, Any]

COREDNS: dict[tuple[int, ...], str] = {(1, 10): "v1.12.1", (1, 11): "v1.12.3", (1, 12): "v1.13.2"}
"""Talos: constants.DefaultCoreDNSVersion; a release that is not named has the newest."""
_NAMESPACE = "kube-system"


def resources(talos: str, config: Document) -> dict[str, list[Document]]:
    """Return the bootstrap manifests of a control plane, by their ids."""
    network = config["cluster"].get("network") or {}
    services = str((network.get("serviceSubnets") or ["10.96.0.0/12"])[0])
    domain = str(network.get("dnsDomain") or "cluster.local")
    version = COREDNS.get(number(talos)[:2], max(COREDNS.values(), key=number))
    return {
        "11-core-dns": [_account(), _role(), _binding(), _settings(domain), _deployment(version)],
        "11-core-dns-svc": [_service(str(ipaddress.ip_network(services)[10]))],
    }


def _account() -> Document:
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "coredns", "namespace": _NAMESPACE}}


def _role() -> Document:
    watched = ["endpoints", "services", "pods", "namespaces"]
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "system:coredns"},
        "rules": [
            {"apiGroups": [""], "resources": watched, "verbs": ["list", "watch"]},
            {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
        ],
    }


def _binding() -> Document:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "system:coredns"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:coredns"},
        "subjects": [{"kind": "ServiceAccount", "name": "coredns", "namespace": _NAMESPACE}],
    }


def _settings(domain: str) -> Document:
    lines = [".:53 {", "    errors", "    health", "    ready", f"    kubernetes {domain} in-addr.arpa ip6.arpa", "}"]
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "coredns", "namespace": _NAMESPACE},
        "data": {"Corefile": "\n".join(lines) + "\n"},
    }


def _deployment(version: str) -> Document:
    labels = {"k8s-app": "kube-dns"}
    tolerated = ("node-role.kubernetes.io/control-plane", "node.cloudprovider.kubernetes.io/uninitialized")
    container = {
        "name": "coredns",
        "image": f"registry.k8s.io/coredns/coredns:{version}",
        "args": ["-conf", "/etc/coredns/Corefile"],
        "resources": {"requests": {"cpu": "100m", "memory": "70Mi"}},
    }
    pod = {
        "serviceAccountName": "coredns",
        "priorityClassName": "system-cluster-critical",
        "tolerations": [{"key": key, "operator": "Exists", "effect": "NoSchedule"} for key in tolerated],
        "containers": [container],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "coredns", "namespace": _NAMESPACE, "labels": labels},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


def _service(address: str) -> Document:
    ports = [
        {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": 53},
        {"name": "dns-tcp", "port": 53, "protocol": "TCP", "targetPort": 53},
    ]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "kube-dns", "namespace": _NAMESPACE, "labels": {"k8s-app": "kube-dns"}},
        "spec": {"selector": {"k8s-app": "kube-dns"}, "clusterIP": address, "ports": ports},
    }
