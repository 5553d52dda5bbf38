"""The firewall before every server of the cluster."""

from __future__ import annotations

import ipaddress

from tallship.engine import Seen, State, Step
from tallship.env import Env
from tallship.errors import SetupError
from tallship.manifests import firewall


class FirewallMatches(Step[Env]):
    """A firewall on the label of every server of the cluster has exactly our rules; made before the first server."""

    name = "firewall"
    title = "Put the firewall"

    def probe(self, env: Env) -> Seen:
        """Compare rules and label selector."""
        wanted = firewall.rules(env.spec, egress(env))
        found = env.hetzner.find_firewall(env.spec.names.firewall)
        if found is None:
            return Seen(State.MISSING, change=f"create firewall {env.spec.names.firewall}")
        if firewall.normal(found.rules) != firewall.normal(wanted):
            return Seen(State.MISSING, "its rules differ", change=f"set the rules of firewall {found.name}")
        if firewall.selector(env.spec) not in found.selectors:
            return Seen(State.MISSING, change=f"apply firewall {found.name} to {firewall.selector(env.spec)}")
        return Seen(State.READY, f"{len(found.rules)} rules on {firewall.selector(env.spec)}")

    def act(self, env: Env, seen: Seen) -> None:
        """Create it or set what differs."""
        env.hetzner.put_firewall(
            env.spec.names.firewall,
            firewall.rules(env.spec, egress(env)),
            firewall.selector(env.spec),
            firewall.labels(env.spec),
        )


class FirewallApplied(Step[Env]):
    """Every server of the cluster has the firewall applied, by Hetzner's own answer."""

    name = "firewall-apply"
    title = "See the firewall on every server"
    timeout = 300

    def probe(self, env: Env) -> Seen:
        """Ask Hetzner which servers have it."""
        found = env.hetzner.find_firewall(env.spec.names.firewall)
        if found is None:
            return Seen(State.BLOCKED, "needs `firewall` first")
        servers = env.hetzner.list_servers(env.spec.names.owned_by_caph)
        if not servers:
            return Seen(State.BLOCKED, "needs `apply` first")
        open_servers = [each.name for each in servers if each.firewalls.get(found.id) != "applied"]
        if not open_servers:
            return Seen(State.READY, f"on {len(servers)} servers")
        if firewall.selector(env.spec) not in found.selectors:
            return Seen(State.MISSING, change=f"apply firewall {found.name} to {firewall.selector(env.spec)}")
        return Seen(State.WORKING, f"not applied yet: {', '.join(open_servers)}")

    def act(self, env: Env, seen: Seen) -> None:
        """Bind the firewall to the label that every server of the cluster has."""
        FirewallMatches().act(env, seen)


def egress(env: Env) -> list[str]:
    """Return the networks from which Cluster API's controllers dial the nodes; none once the cluster manages itself."""
    if env.manages_itself:
        return []
    if env.spec.management.egress_cidr is not None:
        return [env.spec.management.egress_cidr]
    if env.spec.management.mode == "kubeconfig":
        raise SetupError(
            "nobody knows from which address the management cluster dials the nodes",
            hint="set `management.egress_cidr` in the cluster file",
        )
    address = env.own_address
    return [str(ipaddress.ip_network(address))]
