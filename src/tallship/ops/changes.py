"""What the cluster file would change of a cluster that stands, each with what becomes of the servers."""

from __future__ import annotations

from collections.abc import Iterable

from tallship.engine import Outcome, State
from tallship.env import Env
from tallship.manifests.changes import Change, Effect, of_control_plane, of_document
from tallship.ops.cluster import control_plane, find_control_plane, has_providers, infrastructure, load_balancer_address
from tallship.ops.objects import find

IN_PLACE = {
    "firewall": "firewall",
    "secret": "token",
    "cilium": "cilium",
    "hcloud-ccm": "hcloud-ccm",
    "talos-ccm": "talos-ccm",
    "health-checks": "health checks",
}
"""Steps whose change touches no server, and what a person calls what they change."""


def changes(env: Env, outcomes: Iterable[Outcome]) -> list[Change]:
    """Return every change, with those parts that stay as they are; nothing while there is no control plane yet.

    `outcomes` are what the steps of `up` saw.
    """
    if not has_providers(env) or (plane := find_control_plane(env)) is None:
        return []
    found = [
        of_document(live, each)
        for each in infrastructure(env)
        if each["kind"] in ("Cluster", "HetznerCluster") and (live := find(env.home, each)) is not None
    ]
    found.append(of_control_plane(plane, control_plane(env, load_balancer_address(env))))
    seen = {each.name: each for each in outcomes}
    if (pools := seen.get("workers")) is not None and env.spec.workers:
        found.append(_of_pools(pools))
    for name, what in IN_PLACE.items():
        outcome = seen[name]
        is_change = outcome.state is State.MISSING
        found.append(
            Change(what, Effect.IN_PLACE if is_change else Effect.NONE, (outcome.change,) if is_change else ())
        )
    return found


def _of_pools(pools: Outcome) -> Change:
    if pools.state is State.BROKEN:
        return Change("workers", Effect.REPLACE, (pools.detail,))
    if pools.state is State.MISSING:
        return Change("workers", Effect.IN_PLACE, (pools.change,))
    return Change("workers", Effect.NONE)
