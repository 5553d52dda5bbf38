"""`tallship firewall`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from tallship.cli.options import DEFAULT, Options
from tallship.report.answer import current
from tallship.report.visible import visible

if TYPE_CHECKING:
    from tallship.env import Env

FOR = "2h"
"""How long `firewall allow` lets a network in when nothing else is said."""


def show(*, options: Options = DEFAULT) -> int:
    """Show the rules, the servers they are in force on, who can reach what, and what answers from here.

    Exit code 1 when something is wrong.
    """
    from tallship.cli.session import open_env

    return _show(open_env(options))


def apply(*, options: Options = DEFAULT) -> int:
    """Make the firewall what the cluster file says, see it on every server, and try what answers from here."""
    from tallship.cli.session import make, one_at_a_time, open_env
    from tallship.engine import Flow
    from tallship.ops.firewall import FirewallApplied, FirewallMatches

    env = open_env(options)
    with one_at_a_time(env.folder):
        ask_lockout(env)
        has_servers = bool(env.hetzner.list_servers(env.spec.names.owned_by_caph))
        flow: Flow[Env] = (FirewallMatches(), FirewallApplied()) if has_servers else (FirewallMatches(),)
        outcomes = make(flow, env, options)
    current().data["changed"] = any(each.acted for each in outcomes)
    return _show(env)


def allow(
    cidr: str = "",
    *,
    length: Annotated[str, Parameter(name="--for")] = FOR,
    yes_the_whole_internet: Annotated[bool, Parameter(negative="")] = False,
    options: Options = DEFAULT,
) -> int:
    """Let a network reach ports 6443 and 50000 of the servers for a while; `up` keeps it until then.

    Parameters
    ----------
    cidr
        the network; this machine's own address unless given
    length
        how long: 30m, 2h, 3d
    yes_the_whole_internet
        agree that the network is most of the internet
    """
    from tallship.cli.session import one_at_a_time, open_env
    from tallship.ops import firewall_allow

    wanted = firewall_allow.duration(length)
    given = firewall_allow.network(cidr, yes_the_whole_internet) if cidr else ""
    env = open_env(options)
    with one_at_a_time(env.folder):
        source = given or firewall_allow.network(env.own_address, yes_the_whole_internet)
        allowed = firewall_allow.allow(env, source, wanted)
    answer = current()
    answer.data["allowed"] = {"network": allowed.network, "until": allowed.until.isoformat()}
    answer.say(f"let in: {allowed}")
    return _show(env)


def ask_lockout(env: Env) -> None:
    """Ask a person who sits there whether this machine may be locked out; whoever does not agree is refused later."""
    from tallship.errors import ApiError
    from tallship.ops.firewall import lockout_now

    if env.agreed or env.spec.load_balancer.talos_api or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return
    try:
        lost = lockout_now(env)
    except ApiError:
        return  # the step meets it too, and is patient
    if lost:
        sys.stderr.write(f"{visible(lost)}\ngo on? [y/N] ")
        env.agreed = sys.stdin.readline().strip().lower() in ("y", "yes")


def _show(env: Env) -> int:
    from tallship.ops.firewall_reach import knock
    from tallship.ops.firewall_view import view
    from tallship.report.tables import doors_table, facts_table, openings_table

    found = view(env)
    doors = knock(env)
    answer = current()
    answer.data["firewall"] = found.as_data()
    answer.data["reachable"] = [each.as_data() for each in doors]
    facts = [("firewall", found.summary), *(("server " + name, word) for name, word in sorted(found.servers.items()))]
    facts += [("let in", str(each)) for each in found.allowed]
    answer.say(facts_table(facts))
    if found.openings:
        answer.say(openings_table(found.openings))
    if doors:
        answer.say(doors_table(doors))
    for problem in found.problems:
        answer.say(f"problem: {problem}\n  hint: `tallship firewall apply`")
    return 1 if found.problems else 0
