"""What a Hetzner project holds that costs money."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from tallship.adapters.hetzner_resources import Resource
from tallship.env import Env

PAID = ("servers", "load_balancers", "volumes", "images", "primary_ips", "floating_ips")
"""The collections in which something can cost money."""


@dataclass(frozen=True)
class Line:
    """One thing, and what it costs per month, net."""

    noun: str
    name: str
    monthly_net: Decimal

    def as_data(self) -> dict[str, Any]:
        """Return it as the JSON envelope shows it."""
        return {"noun": self.noun, "name": self.name, "monthly_net": str(self.monthly_net)}


@dataclass(frozen=True)
class Bill:
    """Lines, in the order in which they were found."""

    currency: str
    lines: tuple[Line, ...]

    @property
    def monthly_net(self) -> Decimal:
        """The sum."""
        return sum((line.monthly_net for line in self.lines), Decimal(0))

    def as_data(self) -> dict[str, Any]:
        """Return it as the JSON envelope shows it."""
        lines = [line.as_data() for line in self.lines]
        return {"currency": self.currency, "monthly_net": str(self.monthly_net), "lines": lines}


def priced(env: Env, resources: Iterable[Resource]) -> Bill:
    """Return what these cost; free ones are named too (one call)."""
    prices = env.hetzner.pricing()
    return Bill(prices.currency, tuple(Line(each.noun, each.name, prices.of(each)) for each in resources))


def whole_project(env: Env) -> Bill:
    """Return everything in the project that costs money, whoever made it."""
    found = [each for path in PAID for each in env.hetzner.list_resources(path)]
    bill = priced(env, found)
    return Bill(bill.currency, tuple(line for line in bill.lines if line.monthly_net))
