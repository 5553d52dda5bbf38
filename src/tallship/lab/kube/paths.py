"""From a request's path to what it is about."""

from __future__ import annotations

from dataclasses import dataclass

from tallship.lab.kube.catalog import Catalog
from tallship.lab.kube.resources import Resource


@dataclass(frozen=True)
class Target:
    """A collection, an object, or one of its subresources."""

    resource: Resource
    namespace: str
    name: str
    subresource: str


def resolve(path: str, catalog: Catalog) -> Target | None:
    """Return what a path is about, or None when no resource has it."""
    parts = path.strip("/").split("/")
    if parts[0] == "api" and len(parts) > 2:
        group, version, rest = "", parts[1], parts[2:]
    elif parts[0] == "apis" and len(parts) > 3:
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        return None
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2 and rest[2] != "status":
        namespace, rest = rest[1], rest[2:]
    found = catalog.at(group, version, rest[0])
    if found is None or len(rest) > 3 or (namespace and not found.namespaced):
        return None
    rest += [""] * (3 - len(rest))
    if rest[2] and rest[2] not in found.subresources():
        return None
    if rest[1] and found.namespaced and not namespace:
        return None
    return Target(found, namespace, rest[1], rest[2])


def collection(path: str) -> str:
    """Return the plural that a path is about, whether it is served or not; empty when it is about none."""
    parts = [part for part in path.split("/") if part]
    parts = parts[{"api": 2, "apis": 3}.get(parts[0], 0) if parts else 0 :]
    if parts[:1] == ["namespaces"] and len(parts) > 2:
        parts = parts[2:]
    return parts[0] if parts else ""
