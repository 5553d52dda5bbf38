"""What the cluster costs at Hetzner, by the API's own prices."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any

from tallship.adapters.hetzner_prices import Prices
from tallship.env import Env
from tallship.manifests import cluster, image
from tallship.spec.pools import Pool


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
    """Return everything the cluster file makes at Hetzner, with its monthly cost (one call: `GET /pricing`).

    What costs nothing is named too. A snapshot is billed by its size: one GB of it stands for it. Traffic beyond what
    is included is not in it.
    """
    prices = env.hetzner.pricing()
    spec, location = env.spec, env.spec.hetzner.location
    servers, names, free = spec.control_plane.replicas, spec.names, Decimal(0)
    server, balancer = spec.control_plane.server_type, spec.load_balancer.type
    pools = [item for pool in spec.workers if pool.replicas for item in _pool(prices, pool, pool.location or location)]
    groups = [f"placement group {spec.name}-{each}" for each in cluster.placement_groups(spec)]
    return Cost(
        prices.currency,
        (
            Item(f"server {server}", servers, prices.server(server, location)),
            Item("primary IPv4", servers, prices.primary_ipv4(location)),
            *pools,
            Item(f"load balancer {balancer}", 1, prices.load_balancer(balancer, location)),
            *(Item(f"snapshot {each}, per GB", 1, prices.snapshot_per_gb()) for each in image.names(spec)),
            Item(f"network {names.network}", 1, free),
            *(Item(each, 1, free) for each in groups),
            Item(f"firewall {names.firewall}", 1, free),
        ),
    )


def _pool(prices: Prices, pool: Pool, location: str) -> list[Item]:
    return [
        Item(f"server {pool.server_type} (pool {pool.name})", pool.replicas, prices.server(pool.server_type, location)),
        Item(f"primary IPv4 (pool {pool.name})", pool.replicas, prices.primary_ipv4(location)),
    ]
