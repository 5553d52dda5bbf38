"""What things cost at Hetzner."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from tallship.errors import ApiError

Document = dict[str, Any]


@dataclass(frozen=True)
class Prices:
    """Net prices per month in the project's currency."""

    currency: str
    document: Document

    def server(self, name: str, location: str) -> Decimal:
        """Return the price of a server type in a location."""
        return _monthly(self.document["server_types"], "name", name, location)

    def load_balancer(self, name: str, location: str) -> Decimal:
        """Return the price of a load balancer type in a location."""
        return _monthly(self.document["load_balancer_types"], "name", name, location)

    def snapshot_per_gb(self) -> Decimal:
        """Return the price of one GB of a snapshot."""
        return Decimal(self.document["image"]["price_per_gb_month"]["net"])

    def primary_ipv4(self, location: str) -> Decimal:
        """Return the price of a public IPv4 address in a location."""
        return _monthly(self.document["primary_ips"], "type", "ipv4", location)


def _monthly(entries: Sequence[Document], key: str, value: str, location: str) -> Decimal:
    for entry in entries:
        if entry[key] == value:
            for price in entry["prices"]:
                if price["location"] == location:
                    return Decimal(price["price_monthly"]["net"])
    raise ApiError(f"Hetzner names no price of {value} in {location}", hint="is it offered there?")
