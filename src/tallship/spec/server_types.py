"""Hetzner's server types as far as a cluster file can be judged by them."""

from __future__ import annotations

from collections.abc import Iterator

from tallship.spec.values import LOCATIONS, Architecture, Location
from tallship.versions import Problem

SERVER_TYPES = {
    *(f"cx{size}" for size in (23, 33, 43, 53)),
    *(f"cpx{size}" for size in (12, 22, 32, 42, 52)),
    *(f"cax{size}" for size in (11, 21, 31, 41)),
    *(f"ccx{size}" for size in (13, 23, 33, 43, 53, 63)),
}
"""Hetzner's server types when this release was made; the preflight asks the API itself."""

RETIRED = {"cx22": "cx23", "cx32": "cx33", "cx42": "cx43", "cx52": "cx53"}
"""Types Hetzner no longer sells, and what took their place."""


def architecture_of(server_type: str) -> Architecture:
    """Return the architecture of a server type: cax types have arm64 processors."""
    return "arm64" if server_type.startswith("cax") else "amd64"


def check_server_type(path: tuple[str | int, ...], server_type: str, location: Location) -> Iterator[Problem]:
    """Yield what is wrong with a server type in a location, and what is not known of it."""
    if server_type in RETIRED:
        yield Problem(path, f"Hetzner no longer offers `{server_type}`", f"`{RETIRED[server_type]}` took its place")
    elif server_type not in SERVER_TYPES:
        message = f"`{server_type}` is not a server type known to this release"
        yield Problem(path, message, "`tallship plan` asks Hetzner whether it exists", fatal=False)
    if server_type.startswith(("cx", "cax")) and LOCATIONS[location] != "eu-central":
        message = f"Hetzner is not known to offer `{server_type}` in {location}"
        yield Problem(path, message, "cpx and ccx types are offered everywhere", fatal=False)
