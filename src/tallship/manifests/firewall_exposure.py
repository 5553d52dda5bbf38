"""What of a cluster can be reached from where, said as it is: also what no firewall of Hetzner's protects."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tallship.manifests.firewall import API_PORT, PORTS, TALOS_PORT, sources, what
from tallship.spec import Spec


@dataclass(frozen=True)
class Opening:
    """One way in."""

    where: str
    """`servers`, `load balancer` or `private network`."""
    what: str
    """A port, a protocol, or everything."""
    who: str
    why: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what} from {self.who} ({self.why})"

    def as_data(self) -> dict[str, str]:
        """Return it as the JSON envelope shows it."""
        return asdict(self)


def exposure(spec: Spec, rules: Iterable[Mapping[str, Any]], egress: Sequence[str]) -> list[Opening]:
    """Return every way in that rules leave at the servers, and those that no rule can close.

    `egress` are the networks that a management cluster outside dials from; empty once the cluster manages itself.
    """
    return [
        *(_of_rule(rule, egress) for rule in rules if rule.get("direction") == "in"),
        *_of_load_balancer(spec),
        _of_private_network(spec),
    ]


def _of_rule(rule: Mapping[str, Any], egress: Sequence[str]) -> Opening:
    why = str(rule.get("description") or "a rule that is not ours")
    if rule.get("port") == str(TALOS_PORT) and egress and set(rule.get("source_ips") or ()) == set(egress):
        why = "Cluster API runs outside the cluster and dials the nodes there; `tallship pivot` closes it"
    return Opening("servers", what(rule), sources(rule), why)


def _of_load_balancer(spec: Spec) -> list[Opening]:
    """Hetzner: a firewall is put on servers; a load balancer cannot have one."""
    where, who = "load balancer", "everybody"
    found = [
        Opening(where, str(API_PORT), who, f"{PORTS[API_PORT]}; no firewall of Hetzner's protects a load balancer")
    ]
    if spec.load_balancer.talos_api:
        why = f"{PORTS[TALOS_PORT]}, to who has a certificate; `load_balancer.talos_api: false` closes it"
        found.append(Opening(where, str(TALOS_PORT), who, why))
    return found


def _of_private_network(spec: Spec) -> Opening:
    if spec.firewall.talos:
        why = "Talos' own firewall lets in what the cluster needs"
        return Opening("private network", "some ports", spec.network.cidr, why)
    why = "no firewall of Hetzner's filters it; `firewall.talos: true` closes what the cluster does not need"
    return Opening("private network", "every port", spec.network.cidr, why)
