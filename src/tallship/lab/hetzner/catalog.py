"""What Hetzner sells and where: locations, server types, load balancer types. Facts; prices stand in `pricing`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Location:
    """A place with servers."""

    id: int
    name: str
    city: str
    country: str
    network_zone: str
    latitude: float
    longitude: float

    def rendered(self) -> dict[str, object]:
        """Return it as the API shows it."""
        return {**vars(self), "description": f"{self.city} DC Park 1"}


@dataclass(frozen=True)
class ServerType:
    """A size of server; `memory` and `disk` are GiB and GB as Hetzner writes them."""

    id: int
    name: str
    cores: int
    memory: float
    disk: int
    locations: tuple[str, ...]

    @property
    def architecture(self) -> str:
        """`arm` for the Ampere family, else `x86`."""
        return "arm" if self.name.startswith("cax") else "x86"

    @property
    def dedicated(self) -> bool:
        """Whether its cores are its own."""
        return self.name.startswith("ccx")


@dataclass(frozen=True)
class LoadBalancerType:
    """A size of load balancer."""

    id: int
    name: str
    max_services: int
    max_targets: int
    max_connections: int
    max_assigned_certificates: int


LOCATIONS: Final = (
    Location(1, "fsn1", "Falkenstein", "DE", "eu-central", 50.47612, 12.370071),
    Location(2, "nbg1", "Nuremberg", "DE", "eu-central", 49.452102, 11.076665),
    Location(3, "hel1", "Helsinki", "FI", "eu-central", 60.169855, 24.938379),
    Location(4, "ash", "Ashburn, VA", "US", "us-east", 39.045821, -77.487073),
    Location(5, "hil", "Hillsboro, OR", "US", "us-west", 45.54222, -122.951924),
    Location(6, "sin", "Singapore", "SG", "ap-southeast", 1.283333, 103.833333),
)

_EUROPE: Final = ("fsn1", "nbg1", "hel1")
_EVERYWHERE: Final = (*_EUROPE, "ash", "hil", "sin")

SERVER_TYPES: Final = (
    ServerType(101, "cx23", 2, 4, 40, _EUROPE),
    ServerType(102, "cx33", 4, 8, 80, _EUROPE),
    ServerType(103, "cx43", 8, 16, 160, _EUROPE),
    ServerType(104, "cx53", 16, 32, 320, _EUROPE),
    ServerType(111, "cpx12", 1, 2, 40, (*_EUROPE, "sin")),
    ServerType(112, "cpx22", 2, 4, 80, (*_EUROPE, "sin")),
    ServerType(113, "cpx32", 4, 8, 160, (*_EUROPE, "sin")),
    ServerType(114, "cpx42", 8, 16, 320, (*_EUROPE, "sin")),
    ServerType(115, "cpx52", 12, 24, 480, (*_EUROPE, "sin")),
    ServerType(121, "cax11", 2, 4, 40, _EUROPE),
    ServerType(122, "cax21", 4, 8, 80, _EUROPE),
    ServerType(123, "cax31", 8, 16, 160, _EUROPE),
    ServerType(124, "cax41", 16, 32, 320, _EUROPE),
    ServerType(131, "ccx13", 2, 8, 80, _EVERYWHERE),
    ServerType(132, "ccx23", 4, 16, 160, _EVERYWHERE),
    ServerType(133, "ccx33", 8, 32, 240, _EVERYWHERE),
    ServerType(134, "ccx43", 16, 64, 360, _EVERYWHERE),
    ServerType(135, "ccx53", 32, 128, 600, _EVERYWHERE),
    ServerType(136, "ccx63", 48, 192, 960, _EVERYWHERE),
)

LOAD_BALANCER_TYPES: Final = (
    LoadBalancerType(1, "lb11", 5, 25, 10_000, 10),
    LoadBalancerType(2, "lb21", 15, 75, 20_000, 25),
    LoadBalancerType(3, "lb31", 30, 150, 40_000, 50),
)


def find_location(key: object) -> Location | None:
    """Return the location with that id or name."""
    return next((each for each in LOCATIONS if str(key) in (each.name, str(each.id))), None)


def find_server_type(key: object) -> ServerType | None:
    """Return the server type with that id or name."""
    return next((each for each in SERVER_TYPES if str(key) in (each.name, str(each.id))), None)


def find_load_balancer_type(key: object) -> LoadBalancerType | None:
    """Return the load balancer type with that id or name."""
    return next((each for each in LOAD_BALANCER_TYPES if str(key) in (each.name, str(each.id))), None)
