"""What the cluster costs at Hetzner, by the API's own prices."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any

from tallship.env import Env


@dataclass(frozen=True)
class Item:
    """One line of the bill."""

    what: str
    count: int
    each_monthly_net: Decimal

    @property
    def monthly_net(self) -> Decimal:
        """Count times price, per month, net."""
        return self.count * self.each_monthly_net


@dataclass(frozen=True)
class Cost:
    """What runs for a month; net, in the project's currency."""

    currency: str
    items: tuple[Item, ...]

    @property
    def monthly_net(self) -> Decimal:
        """The sum of all items."""
        return sum((item.monthly_net for item in self.items), Decimal(0))

    def as_data(self) -> dict[str, Any]:
        """Return it as the JSON envelope shows it."""
        items = [{**asdict(item), "monthly_net": str(item.monthly_net)} for item in self.items]
        return {"currency": self.currency, "monthly_net": str(self.monthly_net), "items": items}


def monthly(env: Env) -> Cost:
    """Return the monthly cost of what the cluster file asks for (one call: `GET /pricing`).

    Traffic beyond what is included, and the snapshot (billed by its size), are not in it.
    """
    prices = env.hetzner.pricing()
    spec, location = env.spec, env.spec.hetzner.location
    servers = spec.control_plane.replicas
    return Cost(
        prices.currency,
        (
            Item(
                f"server {spec.control_plane.server_type}",
                servers,
                prices.server(spec.control_plane.server_type, location),
            ),
            Item("primary IPv4", servers, prices.primary_ipv4(location)),
            Item(
                f"load balancer {spec.load_balancer.type}", 1, prices.load_balancer(spec.load_balancer.type, location)
            ),
        ),
    )
