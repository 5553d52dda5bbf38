"""The firewall before every server of the cluster."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from tallship.adapters.hetzner_resources import Firewall, Server
from tallship.engine import Seen, State, Step
from tallship.env import Env
from tallship.errors import ApiError, SetupError, StepFailed, TallshipError
from tallship.manifests import firewall
from tallship.manifests.firewall import TALOS_PORT, Rule
from tallship.ops import firewall_reach

ADMIN_HINT = "name fewer networks in `firewall.admin_networks` of the cluster file"


class FirewallMatches(Step[Env]):
    """A firewall on the label of every server of the cluster has exactly our rules; made before the first server.

    What `tallship firewall allow` let in stays until its time is over. While Cluster API lives outside the cluster,
    the Talos API is open to where it dials from; that follows the machine's address, and ends with the pivot.
    """

    name = "firewall"
    title = "Create the firewall"

    def probe(self, env: Env) -> Seen:
        """Compare rules and label selector."""
        found = env.hetzner.find_firewall(env.spec.names.firewall)
        outside = egress(env)
        wanted = rules(env, found, outside)
        change = _change(env, found, wanted)
        if not change:
            return Seen(State.READY, f"{len(wanted)} rules on {firewall.selector(env.spec)}")
        if refused := refusal(env, found, wanted):
            return refused
        lines = firewall.differences(found.rules, wanted) if found else []
        differing = f", which {', '.join(lines)}" if lines else ""
        told = f"; Talos API open to {', '.join(outside)}, where Cluster API dials from" if outside else ""
        return Seen(State.MISSING, change=change + differing + told)

    def act(self, env: Env, seen: Seen) -> None:
        """Create it or set what differs."""
        found = env.hetzner.find_firewall(env.spec.names.firewall)
        put(env, rules(env, found, egress(env)))


class FirewallApplied(Step[Env]):
    """Every server has the firewall applied, by Hetzner's own answer, and what it closes is closed from here."""

    name = "firewall-apply"
    title = "Wait for the firewall on every server"
    timeout = 300
    interval = 5

    def probe(self, env: Env) -> Seen:
        """Ask Hetzner which servers have it, then knock."""
        found = env.hetzner.find_firewall(env.spec.names.firewall)
        if found is None:
            return Seen(State.BLOCKED, "needs `firewall` first")
        servers = env.hetzner.list_servers(env.spec.names.owned_by_caph)
        if not servers:
            return Seen(State.BLOCKED, "needs `apply` first")
        if (seen := FirewallMatches().probe(env)).state is not State.READY:
            return seen  # somebody has changed it since, or a time is over for which it let somebody in
        if open_servers := unprotected(found, servers):
            return Seen(State.WORKING, "; ".join(open_servers))
        if broken := firewall_reach.open_against_rules(env, found, servers):
            hint = "does another firewall on the server let it in? `tallship firewall show`"
            return Seen(State.WORKING, "; ".join(broken), hint=hint)
        return Seen(State.READY, f"on {len(servers)} servers")

    def act(self, env: Env, seen: Seen) -> None:
        """Put the firewall as it should be, on the label that every server of the cluster has."""
        FirewallMatches().act(env, seen)


def egress(env: Env) -> list[str]:
    """Return the networks from which Cluster API's controllers dial the nodes; none once the cluster manages itself.

    Raises SetupError when nobody knows, and ApiError when this machine's address cannot be asked.
    """
    return [] if env.manages_itself else outside_networks(env)


def outside_networks(env: Env) -> list[str]:
    """Return from where a management cluster outside the cluster dials, whether there is one now or not."""
    if env.spec.management.egress_cidr is not None:
        return [env.spec.management.egress_cidr]
    if env.spec.management.mode == "kubeconfig":
        raise SetupError(
            "nobody knows from which address the management cluster dials the nodes",
            hint="set `management.egress_cidr` in the cluster file",
        )
    own = ipaddress.ip_network(env.own_address)
    if own.version == 6:
        raise SetupError(
            f"{env.site.address_url} says that this machine's address is {env.own_address}",
            detail="the servers have IPv4 addresses only, so it is not what they see",
            hint="set `firewall.address_url` to a service that answers over IPv4, or `management.egress_cidr`",
        )
    return [str(own)]


