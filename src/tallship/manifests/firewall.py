"""Who may reach the servers' public addresses. The private network is not filtered by Hetzner's firewalls."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from tallship.spec import Spec
from tallship.spec.values import PRIVATE_NETWORKS

Rule = dict[str, Any]

API_PORT = 6443
TALOS_PORT = 50000
PORTS = {API_PORT: "Kubernetes API", TALOS_PORT: "Talos API"}
"""What a server serves for people and for Cluster API, by port."""

CLUSTER_LABEL = "tallship-cluster"

EVERYBODY = ("0.0.0.0/0", "::/0")
MOST_RULES = 50
"""Hetzner: rules of one firewall."""
MOST_NETWORKS = 100
"""Hetzner: networks of one rule."""
MOST_EFFECTIVE = 500
"""Hetzner: networks of all rules in force on one server."""
MOST_FIREWALLS = 5
"""Hetzner: firewalls on one server."""

LONGEST = timedelta(days=30)
"""For so long a network is let in at most."""
_SLACK = timedelta(days=1)
"""What is let in for longer still was written by a clock that was wrong: its time is over."""
_ALLOWED = re.compile(r".* API allowed until (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)")
_TIME = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True, order=True)
class Allowed:
    """A network that is let in for a while. When that ends stands in its rules' descriptions, and nowhere else."""

    network: str
    until: datetime

    def __str__(self) -> str:
        return f"{self.network} until {self.until.strftime(_TIME)}"


def rules(spec: Spec, egress: Sequence[str] = (), allowed: Iterable[Allowed] = ()) -> list[Rule]:
    """Return the rules as Hetzner's API takes them; whatever they do not name is dropped.

    `egress` are the networks that a management cluster outside the cluster dials from: CACPPT v0.5.12 reaches each
    machine's Talos API at its own addresses. The Kubernetes API is reached through the load balancer.
    """
    admins = spec.firewall.admin_networks
    ports = [port for port in PORTS if port != TALOS_PORT or spec.firewall.talos_api]
    found = [_rule(port, PRIVATE_NETWORKS, "from private networks") for port in ports]
    found += [_rule(port, admins, "from admin networks") for port in ports if admins]
    found.append({"direction": "in", "protocol": "icmp", "source_ips": list(EVERYBODY), "description": "ICMP"})
    found += [
        _rule(port, [each.network], f"allowed until {each.until.strftime(_TIME)}")
        for each in sorted(set(allowed))
        for port in PORTS
    ]
    return found + ([_rule(TALOS_PORT, egress, "from the management cluster")] if egress else [])


def _rule(port: int, networks: Iterable[str], description: str) -> Rule:
    return {
        "direction": "in",
        "protocol": "tcp",
        "port": str(port),
        "source_ips": sorted({str(ipaddress.ip_network(network)) for network in networks}),
        "description": f"{PORTS[port]} {description}",
    }


def allowed(rules: Iterable[Mapping[str, Any]], now: datetime) -> list[Allowed]:
    """Return the networks that live rules let in for a while that has not ended."""
    found: dict[str, datetime] = {}
    for rule in rules:
        until = _until(rule)
        for network in (rule.get("source_ips") or ()) if until is not None and not is_expired(rule, now) else ():
            found[network] = max(until or now, found.get(network, now))
    return [Allowed(network, until) for network, until in sorted(found.items())]


def is_expired(rule: Mapping[str, Any], now: datetime) -> bool:
    """True for a rule whose time is over."""
    until = _until(rule)
    return until is not None and not now < until <= now + LONGEST + _SLACK


def _until(rule: Mapping[str, Any]) -> datetime | None:
    described = _ALLOWED.fullmatch(rule.get("description") or "")
    try:
        return datetime.strptime(described[1], _TIME).replace(tzinfo=UTC) if described else None
    except ValueError:  # no such day
        return None


def normal(rules: Iterable[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """Return rules in a form that is equal for lists that say the same, in whatever order."""
    return sorted(map(_meaning, rules))


def _meaning(rule: Mapping[str, Any]) -> tuple[str, ...]:
    words = [str(rule.get(key) or "") for key in ("direction", "protocol", "port", "description")]
    networks = [*(rule.get("source_ips") or ()), "to", *(rule.get("destination_ips") or ())]
    return (*words, *sorted(networks))


def differences(live: Iterable[Mapping[str, Any]], wanted: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return what is open and should not be, and what should be open and is not, each as a line."""
    have, want = ({_meaning(rule): f"{text(rule)}{_told(rule)}" for rule in rules} for rules in (live, wanted))
    lost = [f"lacks {want[key]}" for key in want if key not in have]
    return [f"has {have[key]}" for key in have if key not in want] + lost


def _told(rule: Mapping[str, Any]) -> str:
    return f" (`{rule['description']}`)" if rule.get("description") else ""


def text(rule: Mapping[str, Any]) -> str:
    """Return a rule as a person reads it."""
    way = "to" if rule.get("direction") == "out" else "from"
    return f"{what(rule)} {way} {sources(rule)}"


def what(rule: Mapping[str, Any]) -> str:
    """Return the port of a rule, or its protocol where that has no ports."""
    return str(rule.get("port") or str(rule.get("protocol")).upper())


def sources(rule: Mapping[str, Any]) -> str:
    """Return the networks of a rule as a person reads them."""
    networks = [*(rule.get("source_ips") or ()), *(rule.get("destination_ips") or ())]
    return "everybody" if EVERYBODY[0] in networks else ", ".join(networks)


def admits(rules: Iterable[Mapping[str, Any]], port: int, source: str) -> bool:
    """True when the rules let TCP from an address (or a whole network) in at a port."""
    wanted = ipaddress.ip_network(source)
    return any(
        _has_port(str(rule.get("port") or ""), port)
        and any(_holds(text, wanted) for text in rule.get("source_ips") or ())
        for rule in rules
        if rule.get("direction") == "in" and rule.get("protocol") == "tcp"
    )


def _has_port(ports: str, port: int) -> bool:
    first, _, last = ports.partition("-")
    return ports == "any" or int(first or 0) <= port <= int(last or first or 0)


def _holds(text: str, wanted: ipaddress.IPv4Network | ipaddress.IPv6Network) -> bool:
    network = ipaddress.ip_network(text, strict=False)
    if isinstance(network, ipaddress.IPv4Network):
        return isinstance(wanted, ipaddress.IPv4Network) and wanted.subnet_of(network)
    return isinstance(wanted, ipaddress.IPv6Network) and wanted.subnet_of(network)


def excesses(rules: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield each of Hetzner's limits that these rules would break."""
    if len(rules) > MOST_RULES:
        yield f"{len(rules)} rules, and Hetzner takes {MOST_RULES}"
    counts = [len(rule.get("source_ips") or ()) for rule in rules]
    if max(counts, default=0) > MOST_NETWORKS:
        yield f"{max(counts)} networks in one rule, and Hetzner takes {MOST_NETWORKS}"
    if sum(counts) > MOST_EFFECTIVE:
        yield f"{sum(counts)} networks in all rules, and Hetzner takes {MOST_EFFECTIVE} for one server"


def labels(spec: Spec) -> dict[str, str]:
    """Return the firewall's labels at Hetzner."""
    return {CLUSTER_LABEL: spec.names.cluster, "managed-by": "tallship"}


def selector(spec: Spec) -> str:
    """Return the label selector of the servers it is put on: CAPH labels each one when it makes it."""
    return spec.names.owned_by_caph
