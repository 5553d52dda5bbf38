"""Talos' own ingress firewall, the second line: it filters the private network too, which Hetzner's does not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from tallship.manifests.addons import values
from tallship.manifests.firewall import API_PORT, TALOS_PORT
from tallship.spec import Spec
from tallship.spec.values import PRIVATE_NETWORKS

Document = dict[str, Any]

TRUSTD_PORT = 50001
KUBELET_PORT = 10250
ETCD_PORTS = "2379-2380"
CILIUM_HEALTH_PORT = 4240
HUBBLE_PORT = 4244
MUTUAL_AUTH_PORT = 4250
VXLAN_PORT = 8472
GENEVE_PORT = 6081
WIREGUARD_PORT = 51871
ANYWHERE = "0.0.0.0/0"
DEFAULT: Document = {"apiVersion": "v1alpha1", "kind": "NetworkDefaultActionConfig", "ingress": "block"}
ONLY_CONTROL_PLANES = ("trustd", "kubernetes-api", "etcd")
"""The rules about what runs on control planes alone."""


def documents(spec: Spec) -> list[Document]:
    """Return the documents that close every port of a node but those that the cluster needs.

    Talos v1.12: with `block` a rule lets its subnets in, and everything else is dropped but loopback (KubePrism, port
    7445, listens there alone), answers, ICMP, and what pods say to pods and Services. What Cilium takes in before
    nftables (NodePorts, load balancers of Services) meets no rule.

    A load balancer's health checks, and all that it forwards, come from its address in the servers' subnet.
    """
    return [DEFAULT, *(_rule(*each) for each in _rules(spec))]


def worker_documents(spec: Spec) -> list[Document]:
    """Return the documents of a worker, which serves less: no Kubernetes API, no etcd, and it signs nothing."""
    return [DEFAULT, *(_rule(*each) for each in _rules(spec) if each[0] not in ONLY_CONTROL_PLANES)]


def _rules(spec: Spec) -> Iterator[tuple[str, Sequence[int | str], str, Sequence[str]]]:
    nodes, pods = [spec.network.control_plane_subnet], [spec.network.pods]
    admins = [*PRIVATE_NETWORKS, *spec.firewall.admin_networks]
    yield "apid", [TALOS_PORT], "tcp", talos_sources(spec)
    yield "trustd", [TRUSTD_PORT], "tcp", nodes
    yield "kubernetes-api", [API_PORT], "tcp", nodes + pods + admins
    yield "etcd", [ETCD_PORTS], "tcp", nodes
    yield "kubelet", [KUBELET_PORT], "tcp", nodes + pods
    yield "cilium-health", [CILIUM_HEALTH_PORT], "tcp", nodes + pods
    yield "hubble", [HUBBLE_PORT], "tcp", nodes + pods
    cilium = values("cilium", spec)
    if cilium.get("routingMode") != "native":
        port = GENEVE_PORT if cilium.get("tunnelProtocol") == "geneve" else VXLAN_PORT
        yield "cilium-tunnel", [port], "udp", nodes
    if (cilium.get("encryption") or {}).get("type") == "wireguard":
        yield "cilium-wireguard", [WIREGUARD_PORT], "udp", nodes
    if "authentication" in cilium:
        yield "cilium-authentication", [MUTUAL_AUTH_PORT], "tcp", nodes


def talos_sources(spec: Spec) -> list[str]:
    """Return from where port 50000 is open: everywhere when nobody wrote down where Cluster API dials from.

    This machine's own address is no answer: it changes, and a changed configuration replaces every server. Hetzner's
    firewall follows it.
    """
    if spec.management.egress_cidr is None:
        return [ANYWHERE]
    admins = spec.firewall.admin_networks if spec.firewall.talos_api else ()
    return [
        spec.network.control_plane_subnet,
        spec.network.pods,
        spec.management.egress_cidr,
        *PRIVATE_NETWORKS,
        *admins,
    ]


def _rule(name: str, ports: Sequence[int | str], protocol: str, sources: Sequence[str]) -> Document:
    return {
        "apiVersion": "v1alpha1",
        "kind": "NetworkRuleConfig",
        "name": name,
        "portSelector": {"ports": list(ports), "protocol": protocol},
        "ingress": [{"subnet": source} for source in dict.fromkeys(sources)],
    }
