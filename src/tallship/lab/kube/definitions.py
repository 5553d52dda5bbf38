"""CustomResourceDefinitions: what the API server fills in, and what it does not accept."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Document = dict[str, Any]
Cause = dict[str, str]

CLEANUP = "customresourcecleanup.apiextensions.k8s.io"
"""Holds a definition until its objects are gone."""

_ACCEPTED = {
    "NamesAccepted": ("NoConflicts", "no conflicts found"),
    "Established": ("InitialNamesAccepted", "the initial names have been accepted"),
}


def complete(definition: Document, now: str) -> None:
    """Fill in what the API server and its own controllers do: names, the finalizer, and that it is established."""
    spec, metadata = definition["spec"], definition["metadata"]
    names = spec["names"]
    names.setdefault("singular", names["kind"].lower())
    names.setdefault("listKind", names["kind"] + "List")
    spec.setdefault("conversion", {"strategy": "None"})
    if "deletionTimestamp" not in metadata and CLEANUP not in metadata.get("finalizers", []):
        metadata["finalizers"] = [*metadata.get("finalizers", []), CLEANUP]
    status = definition.setdefault("status", {})
    there = {each["type"]: each for each in status.get("conditions", [])}
    for kind, (reason, message) in _ACCEPTED.items():
        new = {"type": kind, "status": "True", "lastTransitionTime": now, "reason": reason, "message": message}
        there.setdefault(kind, new)
    status["conditions"] = list(there.values())
    status["acceptedNames"] = names
    status["storedVersions"] = [each["name"] for each in spec["versions"] if each.get("storage")]


def violations(definition: Document) -> Iterator[Cause]:
    """Yield a cause for everything that makes a definition unusable."""
    spec = definition.get("spec") or {}
    names, versions = spec.get("names") or {}, spec.get("versions") or []
    for field, value in (("group", spec.get("group")), ("scope", spec.get("scope")), ("versions", versions)):
        if not value:
            yield _required(f"spec.{field}")
    for field in ("plural", "kind"):
        if not names.get(field):
            yield _required(f"spec.names.{field}")
    full = f"{names.get('plural')}.{spec.get('group')}"
    if definition["metadata"]["name"] != full:
        text = f'Invalid value: "{definition["metadata"]["name"]}": must be spec.names.plural+"."+spec.group'
        yield {"reason": "FieldValueInvalid", "field": "metadata.name", "message": text}
    if sum(bool(each.get("storage")) for each in versions) != 1:
        text = "Invalid value: must have exactly one version marked as storage version"
        yield {"reason": "FieldValueInvalid", "field": "spec.versions", "message": text}
    for number, version in enumerate(versions):
        schema = (version.get("schema") or {}).get("openAPIV3Schema") or {}
        if schema.get("type") != "object":
            yield _required(f"spec.versions[{number}].schema.openAPIV3Schema.type")


def _required(field: str) -> Cause:
    return {"reason": "FieldValueRequired", "field": field, "message": "Required value"}
