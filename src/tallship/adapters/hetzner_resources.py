"""What Hetzner's API speaks of: each document read once, into what tallship asks of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

Document = dict[str, Any]

ARCHITECTURES = {"x86": "amd64", "arm": "arm64"}
"""Hetzner's word for an architecture, and that of everybody else."""


def architecture(each: Document) -> str:
    """Return everybody else's word for the architecture of a server type or an image."""
    told = str(each["architecture"])
    return ARCHITECTURES.get(told, told)


@dataclass(frozen=True)
class ServerType:
    """A kind of server, and where it can be had now."""

    name: str
    architecture: str
    """amd64 or arm64."""
    disk_gb: int
    available_in: frozenset[str]
    offered_in: frozenset[str]
    """Where it is sold and will be, whether it can be had now or not."""

    @classmethod
    def read(cls, each: Document) -> ServerType:
        """Read what the API answers."""
        places = frozenset(place["name"] for place in each["locations"] if place.get("available", True))
        offered = frozenset(place["name"] for place in each["locations"] if not place.get("deprecation"))
        return cls(each["name"], architecture(each), int(each["disk"]), places, offered)


@dataclass(frozen=True)
class Server:
    """A server of the project."""

    id: int
    name: str
    status: str
    server_type: str
    location: str
    ipv4: str
    labels: Mapping[str, str]
    firewalls: Mapping[int, str]
    """`applied` or `pending`, by the firewall's id."""
    created: datetime
    image: int | None
    """The id of the image it was made from; None when that is gone."""

    @classmethod
    def read(cls, each: Document) -> Server:
        """Read what the API answers."""
        public = each["public_net"]
        return cls(
            int(each["id"]),
            each["name"],
            each["status"],
            each["server_type"]["name"],
            each["location"]["name"],
            (public.get("ipv4") or {}).get("ip", ""),
            each["labels"],
            {int(one["id"]): one["status"] for one in public["firewalls"]},
            datetime.fromisoformat(each["created"]),
            int(each["image"]["id"]) if each.get("image") else None,
        )


@dataclass(frozen=True)
class Image:
    """A snapshot or a system image."""

    id: int
    status: str
    labels: Mapping[str, str]
    architecture: str
    """amd64 or arm64."""
    created: datetime
    size_gb: float
    """What is paid for; 0 while it is being made."""
    disk_gb: int
    """The least disk of a server that is made from it."""

    @classmethod
    def read(cls, each: Document) -> Image:
        """Read what the API answers."""
        return cls(
            int(each["id"]),
            each["status"],
            each["labels"],
            architecture(each),
            datetime.fromisoformat(each["created"]),
            float(each.get("image_size") or 0),
            int(each["disk_size"]),
        )


@dataclass(frozen=True)
class SshKey:
    """A public key that the project knows."""

    id: int
    name: str
    labels: Mapping[str, str]
    created: datetime

    @classmethod
    def read(cls, each: Document) -> SshKey:
        """Read what the API answers."""
        return cls(int(each["id"]), each["name"], each["labels"], datetime.fromisoformat(each["created"]))


@dataclass(frozen=True)
class Action:
    """What a request has begun."""

    command: str
    status: str
    """running, success or error."""
    code: str
    """With `error`: Hetzner's word for it."""
    message: str

    @classmethod
    def read(cls, each: Document) -> Action:
        """Read what the API answers."""
        error = each.get("error") or {}
        return cls(each["command"], each["status"], error.get("code", ""), error.get("message", ""))


@dataclass(frozen=True)
class Firewall:
    """A firewall: its rules as the API has them, and the label selectors it is bound to."""

    id: int
    name: str
    rules: tuple[Document, ...]
    selectors: frozenset[str]
    labels: Mapping[str, str]

    @classmethod
    def read(cls, each: Document) -> Firewall:
        """Read what the API answers."""
        bound = [one["label_selector"]["selector"] for one in each["applied_to"] if "label_selector" in one]
        return cls(int(each["id"]), each["name"], tuple(each["rules"]), frozenset(bound), each["labels"])


@dataclass(frozen=True)
class LoadBalancer:
    """A load balancer, and how it finds those behind it."""

    name: str
    type: str
    ipv4: str
    health: Mapping[int, Mapping[int, str]]
    """`healthy`, `unhealthy` or `unknown`, by server id and port."""

    @classmethod
    def read(cls, each: Document) -> LoadBalancer:
        """Read what the API answers."""
        health = {
            int(target["server"]["id"]): {
                int(one["listen_port"]): str(one["status"]) for one in target.get("health_status") or ()
            }
            for target in each["targets"]
            if "server" in target
        }
        public = each["public_net"].get("ipv4") or {}
        return cls(each["name"], each["load_balancer_type"]["name"], public.get("ip", ""), health)


@dataclass(frozen=True)
class Resource:
    """Anything that has a name: `path` is its collection in the API, such as `load_balancers`."""

    path: str
    id: int
    name: str
    networks: frozenset[int]
    """The private networks that a load balancer is in."""
    type: str = ""
    """The type of a server or a load balancer, `ipv4` or `ipv6` of an address."""
    location: str = ""
    size_gb: float = 0.0
    """What is paid for of a volume or a snapshot."""
    server: int | None = None
    """The server that has this volume or address; None when nobody has it."""
    has_ipv4: bool = False
    """A server: it has a public IPv4 address, which is paid for."""
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def noun(self) -> str:
        """What a person calls it: `load balancer`."""
        if self.path == "images":
            return "snapshot"
        return self.path.removesuffix("s").replace("_", " ")

    @classmethod
    def read(cls, path: str, each: Document) -> Resource:
        """Read what the API answers of one collection."""
        networks = frozenset(int(net["network"]) for net in each.get("private_net") or () if path == "load_balancers")
        kind = each.get("server_type") or each.get("load_balancer_type") or {"name": each.get("type", "")}
        place = each.get("location") or each.get("home_location") or {}
        owner = each.get("server") or each.get("assignee_id")
        return cls(
            path,
            int(each["id"]),
            str(each.get("name") or each.get("description") or each["id"]),
            networks,
            str(kind["name"]),
            str(place.get("name", "")),
            float(each.get("image_size") or each.get("size") or 0),
            int(owner) if owner else None,
            bool((each.get("public_net") or {}).get("ipv4")) and path == "servers",
            each.get("labels") or {},
        )
