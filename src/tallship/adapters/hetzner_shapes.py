"""What is read of Hetzner's answers, as its API promises it (docs.hetzner.cloud), by collection."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tallship.adapters.shapes import Shape, amount, moment, network, ports

_NAMED: Shape = {"name!": str}
_LABELS: Shape = {str: str}
_RESOURCE: Shape = {"id!": int, "name!": str, "labels!": _LABELS}
_PRICES: Shape = [{"location!": str, "price_monthly!": {"net!": amount}}]
_PER_GB: Shape = {"price_per_gb_month!": {"net!": amount}}
_RULE: Shape = {
    "direction!": str,
    "protocol!": str,
    "port": ports,
    "source_ips": [network],
    "destination_ips": [network],
    "description": str,
}

SERVER: Final[Shape] = {
    **_RESOURCE,
    "status!": str,
    "created!": moment,
    "server_type!": _NAMED,
    "location!": _NAMED,
    "image": {"id!": int},
    "public_net!": {"ipv4": {"ip!": str}, "firewalls!": [{"id!": int, "status!": str}]},
    "private_net!": [{"network!": int, "ip!": str}],
}
FIREWALL: Final[Shape] = {
    **_RESOURCE,
    "rules!": [_RULE],
    "applied_to!": [{"type!": str, "label_selector": {"selector!": str}}],
}
PRICING: Final[Shape] = {
    "currency!": str,
    "server_types!": [{"name!": str, "prices!": _PRICES}],
    "load_balancer_types!": [{"name!": str, "prices!": _PRICES}],
    "primary_ips!": [{"type!": str, "prices!": _PRICES}],
    "floating_ips!": [{"type!": str, "prices!": _PRICES}],
    "image!": _PER_GB,
    "volume!": _PER_GB,
}
MADE: Final[Shape] = {"id!": int}
"""What was made, of which no more than its id is asked."""

COLLECTIONS: Final[Mapping[str, Shape]] = {
    "servers": SERVER,
    "firewalls": FIREWALL,
    "networks": _RESOURCE,
    "placement_groups": _RESOURCE,
    "ssh_keys": {**_RESOURCE, "created!": moment},
    "locations": _NAMED,
    "images": {
        "id!": int,
        "name": str,
        "description": str,
        "type": str,
        "status!": str,
        "labels!": _LABELS,
        "architecture!": str,
        "created!": moment,
        "image_size": float,
        "disk_size!": float,
    },
    "server_types": {
        **_NAMED,
        "architecture!": str,
        "disk!": float,
        "locations!": [{"name!": str, "available": bool, "deprecation": dict}],
    },
    "load_balancers": {
        **_RESOURCE,
        "load_balancer_type!": _NAMED,
        "location!": _NAMED,
        "public_net!": {"ipv4": {"ip": str}},
        "private_net!": [{"network!": int}],
        "targets!": [{"type!": str, "server": {"id!": int}, "health_status": [{"listen_port!": int, "status!": str}]}],
    },
    "volumes": {**_RESOURCE, "size!": float, "server": int, "location!": _NAMED},
    "primary_ips": {**_RESOURCE, "type!": str, "assignee_id": int, "location": _NAMED},
    "floating_ips": {**_RESOURCE, "type!": str, "server": int, "home_location!": _NAMED},
    "actions": {"command!": str, "status!": str, "error": {"code": str, "message": str}},
}
