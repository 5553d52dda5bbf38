"""PURE: what a machine's own firewall lets in, by the documents of its configuration."""

from __future__ import annotations

import ipaddress
from typing import Any, Final

from tallship.lab.talos.config.validate import MachineConfig

Document = dict[str, Any]

ETCD_PORT: Final = 2380
"""Where etcd's members talk to each other."""

TRUSTD_PORT: Final = 50001
"""Where workers get their certificates from control planes."""


def lets_in(config: MachineConfig, port: int, source: str) -> bool:
    """True when TCP from the source reaches a port of the machine.

    Talos v1.12: the default action turns the meaning of a rule. With `block` it lets its subnets in and the rest is
    dropped; with `accept` it keeps out whoever is not in its subnets.
    """
    rules = [each for each in config.documents if each.get("kind") == "NetworkRuleConfig" and _names(each, port)]
    matching = [any(_holds(entry, source) for entry in rule.get("ingress") or ()) for rule in rules]
    default = next((each for each in config.documents if each.get("kind") == "NetworkDefaultActionConfig"), {})
    return any(matching) if default.get("ingress") == "block" else all(matching)


def _names(rule: Document, port: int) -> bool:
    selector = rule.get("portSelector") or {}
    if (selector.get("protocol") or "tcp") != "tcp":
        return False
    ends = (str(each).partition("-") for each in selector.get("ports") or ())
    return any(int(low) <= port <= int(high or low) for low, _, high in ends)


def _holds(entry: Document, source: str) -> bool:
    address, left_out = ipaddress.ip_address(source), entry.get("except")
    if left_out and address in ipaddress.ip_network(left_out, strict=False):
        return False
    return address in ipaddress.ip_network(entry["subnet"], strict=False)
