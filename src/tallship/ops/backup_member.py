"""Which member of etcd a snapshot is taken from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tallship.adapters.talos import EtcdStatus, Service
from tallship.adapters.talos_channel import Access
from tallship.env import Env
from tallship.errors import ApiError, Unreachable
from tallship.manifests import conditions

Statuses = Mapping[str, EtcdStatus | ApiError]
Services = Mapping[str, list[Service] | ApiError]


@dataclass(frozen=True)
class Choice:
    """A member to ask, and what is to be said of it."""

    address: str
    version: str
    """etcd's."""
    note: str = ""
    """Why its snapshot may not be the newest; nothing when all is well."""


def choose(statuses: Statuses, services: Services) -> Choice:
    """Return the best member: healthy before sick, follower before leader, and the one that is farthest on.

    A snapshot is read from the member's own disk, so it needs no quorum. Raises Unreachable when no member answers.
    """
    found = {address: each for address, each in statuses.items() if not isinstance(each, ApiError)}
    full = {address: each for address, each in found.items() if not each.is_learner}
    if not full:
        silent = [f"{address}: {_silence(each)}" for address, each in statuses.items()]
        hint = "`tallship status` shows the nodes"
        raise Unreachable("no member of etcd can be asked for a snapshot", detail="\n".join(silent), hint=hint)
    ills = {address: _ill(each, services.get(address, [])) for address, each in full.items()}
    best = min(
        full,
        key=lambda address: (
            bool(ills[address]),
            not ills[address] and full[address].leader == full[address].member_id,
            -full[address].raft_applied_index,
            address,
        ),
    )
    note = f"the snapshot is what {best} had: {ills[best]}" if ills[best] else ""
    return Choice(best, full[best].version, note)


def member_to_ask(env: Env) -> Choice:
    """Ask every control plane, and return the best member. Raises Unreachable when none answers."""
    planes = _addresses(env)
    return choose(env.talos.etcd_status(planes), env.talos.services(planes))


def _addresses(env: Env) -> Sequence[str]:
    """Return the control planes' addresses: as Kubernetes tells, or when it is silent as the talosconfig has them."""
    try:
        nodes = env.workload.list("v1", "Node")
    except ApiError:
        nodes = []
    if found := [conditions.internal_ip(each) for each in nodes if conditions.is_control_plane(each)]:
        return found
    return Access.of(env.talosconfig).nodes


def _ill(status: EtcdStatus, services: list[Service] | ApiError) -> str:
    if not status.leader:
        return "etcd has no quorum"
    if status.errors:
        return f"etcd says {', '.join(status.errors)}"
    if isinstance(services, ApiError):
        return services.message
    service = next((each for each in services if each.id == "etcd"), None)
    if service is None or not service.is_healthy:
        return f"its etcd is not healthy: {service.message or service.state}" if service else "it runs no etcd"
    return ""


def _silence(status: EtcdStatus | ApiError) -> str:
    return status.message if isinstance(status, ApiError) else "it still learns"
