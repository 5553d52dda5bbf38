"""What can be reached from this machine: tried with TCP and TLS, whatever an API says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tallship.adapters import reach
from tallship.adapters.hetzner_resources import Firewall, Server
from tallship.env import Env
from tallship.errors import ApiError, TallshipError
from tallship.manifests import firewall
from tallship.manifests.firewall import API_PORT, PORTS
from tallship.ops.cluster import has_providers, load_balancer_address


@dataclass(frozen=True)
class Door:
    """One port of one address, as the rules say and as it was found from here."""

    where: str
    """The server's name, or `load balancer`."""
    address: str
    port: int
    may: bool | None
    """Whether the rules let this machine in; None when its own address is not known."""
    answers: bool
    """Whether a TLS handshake ended well."""

    @property
    def problem(self) -> str:
        """What is wrong, or nothing."""
        name = f"{self.where} ({self.address})"
        if self.answers and self.may is False:
            return f"{name}: {self.port} answers from here, though no rule lets this machine in"
        if not self.answers and self.may:
            return f"{name}: {self.port} does not answer, though this machine may reach it"
        return ""

    def as_data(self) -> dict[str, Any]:
        """Return it as the JSON envelope shows it."""
        return asdict(self)


def knock(env: Env) -> list[Door]:
    """Return every door of the cluster, tried from this machine; all at once, at most some seconds."""
    found = env.hetzner.find_firewall(env.spec.names.firewall)
    servers = env.hetzner.list_servers(env.spec.names.owned_by_caph)
    own = known_address(env)
    doors = [(each.name, each.ipv4, port, _may(found, port, own)) for each in servers if each.ipv4 for port in PORTS]
    if balancer := _balancer(env):
        leads_to = PORTS if env.spec.load_balancer.talos_api else (API_PORT,)
        doors += [("load balancer", balancer, port, True) for port in leads_to]
    answering = reach.answering((address, port) for _, address, port, _ in doors)
    return [Door(where, address, port, may, (address, port) in answering) for where, address, port, may in doors]


def open_against_rules(env: Env, found: Firewall, servers: Sequence[Server]) -> list[str]:
    """Return each port of a server that answers from here although no rule lets this machine in.

    A port that is silent although it may answer says nothing of the firewall: the server may be booting.
    """
    own = known_address(env)
    closed = [(each.ipv4, port) for each in servers if each.ipv4 for port in PORTS if not _may(found, port, own)]
    if not own or not closed:
        return []
    names = {each.ipv4: each.name for each in servers}
    answering = sorted(reach.answering(closed))
    return [Door(names[address], address, port, False, True).problem for address, port in answering]


def known_address(env: Env) -> str:
    """Return this machine's public address, or nothing when the service that tells it does not answer."""
    try:
        return env.own_address
    except ApiError:
        return ""


def _may(found: Firewall | None, port: int, own: str) -> bool | None:
    if found is None:
        return True  # Hetzner: without a firewall everything is let in
    return firewall.admits(found.rules, port, own) if own else None


def _balancer(env: Env) -> str:
    try:
        return load_balancer_address(env) if has_providers(env) else ""
    except TallshipError:
        return ""
