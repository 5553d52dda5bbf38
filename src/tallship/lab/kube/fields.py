"""Sets of field paths in Kubernetes' fieldsV1 form: which manager owns what of an object.

A path is a tuple of `f:NAME` (a field), `k:{"name":"x"}` (an entry of a keyed list), `v:1` (a member of a set) and,
last, `.` (the entry itself).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

Path = tuple[str, ...]
Schema = dict[str, Any]

UNKNOWN: Schema = {}
"""The schema of what no schema tells of: maps are merged, lists are replaced."""


def map_keys(schema: Schema) -> Sequence[str]:
    """Return the keys by which a list's entries are merged; none for lists of other kinds."""
    return schema.get("x-kubernetes-list-map-keys", ()) if schema.get("x-kubernetes-list-type") == "map" else ()


def is_set(schema: Schema) -> bool:
    """True for a list whose members are merged by value."""
    return schema.get("x-kubernetes-list-type") == "set"


def entry_key(entry: Any, keys: Sequence[str], items: Schema) -> str:
    """Return the path element of a keyed list's entry; a key that is absent counts with its default."""
    known = items.get("properties", UNKNOWN)
    found = {key: entry.get(key, known.get(key, UNKNOWN).get("default")) for key in sorted(keys)}
    present = {key: value for key, value in found.items() if value is not None}
    return "k:" + json.dumps(present, separators=(",", ":"))


def value_key(value: Any) -> str:
    """Return the path element of a set's member."""
    return "v:" + json.dumps(value, separators=(",", ":"))


def property_schema(schema: Schema, name: str) -> Schema:
    """Return the schema of one property."""
    found = schema.get("properties", UNKNOWN).get(name, schema.get("additionalProperties"))
    return found if isinstance(found, dict) else UNKNOWN


def leaves(value: Any, schema: Schema, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Yield every owned path of a value with what stands there."""
    if isinstance(value, dict) and value and schema.get("x-kubernetes-map-type") != "atomic":
        for name, each in value.items():
            yield from leaves(each, property_schema(schema, name), (*path, f"f:{name}"))
    elif isinstance(value, list) and value and (keys := map_keys(schema)):
        items = schema.get("items", UNKNOWN)
        for each in value:
            inner = (*path, entry_key(each, keys, items))
            yield (*inner, "."), None
            yield from leaves(each, items, inner)
    elif isinstance(value, list) and value and is_set(schema):
        for each in value:
            yield (*path, value_key(each)), each
    else:
        yield path, value


def fields_of(document: dict[str, Any], schema: Schema) -> dict[Path, Any]:
    """Return the paths that a manager of this document owns; what names the object belongs to nobody."""
    found: dict[Path, Any] = {}
    for name, value in document.items():
        if name == "metadata":
            value = {key: each for key, each in value.items() if key not in SYSTEM}
        if name not in ("apiVersion", "kind") and not (name == "metadata" and not value):
            found.update(leaves(value, property_schema(schema, name), (f"f:{name}",)))
    return found


SYSTEM = frozenset(
    (
        "name", "namespace", "uid", "resourceVersion", "generation", "creationTimestamp", "managedFields",
        "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "generateName",
    )
)  # fmt: skip
"""The metadata that names an object or is set by the API server."""


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


def is_key(path: Path) -> bool:
    """True for a field that is a key of the list entry it stands in: it goes only with the whole entry."""
    return len(path) > 1 and path[-2].startswith("k:") and path[-1][2:] in json.loads(path[-2][2:])


def named_above(path: Path, schema: Schema) -> Iterator[Path]:
    """Yield the paths of the fields that a path leads through; an entry of a map or of a list is no field."""
    for length, part in enumerate(path[:-1], 1):
        if part.startswith("f:"):
            if part[2:] in schema.get("properties", UNKNOWN) or not isinstance(
                schema.get("additionalProperties"), dict
            ):
                yield path[:length]
            schema = property_schema(schema, part[2:])
        else:
            schema = schema.get("items", UNKNOWN)


def remove(value: Any, path: Path, schema: Schema) -> None:
    """Remove what stands at a path; the maps and lists that become empty by it become null, as in a real API server."""
    head, rest = path[0], path[1:]
    if head.startswith("f:") and isinstance(value, dict) and head[2:] in value:
        name = head[2:]
        if rest:
            remove(value[name], rest, property_schema(schema, name))
        if not rest:
            del value[name]
        elif value[name] in ({}, []):
            value[name] = None
    elif isinstance(value, list):
        _remove_entry(value, head, rest, schema)


def _remove_entry(entries: list[Any], head: str, rest: Path, schema: Schema) -> None:
    items, keys = schema.get("items", UNKNOWN), map_keys(schema)
    part: Callable[[Any], str] = (lambda each: entry_key(each, keys, items)) if keys else value_key
    for entry in [each for each in entries if part(each) == head]:
        if rest in ((), (".",)):
            entries.remove(entry)
        else:
            remove(entry, rest, items)


def dotted(path: Path) -> str:
    """Return a path as Kubernetes shows it: `.spec.containers[name="a"].image`."""
    parts = []
    for part in path:
        if part.startswith("f:"):
            parts.append(f".{part[2:]}")
        elif part.startswith("k:"):
            keys = json.loads(part[2:])
            parts.append("[" + ",".join(f"{key}={json.dumps(value)}" for key, value in keys.items()) + "]")
        elif part.startswith("v:"):
            parts.append(f"[={part[2:]}]")
    return "".join(parts)
