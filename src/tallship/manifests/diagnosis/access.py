"""Rules about who gets in: certificates, clocks, the firewall."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from tallship.manifests import conditions
from tallship.manifests.diagnosis.finding import Finding, Rule
from tallship.manifests.picture import Picture

SOON_DAYS = 60
CLOCK_SECONDS = 300.0
"""Kubernetes' own leases and certificates suffer from clocks that are further apart."""


def certificates(picture: Picture) -> Iterator[Finding]:
    """Certificates that end soon, or have ended."""
    for each in picture.certificates:
        if each.days < SOON_DAYS:
            severity = "error" if each.days < 0 else "warning"
            what = f"{each.what} has ended" if each.days < 0 else f"{each.what} ends in {each.days} days"
            yield Finding("certificate-ends", severity, what, "certificates end", each.hint)  # type: ignore[arg-type]


def clock(picture: Picture) -> Iterator[Finding]:
    """A node's last sign of life that lies in the future."""
    ahead = []
    for each in picture.nodes:
        heard = (conditions.find_condition(each, "Ready") or {}).get("lastHeartbeatTime")
        if heard and (datetime.fromisoformat(str(heard)) - picture.today).total_seconds() > CLOCK_SECONDS:
            ahead.append(f"{conditions.name(each)} was heard at {heard}; here it is {picture.today.isoformat()}")
    if ahead:
        yield Finding(
            "clock",
            "error",
            "this machine's clock and the nodes' are apart",
            "with clocks hours apart certificates are refused as not valid yet, or as expired",
            "set this machine's clock; if it is right, see the nodes' time servers",
            tuple(ahead),
        )


def firewall(picture: Picture) -> Iterator[Finding]:
    """What the firewall lacks."""
    if picture.firewall:
        yield Finding(
            "firewall",
            "error",
            "the firewall is not what the cluster file says",
            "somebody changed it, or a new server is not behind it yet",
            "`tallship firewall apply`",
            tuple(picture.firewall),
        )


RULES: tuple[Rule, ...] = (certificates, clock, firewall)
