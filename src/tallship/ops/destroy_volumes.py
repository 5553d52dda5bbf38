"""The cluster's volumes: their claims are deleted while its controllers still can; what these leave goes by label."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from tallship.adapters.hetzner_resources import Resource
from tallship.engine import Seen, State, Step
from tallship.env import Env
from tallship.manifests import claims
from tallship.manifests.claims import Claimed

Document = dict[str, Any]

PATIENCE = 180.0
"""Seconds for which the volume driver may take to delete what was claimed; after that the sweep does it."""
MARK, DELETE = "mark volumes ", "delete claims "


@dataclass(frozen=True)
class VolumesReleased(Step[Env]):
    """No claim holds a volume that goes with it, and each such volume carries the cluster's label.

    Volumes whose reclaim policy is Retain stay, unmarked.
    """

    name: ClassVar[str] = "destroy-volumes"
    title: ClassVar[str] = "Delete the claims of volumes"
    timeout: ClassVar[float] = 600
    interval: ClassVar[float] = 5

    even_unknown: bool = False
    """The person says that volumes on its servers go too when the cluster cannot say whether they should."""
    began: dict[str, float] = field(default_factory=dict, compare=False)

    def probe(self, env: Env) -> Seen:
        """Ask the cluster for its volumes; when it is silent, Hetzner for those on its servers."""
        known = known_volumes(env)
        unmarked = [each for each in going(env, known, self.even_unknown) if not _is_ours(env, each)]
        if unmarked:
            return Seen(State.MISSING, change=MARK + ", ".join(each.name for each in unmarked))
        held = [each for each in known or () if each.goes and each.claim is not None]
        waiting = env.clock.now() - self.began.get("claims", env.clock.now())
        if not held or waiting > PATIENCE:
            return Seen(State.READY, f"the sweep takes {len(held)} volumes" if held else "")
        names = ", ".join(sorted("/".join(each.claim) for each in held if each.claim))
        if "claims" in self.began:
            return Seen(State.WORKING, f"waiting for the volume driver: {names}")
        return Seen(State.MISSING, change=DELETE + names)

    def act(self, env: Env, seen: Seen) -> None:
        """Put the label on volumes, or delete the claims and the pods that hold them."""
        known = known_volumes(env)
        if seen.change.startswith(MARK):
            for volume in going(env, known, self.even_unknown):
                env.hetzner.put_labels(volume, {env.spec.names.owner_label: "owned"})
            return
        held = [each.claim for each in known or () if each.goes and each.claim is not None]
        for namespace, name in held:
            env.workload.delete("v1", "PersistentVolumeClaim", name, namespace)
        for namespace, name in claims.users(env.workload.list("v1", "Pod"), held):
            env.workload.delete("v1", "Pod", name, namespace)
        self.began["claims"] = env.clock.now()


def known_volumes(env: Env) -> list[Claimed] | None:
    """Return what the cluster says of its volumes at Hetzner, or None when it is not there to say anything."""
    return claims.claimed(env.workload.list("v1", "PersistentVolume")) if env.workload_answers else None


def going(env: Env, known: list[Claimed] | None, even_unknown: bool) -> list[Resource]:
    """Return the volumes that go with the cluster."""
    volumes = env.hetzner.list_resources("volumes")
    if known is not None:
        handles = {each.volume for each in known if each.goes}
        return [each for each in volumes if each.id in handles or _is_ours(env, each)]
    servers = {each.id for each in env.hetzner.list_servers(env.spec.names.owned_by_caph)}
    return [each for each in volumes if (even_unknown and each.server in servers) or _is_ours(env, each)]


def _is_ours(env: Env, volume: Resource) -> bool:
    return volume.labels.get(env.spec.names.owner_label) == "owned"
