"""The control planes of a cluster whose API may be down: known from their servers, asked through Talos alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from tallship.adapters import reach, talos_recovery
from tallship.adapters.hetzner_resources import Resource
from tallship.adapters.talos import EtcdStatus, MachineStage, Service, Talos
from tallship.adapters.talos_channel import PORT, Access, host_and_port
from tallship.env import Env
from tallship.errors import ApiError, Unreachable

CONTROL_PLANES = "machine_type=control_plane"
"""CAPH v1.0.7: the label of servers that run the control plane."""
NOTE = "tallship-restore"
"""Label of a server whose etcd is being restored: how far that is, and from which snapshot.

It is kept at Hetzner, since the Kubernetes API is away meanwhile.
"""
BEGUN, FIRST = "begun", "first"
"""It may be wiped; or a new etcd is made on it, and from then on no server is wiped any more."""


@dataclass(frozen=True)
class Plane:
    """A control plane's server."""

    resource: Resource
    public: str
    private: str

    @property
    def name(self) -> str:
        """The server's name, which is its node's too."""
        return self.resource.name

    @property
    def node(self) -> str:
        """The address under which the Talos API passes calls on to it."""
        return self.private or self.public

    def is_noted(self, how_far: str, snapshot: str) -> bool:
        """True when a restore from that snapshot has come so far with it."""
        return self.resource.labels.get(NOTE) == note(how_far, snapshot)


@dataclass(frozen=True)
class Look:
    """What one control plane's Talos says."""

    has_data: bool
    """Its disk holds an etcd's data."""
    stage: str
    etcd: Service | None

    @property
    def waits(self) -> bool:
        """True when it has no etcd, and waits for one to join or for one to be made of a snapshot."""
        away = ("resetting", "rebooting", "shuttingDown", "upgrading", "maintenance")
        return not self.has_data and self.stage not in away and self.etcd is not None


def list_planes(env: Env) -> list[Plane]:
    """Return the control planes by name. Raises ApiError."""
    selector = f"{env.spec.names.owned_by_caph},{CONTROL_PLANES}"
    found = [_plane(each) for each in env.hetzner.list_documents("servers", selector)]
    return sorted(found, key=lambda each: each.name)


def count_workers(env: Env) -> int:
    """Return how many servers of the cluster run no control plane. Raises ApiError."""
    return len(env.hetzner.list_servers(f"{env.spec.names.owned_by_caph},machine_type=worker"))


def talos_of(env: Env, planes: Iterable[Plane]) -> Talos:
    """Return Talos by every way that is open: what the talosconfig names, such as a load balancer, and the machines."""
    return Talos(env.talosconfig, open_ways(env, planes))


def open_ways(env: Env, planes: Iterable[Plane]) -> list[str]:
    """Return those ways to Talos that take connections; all where none does.

    Private addresses are tried only where no other way is open: from outside their network each look would wait.
    """
    found = list(planes)
    public = [*(each.public for each in found), *Access.of(env.talosconfig).endpoints]
    private = [each.private for each in found]
    for ways in (public, private):
        open_now = reach.listening({host_and_port(each)[0] for each in ways if each}, PORT)
        if taken := [each for each in dict.fromkeys(ways) if each and host_and_port(each)[0] in open_now]:
            return taken
    return [each for each in dict.fromkeys((*public, *private)) if each]


def look(talos: Talos, plane: Plane) -> Look:
    """Return how far a control plane is. Raises ApiError, Unreachable while it is on its way."""
    stage, services = talos.stage([plane.node])[plane.node], talos.services([plane.node])[plane.node]
    for each in (stage, services):
        if isinstance(each, ApiError):
            raise each
    has_data = talos_recovery.has_etcd_data(talos, plane.node)
    assert isinstance(stage, MachineStage) and not isinstance(services, ApiError)  # noqa: S101 - raised above
    return Look(has_data, stage.stage, next((each for each in services if each.id == "etcd"), None))


def silent(talos: Talos, planes: Sequence[Plane]) -> list[str]:
    """Return the names of those whose Talos does not answer. Raises ApiError for a refusal."""
    found = talos.version([each.node for each in planes])
    for each in found.values():
        if isinstance(each, ApiError) and not isinstance(each, Unreachable):
            raise each
    return [each.name for each in planes if isinstance(found[each.node], ApiError)]


def leading(talos: Talos, planes: Sequence[Plane]) -> str:
    """Return the name of a control plane whose etcd knows a leader, or nothing: that takes a quorum."""
    found = talos.etcd_status([each.node for each in planes])
    led = [each.name for each in planes if isinstance(it := found[each.node], EtcdStatus) and it.leader]
    return next(iter(led), "")


def unproven(talos: Talos, planes: Sequence[Plane]) -> list[str]:
    """Return what speaks against a lost quorum, though no leader is known: silence may be an etcd that is slow.

    etcd v3.5: a member without a quorum tells its status at once, with no leader. Where none runs there is no member.
    """
    nodes = [each.node for each in planes]
    statuses, services = talos.etcd_status(nodes), talos.services(nodes)
    return [
        f"etcd on {each.name} runs, and does not say whether it knows a leader"
        for each in planes
        if isinstance(statuses[each.node], ApiError) and _runs_etcd(services[each.node])
    ]


def _runs_etcd(services: Sequence[Service] | ApiError) -> bool:
    return isinstance(services, ApiError) or any(each.id == "etcd" and each.state == "Running" for each in services)


def note(how_far: str, snapshot: str) -> str:
    """Return the label's value; `snapshot` is its SHA-256 in hex."""
    return f"{how_far}-{snapshot[:16]}"


def _plane(document: dict[str, Any]) -> Plane:
    public = document["public_net"].get("ipv4") or {}
    private = next((each["ip"] for each in document["private_net"]), "")
    return Plane(Resource.read("servers", document), str(public.get("ip", "")), str(private))
