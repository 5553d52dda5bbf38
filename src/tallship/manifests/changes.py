"""What a change of the cluster file does to what stands: nothing, a change in place, new servers, or it cannot be."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tallship.manifests.rollout import is_on_delete, replaces_machines

Document = Mapping[str, Any]

FIXED = {
    "Cluster": ("clusterNetwork",),
    "HetznerCluster": ("hcloudNetwork", "controlPlaneLoadBalancer.region", "controlPlaneLoadBalancer.port"),
}
"""What no cluster changes while it stands. CAPH v1.0.7 refuses its own; the ranges of pods and services are in every
machine's configuration, in every node and in Cilium."""


WITHDRAWN = ("controlPlaneLoadBalancer.extraServices",)
"""What we say only sometimes: said no more, it is taken back."""


class Effect(enum.Enum):
    """What becomes of the servers."""

    NONE = "none"
    IN_PLACE = "in place"
    REPLACE = "rolling replace"
    REFUSED = "refused"


@dataclass(frozen=True)
class Change:
    """One thing of the cluster, and what the cluster file does to it."""

    what: str
    effect: Effect
    details: tuple[str, ...] = ()

    def as_data(self) -> dict[str, Any]:
        """Return it as the JSON envelope shows it."""
        return {"what": self.what, "effect": self.effect.value, "details": list(self.details)}


def of_document(live: Document, wanted: Document) -> Change:
    """Return what applying a Cluster or a HetznerCluster does."""
    kind = str(wanted["kind"])
    fixed = [path for path in FIXED[kind] if _at(live["spec"], path) != _at(wanted["spec"], path)]
    if fixed:
        return Change(kind, Effect.REFUSED, tuple(_told(live["spec"], wanted["spec"], path) for path in fixed))
    other = [key for key, value in wanted["spec"].items() if not _holds(live["spec"].get(key), value)]
    other += [path for path in WITHDRAWN if _at(live["spec"], path) and not _at(wanted["spec"], path)]
    return Change(kind, Effect.IN_PLACE if other else Effect.NONE, tuple(f"{key} differs" for key in other))


def of_control_plane(live: Document, wanted: Document) -> Change:
    """Return what applying a TalosControlPlane does."""
    reasons = replaces_machines(live, wanted)
    have, want = live["spec"]["replicas"], wanted["spec"]["replicas"]
    if have != want:
        reasons = [*reasons, f"{have} control planes become {want}"]
    if is_on_delete(wanted) and not is_on_delete(live):
        reasons = [*reasons, "new servers get another Talos; those that stand were upgraded in place"]
    if replaces_machines(live, wanted):
        return Change("control plane", Effect.REPLACE, tuple(reasons))
    return Change("control plane", Effect.IN_PLACE if reasons else Effect.NONE, tuple(reasons))


def _at(spec: Mapping[str, Any], path: str) -> Any:
    """Return the value at a dotted path; what is absent is None."""
    value: Any = spec
    for key in path.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _holds(live: Any, wanted: Any) -> bool:
    """True when what stands holds all that is wanted; it may hold defaults beside it."""
    if isinstance(wanted, Mapping):
        return isinstance(live, Mapping) and all(_holds(live.get(key), value) for key, value in wanted.items())
    if isinstance(wanted, list):
        return (live or []) == wanted or (
            isinstance(live, list) and len(live) == len(wanted) and all(map(_holds, live, wanted))
        )
    return bool(live == wanted) or (not wanted and live is None)


def _told(live: Mapping[str, Any], wanted: Mapping[str, Any], path: str) -> str:
    before, after = _at(live, path), _at(wanted, path)
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        keys = [key for key in after if before.get(key) != after[key]]
        return "; ".join(f"{path}.{key}: {before.get(key)} would become {after[key]}" for key in keys)
    return f"{path}: {before} would become {after}"
