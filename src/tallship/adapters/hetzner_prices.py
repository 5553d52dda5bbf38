"""What things cost at Hetzner."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from tallship.adapters.hetzner_resources import Resource
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

    def volume_per_gb(self) -> Decimal:
        """Return the price of one GB of a volume."""
        return Decimal(self.document["volume"]["price_per_gb_month"]["net"])

    def of(self, resource: Resource) -> Decimal:
        """Return what a resource costs as it is; nothing for what is free, and for an address that a server has."""
        size = Decimal(str(resource.size_gb))
        if resource.path == "servers":
            address = self.primary_ipv4(resource.location) if resource.has_ipv4 else Decimal(0)
            return self.server(resource.type, resource.location) + address
        if resource.path == "load_balancers":
            return self.load_balancer(resource.type, resource.location)
        if resource.path == "volumes":
            return size * self.volume_per_gb()
        if resource.path == "images":
            return size * self.snapshot_per_gb()
        if resource.path == "floating_ips":
            return _monthly(self.document["floating_ips"], "type", resource.type, resource.location)
        if resource.path == "primary_ips" and resource.server is None:
            return _monthly(self.document["primary_ips"], "type", resource.type, resource.location)
        return Decimal(0)


def _monthly(entries: Sequence[Document], key: str, value: str, location: str) -> Decimal:
    for entry in entries:
        if entry[key] == value:
            for price in entry["prices"]:
                if price["location"] == location:
                    return Decimal(price["price_monthly"]["net"])
    raise ApiError(f"Hetzner names no price of {value} in {location}", hint="is it offered there?")
