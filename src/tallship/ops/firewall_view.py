"""The firewall at a glance: what it says, where it is in force, and what can be reached all the same."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tallship.adapters.hetzner_resources import Firewall, Server
from tallship.engine import State
from tallship.env import Env
from tallship.errors import TallshipError
from tallship.manifests import firewall
from tallship.manifests.firewall import Allowed
from tallship.manifests.firewall_exposure import Opening, exposure
from tallship.ops.firewall import FirewallApplied, FirewallMatches, egress, rules


@dataclass
class View:
    """One look."""

    summary: str = ""
    openings: list[Opening] = field(default_factory=list)
    """Every way in, those that no firewall closes among them."""
    allowed: list[Allowed] = field(default_factory=list)
    servers: dict[str, str] = field(default_factory=dict)
    """`applied`, `pending` or `not applied`, by the server's name."""
    problems: list[str] = field(default_factory=list)

    def as_data(self) -> dict[str, Any]:
        """Return it as the JSON envelope shows it."""
        return {
            "summary": self.summary,
            "openings": [each.as_data() for each in self.openings],
            "allowed": [{"network": each.network, "until": each.until.isoformat()} for each in self.allowed],
            "servers": self.servers,
            "problems": self.problems,
        }


def view(env: Env) -> View:
    """Return what is in force now. An empty project has nothing wrong with it. Raises ApiError or SetupError."""
    found = env.hetzner.find_firewall(env.spec.names.firewall)
    servers = env.hetzner.list_servers(env.spec.names.owned_by_caph)
    if found is None:
        wrong = [f"there is no firewall: everybody reaches every port of {len(servers)} servers"] if servers else []
        return View("none", [], [], dict.fromkeys((each.name for each in servers), "not applied"), wrong)
    result = View(
        f"{len(found.rules)} rules on {', '.join(sorted(found.selectors)) or 'no server'}",
        exposure(env.spec, found.rules, _egress(env)),
        firewall.allowed(found.rules, env.clock.today()),
        {each.name: each.firewalls.get(found.id, "not applied") for each in servers},
    )
    result.problems = _problems(env, found, servers)
    return result


def planned(env: Env) -> list[Opening]:
    """Return every way in that there will be, as far as that is known."""
    return exposure(env.spec, rules(env, None, _egress(env)), _egress(env))


def _problems(env: Env, found: Firewall, servers: list[Server]) -> list[str]:
    wrong = []
    for step in (FirewallMatches(), FirewallApplied()):
        try:
            seen = step.probe(env)
        except TallshipError as error:
            wrong.append(f"could not be seen: {error.message}")
            continue
        if seen.state in (State.MISSING, State.WORKING, State.BROKEN):
            wrong.append(seen.detail or f"to be done: {seen.change}")
    others = [each.name for each in servers if set(each.firewalls) - {found.id}]
    if others:
        wrong.append(f"another firewall is on {', '.join(others)} too: what it lets in comes in")
    return wrong


def _egress(env: Env) -> list[str]:
    try:
        return egress(env)
    except TallshipError:
        return []
