"""Prices. All of them are obviously invented: repeated digits, the same everywhere."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

from tallship.lab.hetzner.catalog import LOAD_BALANCER_TYPES, LOCATIONS, SERVER_TYPES, LoadBalancerType, ServerType
from tallship.lab.hetzner.routing import Call, Reply, Route

CURRENCY: Final = "EUR"
VAT_RATE: Final = Decimal("19.000000")
CORE_MONTH: Final = Decimal("1.1111")
IPV4_MONTH: Final = Decimal("0.5555")
LOAD_BALANCER_SERVICE_MONTH: Final = Decimal("1.1111")
GIB_MONTH: Final = Decimal("0.0111")
TRAFFIC_TB: Final = Decimal("1.0000")
HOURS_IN_MONTH: Final = 730
TB: Final = 2**40


def server_type_prices(kind: ServerType) -> list[dict[str, Any]]:
    """Return a server type's price in each location that has it."""
    return [_with_traffic(kind.cores * CORE_MONTH, place, 20 * TB) for place in kind.locations]


def load_balancer_type_prices(kind: LoadBalancerType) -> list[dict[str, Any]]:
    """Return a load balancer type's price in each location."""
    return [_with_traffic(kind.max_services * LOAD_BALANCER_SERVICE_MONTH, place.name, 20 * TB) for place in LOCATIONS]


def amount(net: Decimal) -> dict[str, str]:
    """Return a price as Hetzner writes it: net and gross, as strings with ten decimals."""
    return {"net": f"{net:.10f}", "gross": f"{net * (1 + VAT_RATE / 100):.16f}"}


def get_pricing(_call: Call) -> Reply:
    """Return every price of the project."""
    pricing = {
        "currency": CURRENCY,
        "vat_rate": f"{VAT_RATE:f}",
        "primary_ips": [_address_prices("ipv4", IPV4_MONTH), _address_prices("ipv6", Decimal(0))],
        "floating_ips": [_floating_prices("ipv4", IPV4_MONTH), _floating_prices("ipv6", Decimal(0))],
        "floating_ip": {"price_monthly": amount(IPV4_MONTH)},
        "image": {"price_per_gb_month": amount(GIB_MONTH)},
        "volume": {"price_per_gb_month": amount(GIB_MONTH)},
        "server_backup": {"percentage": "20.0000000000"},
        "server_types": [
            {"id": kind.id, "name": kind.name, "prices": server_type_prices(kind)} for kind in SERVER_TYPES
        ],
        "load_balancer_types": [
            {"id": kind.id, "name": kind.name, "prices": load_balancer_type_prices(kind)}
            for kind in LOAD_BALANCER_TYPES
        ],
    }
    return Reply(200, {"pricing": pricing})


def _address_prices(version: str, month: Decimal) -> dict[str, Any]:
    return {"type": version, "prices": [_price(month, place.name) for place in LOCATIONS]}


def _floating_prices(version: str, month: Decimal) -> dict[str, Any]:
    monthly = [{"location": place.name, "price_monthly": amount(month)} for place in LOCATIONS]
    return {"type": version, "prices": monthly}


def _price(month: Decimal, location: str) -> dict[str, Any]:
    return {
        "location": location,
        "price_hourly": amount(month / HOURS_IN_MONTH),
        "price_monthly": amount(month),
    }


def _with_traffic(month: Decimal, location: str, traffic: int) -> dict[str, Any]:
    return {**_price(month, location), "included_traffic": traffic, "price_per_tb_traffic": amount(TRAFFIC_TB)}


ROUTES: Final = [Route("GET", "/pricing", get_pricing)]
