"""Who may reach the servers' public addresses. The private network is not filtered by Hetzner's firewalls."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tallship.spec import Spec

Rule = dict[str, Any]

CLUSTER_LABEL = "tallship-cluster"


def rules(spec: Spec, egress: Sequence[str] = ()) -> list[Rule]:
    """Return the rules as Hetzner's API takes them; whatever they do not name is dropped.

    `egress` are the networks that a management cluster outside the cluster dials from: CACPPT reaches each machine's
    Talos API at its public address. The Kubernetes API is reached through the load balancer.
    """
    admins = spec.firewall.admin_networks
    return [
        *_rule("6443", admins, "Kubernetes API from admin networks"),
        *_rule("50000", admins if spec.firewall.talos_api else (), "Talos API from admin networks"),
        *_rule("50000", egress, "Talos API from the management cluster"),
    ]


def _rule(port: str, sources: Iterable[str], description: str) -> list[Rule]:
    networks = sorted({str(ipaddress.ip_network(source)) for source in sources})
    if not networks:
        return []
    return [
        {"direction": "in", "protocol": "tcp", "port": port, "source_ips": networks, "description": description},
    ]


def normal(rules: Iterable[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """Return rules in a form that is equal for lists that say the same, in whatever order."""
    return sorted(map(_meaning, rules))


def _meaning(rule: Mapping[str, Any]) -> tuple[str, ...]:
    words = [str(rule.get(key) or "") for key in ("direction", "protocol", "port", "description")]
    networks = [*(rule.get("source_ips") or ()), "to", *(rule.get("destination_ips") or ())]
    return (*words, *sorted(networks))


def labels(spec: Spec) -> dict[str, str]:
    """Return the firewall's labels at Hetzner."""
    return {CLUSTER_LABEL: spec.names.cluster, "managed-by": "tallship"}


def selector(spec: Spec) -> str:
    """Return the label selector of the servers it is put on: CAPH labels each one when it makes it."""
    return spec.names.owned_by_caph