def rules(env: Env, found: Firewall | None, outside: Sequence[str]) -> list[Rule]:
    """Return the rules that should be: those of the cluster file, and what was let in for a while."""
    kept = firewall.allowed(found.rules, env.clock.today()) if found else []
    return firewall.rules(env.spec, outside, kept)


def put(env: Env, wanted: Sequence[Rule]) -> None:
    """Create the firewall with these rules, or set what differs."""
    spec = env.spec
    env.hetzner.put_firewall(spec.names.firewall, wanted, firewall.selector(spec), firewall.labels(spec))


def unprotected(found: Firewall, servers: Sequence[Server]) -> list[str]:
    """Return what Hetzner says of each server on which the firewall is not in force."""
    words = {each.name: each.firewalls.get(found.id, "not applied") for each in servers}
    return [f"{word} on {name}" for name, word in sorted(words.items()) if word != "applied"]


def refusal(env: Env, found: Firewall | None, wanted: Sequence[Rule]) -> Seen | None:
    """Return why these rules must not be put: limits of Hetzner's, or that they lock this machine out."""
    for excess in firewall.excesses(wanted):
        return Seen(State.BROKEN, f"the firewall would have {excess}", hint=ADMIN_HINT)
    if found is None or firewall.selector(env.spec) not in found.selectors:
        servers = env.hetzner.list_servers(env.spec.names.owned_by_caph)
        if full := [each.name for each in servers if len(each.firewalls) >= firewall.MOST_FIREWALLS]:
            why = f"{', '.join(full)} has {firewall.MOST_FIREWALLS} firewalls already, and Hetzner takes no more"
            return Seen(State.BROKEN, why, hint="take one of them off the server in Hetzner's console")
    if lost := lockout(env, found, wanted):
        hint = f"add {env.own_address}/32 to `firewall.admin_networks`, or agree with `--yes`"
        return Seen(State.BROKEN, lost, hint=hint)
    return None


def lockout(env: Env, found: Firewall | None, wanted: Sequence[Rule]) -> str:
    """Return how these rules lock this machine out, or nothing when they do not or the person agreed to it.

    The Kubernetes API stays in reach: the load balancer always leads there, and no firewall protects it.
    """
    if env.agreed or env.spec.load_balancer.talos_api:
        return ""
    own, now = env.own_address, env.clock.today()
    live = [rule for rule in found.rules if not firewall.is_expired(rule, now)] if found else None
    if firewall.admits(wanted, TALOS_PORT, own) or (live is not None and not firewall.admits(live, TALOS_PORT, own)):
        return ""
    return f"these rules lock this machine, {own}, out of the Talos API: the load balancer does not lead there either"


def lockout_now(env: Env) -> str:
    """Return how the next change of the firewall locks this machine out, or nothing; asks, and changes nothing."""
    found = env.hetzner.find_firewall(env.spec.names.firewall)
    wanted = rules(env, found, egress(env))
    return lockout(env, found, wanted) if _change(env, found, wanted) else ""


def lockout_by_pivot(env: Env) -> str:
    """Return how this machine is locked out when a pivot closes what Cluster API outside needs, or nothing."""
    found = env.hetzner.find_firewall(env.spec.names.firewall)
    return lockout(env, found, rules(env, found, ()))


def problems(env: Env) -> list[TallshipError]:
    """Return what is known to keep the firewall from being put, before anything is changed."""
    try:
        seen = FirewallMatches().probe(env)
    except SetupError as error:
        return [error]
    except ApiError as error:
        if error.may_pass:
            raise
        return [error]
    return [StepFailed(seen.detail, hint=seen.hint)] if seen.state is State.BROKEN else []


def _change(env: Env, found: Firewall | None, wanted: Sequence[Rule]) -> str:
    """Return what has to be done at Hetzner, or nothing."""
    if found is None:
        return f"create firewall {env.spec.names.firewall}"
    if firewall.normal(found.rules) != firewall.normal(wanted):
        return f"set the rules of firewall {found.name}"
    if firewall.selector(env.spec) not in found.selectors:
        return f"apply firewall {found.name} to {firewall.selector(env.spec)}"
    return ""
