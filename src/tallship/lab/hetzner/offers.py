"""The catalogue over the API: locations, server types with their availability, load balancer types."""

from __future__ import annotations

from typing import Any, Final

from tallship.lab.hetzner.catalog import (
    LOAD_BALANCER_TYPES,
    LOCATIONS,
    SERVER_TYPES,
    LoadBalancerType,
    ServerType,
    find_load_balancer_type,
    find_location,
    find_server_type,
)
from tallship.lab.hetzner.errors import gone, not_found
from tallship.lab.hetzner.pricing import load_balancer_type_prices, server_type_prices
from tallship.lab.hetzner.project import Project
from tallship.lab.hetzner.routing import Call, Reply, Route, listed

DATACENTERS_GONE: Final = "https://docs.hetzner.cloud/changelog#2026-06-02-datacenters-deprecated"
SHARED, DEDICATED = "Shared vCPU", "Dedicated vCPU"


def sold_out(project: Project, server_type: str, location: str) -> bool:
    """True while a fault `no-capacity` with `{"listed": true}` says so: then the catalogue knows it too."""
    facts = {"server_type": server_type, "location": location}
    return any(
        fault.name == "no-capacity"
        and fault.values.get("listed")
        and all(facts.get(key, value) == value for key, value in fault.match.items())
        for fault in project.faults.list()
    )


def rendered_server_type(project: Project, kind: ServerType) -> dict[str, Any]:
    """Return a server type as the API shows it."""
    return {
        "id": kind.id,
        "name": kind.name,
        "description": kind.name.upper(),
        "cores": kind.cores,
        "memory": kind.memory,
        "disk": kind.disk,
        "deprecated": False,
        "deprecation": None,
        "prices": server_type_prices(kind),
        "storage_type": "local",
        "cpu_type": "dedicated" if kind.dedicated else "shared",
        "category": DEDICATED if kind.dedicated else SHARED,
        "architecture": kind.architecture,
        "locations": [
            {
                "id": place.id,
                "name": place.name,
                "deprecation": None,
                "recommended": True,
                "available": not sold_out(project, kind.name, place.name),
            }
            for place in LOCATIONS
            if place.name in kind.locations
        ],
    }


def rendered_load_balancer_type(kind: LoadBalancerType) -> dict[str, Any]:
    """Return a load balancer type as the API shows it."""
    rest = {"description": kind.name.upper(), "deprecated": None, "deprecation": None}
    return {**vars(kind), **rest, "prices": load_balancer_type_prices(kind)}


def list_locations(call: Call) -> Reply:
    """Return the locations."""
    return listed(call, "locations", [place.rendered() for place in LOCATIONS])


def get_location(call: Call) -> Reply:
    """Return one location."""
    place = find_location(call.id)
    if place is None:
        raise not_found("location", call.id)
    return Reply(200, {"location": place.rendered()})


def list_server_types(call: Call) -> Reply:
    """Return the server types."""
    return listed(call, "server_types", [rendered_server_type(call.project, kind) for kind in SERVER_TYPES])


def get_server_type(call: Call) -> Reply:
    """Return one server type."""
    kind = find_server_type(call.id)
    if kind is None:
        raise not_found("server type", call.id)
    return Reply(200, {"server_type": rendered_server_type(call.project, kind)})


def list_load_balancer_types(call: Call) -> Reply:
    """Return the load balancer types."""
    return listed(call, "load_balancer_types", [rendered_load_balancer_type(kind) for kind in LOAD_BALANCER_TYPES])


def get_load_balancer_type(call: Call) -> Reply:
    """Return one load balancer type."""
    kind = find_load_balancer_type(call.id)
    if kind is None:
        raise not_found("load balancer type", call.id)
    return Reply(200, {"load_balancer_type": rendered_load_balancer_type(kind)})


def refuse_datacenters(_call: Call) -> Reply:
    """Refuse: Hetzner removed datacenters from its API on 2026-10-01."""
    raise gone(DATACENTERS_GONE)


ROUTES: Final = [
    Route("GET", "/locations", list_locations),
    Route("GET", "/locations/{id}", get_location),
    Route("GET", "/server_types", list_server_types),
    Route("GET", "/server_types/{id}", get_server_type),
    Route("GET", "/load_balancer_types", list_load_balancer_types),
    Route("GET", "/load_balancer_types/{id}", get_load_balancer_type),
    Route("GET", "/datacenters", refuse_datacenters),
    Route("GET", "/datacenters/{id}", refuse_datacenters),
]
