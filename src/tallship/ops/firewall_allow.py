"""Letting a network in for a while. Nothing but the rules' descriptions remembers until when."""

from __future__ import annotations

import ipaddress
import re
from datetime import timedelta

from tallship.env import Env
from tallship.errors import SetupError, StepFailed
from tallship.manifests import firewall
from tallship.manifests.firewall import LONGEST, Allowed
from tallship.ops.firewall import egress, put, refusal
from tallship.spec.values import is_vast

UNITS = {"m": "minutes", "h": "hours", "d": "days"}


def network(text: str, vast_is_meant: bool) -> str:
    """Return a network as people write it. Raises SetupError for a wrong one, or one that nobody can have meant."""
    try:
        found = str(ipaddress.ip_network(text))
    except ValueError as error:
        try:
            hint = f"write `{ipaddress.ip_network(text, strict=False)}`"
        except ValueError:
            hint = "write it like `203.0.113.0/24`, or leave it out for this machine's own address"
        raise SetupError(f"`{text}` is not a network", detail=str(error), hint=hint) from error
    if is_vast(found) and not vast_is_meant:
        hint = "name a smaller network; `--yes-the-whole-internet` opens it all the same"
        raise SetupError(f"`{found}` opens the servers to much of the internet", hint=hint)
    return found


def duration(text: str) -> timedelta:
    """Return how long `90m`, `2h` or `3d` is. Raises SetupError for anything else, and for more than 30 days."""
    found = re.fullmatch(r"([1-9]\d{0,5})([mhd])", text)
    if found is None:
        raise SetupError(f"`{text}` is not a time", hint="write it like `30m`, `2h` or `3d`")
    length = timedelta(**{UNITS[found[2]]: int(found[1])})
    if length > LONGEST:
        hint = "what is to stay goes into `firewall.admin_networks` of the cluster file"
        raise SetupError(f"`{text}` is longer than {LONGEST.days} days", hint=hint)
    return length


def allow(env: Env, source: str, length: timedelta) -> Allowed:
    """Let a network reach 6443 and 50000 of every server for a while, from now on; returns until when.

    Raises SetupError before there is a firewall, and StepFailed when the rules would break a limit or lock this
    machine out.
    """
    found = env.hetzner.find_firewall(env.spec.names.firewall)
    if found is None:
        raise SetupError("there is no firewall yet", hint="`tallship up --only firewall` makes it")
    now = env.clock.today().replace(microsecond=0)
    wanted = Allowed(source, now + length)
    kept = [each for each in firewall.allowed(found.rules, now) if each.network != source]
    new_rules = firewall.rules(env.spec, egress(env), [*kept, wanted])
    refused = refusal(env, found, new_rules)
    if refused is not None:
        raise StepFailed(refused.detail, hint=refused.hint)
    put(env, new_rules)
    return wanted
