"""From a request's path to what it is about."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tallship.lab.kube.resources import Resource


@dataclass(frozen=True)
class Target:
    """A collection, an object, or one of its subresources."""

    resource: Resource
    namespace: str
    name: str
    subresource: str


def resolve(path: str, resources: Iterable[Resource]) -> Target | None:
    """Return what a path is about, or None when no resource has it."""
    parts = path.strip("/").split("/")
    if parts[0] == "api" and len(parts) > 2:
        group, version, rest = "", parts[1], parts[2:]
    elif parts[0] == "apis" and len(parts) > 3:
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        return None
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2 and rest[2] not in ("status", "finalize"):
        namespace, rest = rest[1], rest[2:]
    found = next(
        (each for each in resources if (each.group, each.version, each.plural) == (group, version, rest[0])), None
    )
    if found is None or len(rest) > 3:
        return None
    rest += [""] * (3 - len(rest))
    if rest[2] and rest[2] not in found.subresources():
        return None
    return Target(found, namespace, rest[1], rest[2])
