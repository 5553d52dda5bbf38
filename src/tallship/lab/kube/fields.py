"""Sets of field paths in Kubernetes' fieldsV1 form: which manager owns what of an object.

A path is a tuple of `f:NAME` (a field), `k:{"name":"x"}` (an entry of a keyed list), `v:1` (a member of a set) and,
last, `.` (the entry itself).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

Path = tuple[str, ...]
Schema = dict[str, Any]

KEYED_LISTS = {
    "containers": ("name",),
    "initContainers": ("name",),
    "env": ("name",),
    "volumes": ("name",),
    "volumeMounts": ("mountPath",),
    "ports": ("containerPort", "protocol"),
    "conditions": ("type",),
    "ownerReferences": ("uid",),
    "addresses": ("type",),
    "imagePullSecrets": ("name",),
}
"""Lists of the built-in kinds that are merged by key (Kubernetes API: `patchMergeKey`, `listMapKey`)."""
SETS = ("finalizers", "podCIDRs")
"""Lists of the built-in kinds that are sets."""


def list_kind(schema: Schema | None, name: str, entries: list[Any]) -> tuple[str, tuple[str, ...]]:
    """Return how a list is merged: `map` with its keys, `set`, or `atomic`."""
    if schema and "x-kubernetes-list-type" in schema:
        return schema["x-kubernetes-list-type"], tuple(schema.get("x-kubernetes-list-map-keys", ()))
    if name in SETS and all(isinstance(each, str) for each in entries):
        return "set", ()
    keys = KEYED_LISTS.get(name, ())
    if schema is None and keys and all(isinstance(each, dict) and keys[0] in each for each in entries):
        return "map", keys
    return "atomic", ()


def entry_key(entry: Any, keys: tuple[str, ...]) -> str:
    """Return the path element of a keyed list's entry."""
    return "k:" + json.dumps({key: entry[key] for key in keys if key in entry}, separators=(",", ":"), sort_keys=True)


def value_key(value: Any) -> str:
    """Return the path element of a set's member."""
    return "v:" + json.dumps(value, separators=(",", ":"))


def property_schema(schema: Schema | None, name: str) -> Schema | None:
    """Return the schema of one property, or None where there is none."""
    if not schema:
        return None
    found = schema.get("properties", {}).get(name)
    if found is None and isinstance(schema.get("additionalProperties"), dict):
        found = schema["additionalProperties"]
    return found or {}


def leaves(value: Any, schema: Schema | None, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Yield every owned path of a value with what stands there."""
    if isinstance(value, dict) and value and not (schema and schema.get("x-kubernetes-map-type") == "atomic"):
        for name, each in value.items():
            yield from leaves(each, property_schema(schema, name), (*path, f"f:{name}"))
        return
    if isinstance(value, list) and value and path:
        kind, keys = list_kind(schema, path[-1][2:], value)
        if kind == "map":
            for each in value:
                inner = (*path, entry_key(each, keys))
                yield (*inner, "."), None
                yield from leaves(each, (schema or {}).get("items") if schema else None, inner)
            return
        if kind == "set":
            for each in value:
                yield (*path, value_key(each)), each
            return
    yield path, value


def fields_of(document: dict[str, Any], schema: Schema | None) -> dict[Path, Any]:
    """Return the paths that a manager of this document owns; what names the object belongs to nobody."""
    return {path: value for path, value in leaves(document, schema) if path and not is_system(path)}


SYSTEM = frozenset(
    ("f:metadata", f"f:{name}")
    for name in (
        "name", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp", "managedFields",
        "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "generateName",
    )
)  # fmt: skip


def is_system(path: Path) -> bool:
    """True for what the API server itself sets."""
    return path[0] in ("f:apiVersion", "f:kind") or path[:2] in SYSTEM


def to_trie(paths: Iterable[Path]) -> dict[str, Any]:
    """Return paths in fieldsV1 form."""
    trie: dict[str, Any] = {}
    for path in paths:
        place = trie
        for part in path:
            place = place.setdefault(part, {})
    return trie


def from_trie(trie: dict[str, Any], path: Path = ()) -> Iterator[Path]:
    """Yield the paths of a fieldsV1 document."""
    for part, inner in trie.items():
        if inner:
            yield from from_trie(inner, (*path, part))
        else:
            yield (*path, part)


def remove(value: Any, path: Path, drop_empty: bool = True) -> None:
    """Remove what stands at a path, and the maps that become empty by it."""
    head, rest = path[0], path[1:]
    if head.startswith("f:") and isinstance(value, dict) and head[2:] in value:
        name = head[2:]
        if not rest:
            del value[name]
            return
        remove(value[name], rest, drop_empty)
        if drop_empty and value[name] in ({}, []):
            del value[name]
    elif isinstance(value, list):
        _remove_entry(value, head, rest, drop_empty)


def _remove_entry(entries: list[Any], head: str, rest: Path, drop_empty: bool) -> None:
    matches: Callable[[Any], bool]
    if head.startswith("v:"):
        wanted = json.loads(head[2:])
        matches = lambda each: each == wanted  # noqa: E731 - one of two ways to find the entry
    else:
        keys = json.loads(head[2:])
        matches = lambda each: isinstance(each, dict) and all(each.get(k) == v for k, v in keys.items())  # noqa: E731
    for entry in [each for each in entries if matches(each)]:
        if not rest or rest == (".",):
            entries.remove(entry)
        else:
            remove(entry, rest, drop_empty)
