"""Who owns which field: server-side apply, and what an ordinary update does to owners.

Kubernetes: an applied field belongs to its manager; another manager's different value is a conflict unless forced; a
field that a manager applied before and does not apply now goes, unless somebody else owns it too.
"""

from __future__ import annotations

import copy
from typing import Any

from tallship.lab.kube.errors import RefusedRequest
from tallship.lab.kube.fields import (
    Path,
    Schema,
    entry_key,
    fields_of,
    from_trie,
    list_kind,
    property_schema,
    remove,
    to_trie,
)

Document = dict[str, Any]
MISSING = object()


class Owners:
    """The managedFields of one object."""

    def __init__(self, entries: list[Document]) -> None:
        self._paths: dict[tuple[str, str, str], set[Path]] = {}
        self._entries: dict[tuple[str, str, str], Document] = {}
        for entry in entries:
            key = (entry["manager"], entry["operation"], entry.get("subresource", ""))
            self._paths[key] = set(from_trie(entry.get("fieldsV1", {})))
            self._entries[key] = entry

    def of(self, key: tuple[str, str, str]) -> set[Path]:
        """Return what a manager owns."""
        return self._paths.get(key, set())

    def others(self, key: tuple[str, str, str]) -> dict[tuple[str, str, str], set[Path]]:
        """Return what everybody else owns."""
        return {other: paths for other, paths in self._paths.items() if other != key}

    def put(self, key: tuple[str, str, str], paths: set[Path], api_version: str, now: str) -> None:
        """Set what a manager owns; its time changes only with its fields."""
        if paths == self._paths.get(key):
            return
        self._paths[key] = paths
        self._entries[key] = {
            "manager": key[0],
            "operation": key[1],
            "apiVersion": api_version,
            "time": now,
            "fieldsType": "FieldsV1",
            **({"subresource": key[2]} if key[2] else {}),
        }

    def entries(self) -> list[Document]:
        """Return the managedFields; managers that own nothing are left out."""
        return [
            {**self._entries[key], "fieldsV1": to_trie(sorted(paths))} for key, paths in self._paths.items() if paths
        ]


def apply(
    live: Document | None,
    applied: Document,
    manager: str,
    force: bool,
    schema: Schema | None,
    now: str,
    subresource: str = "",
) -> Document:
    """Return the object after a server-side apply; raises RefusedRequest (Conflict)."""
    key = (manager, "Apply", subresource)
    owners = Owners((live or {}).get("metadata", {}).get("managedFields", []))
    wanted = fields_of(applied, schema)
    current = fields_of(live, schema) if live else {}
    conflicts = {
        (path, other)
        for other, paths in owners.others(key).items()
        for path in paths & wanted.keys()
        if current.get(path, MISSING) != wanted[path] and path[-1] != "."
    }
    if conflicts and not force:
        raise _conflict(conflicts)
    for other, paths in owners.others(key).items():
        owners.put(other, paths - {path for path, who in conflicts if who == other}, applied["apiVersion"], now)
    result: Document = merge(live or {}, applied, schema)
    for path in sorted(owners.of(key) - wanted.keys(), key=len, reverse=True):
        if not _owned_below(path, owners.others(key)):
            remove(result, path)
    owners.put(key, set(wanted), applied["apiVersion"], now)
    result.setdefault("metadata", {})["managedFields"] = owners.entries()
    return result


def updated(old: Document, new: Document, manager: str, schema: Schema | None, now: str, subresource: str = "") -> None:
    """Set the managedFields of `new` after an ordinary write: what changed belongs to its manager alone."""
    key = (manager, "Update", subresource)
    owners = Owners(old.get("metadata", {}).get("managedFields", []))
    before, after = fields_of(old, schema), fields_of(new, schema)
    changed = {path for path, value in after.items() if before.get(path, MISSING) != value}
    gone = before.keys() - after.keys()
    if changed or gone:
        for other, paths in owners.others(key).items():
            owners.put(other, paths - changed - gone, new["apiVersion"], now)
        owners.put(key, (owners.of(key) | changed) - gone, new["apiVersion"], now)
    entries = owners.entries()
    if entries:
        new["metadata"]["managedFields"] = entries


def merge(live: Any, applied: Any, schema: Schema | None, name: str = "") -> Any:
    """Return the live value with the applied one merged over it."""
    if isinstance(live, dict) and isinstance(applied, dict):
        if schema and schema.get("x-kubernetes-map-type") == "atomic":
            return copy.deepcopy(applied)
        result = dict(live)
        for key, value in applied.items():
            known = property_schema(schema, key)
            result[key] = merge(live[key], value, known, key) if key in live else copy.deepcopy(value)
        return {key: copy.deepcopy(value) if key not in applied else value for key, value in result.items()}
    if isinstance(live, list) and isinstance(applied, list):
        return _merge_lists(live, applied, schema, name)
    return copy.deepcopy(applied)


def _merge_lists(live: list[Any], applied: list[Any], schema: Schema | None, name: str) -> list[Any]:
    kind, keys = list_kind(schema, name, live + applied)
    if kind == "set":
        return live + [each for each in applied if each not in live]
    if kind != "map":
        return copy.deepcopy(applied)
    items = (schema or {}).get("items") if schema else None
    news = {entry_key(each, keys): each for each in applied}
    result = []
    for each in live:
        mine = news.pop(entry_key(each, keys), None)
        result.append(copy.deepcopy(each) if mine is None else merge(each, mine, items))
    return result + [copy.deepcopy(each) for each in news.values()]


def _owned_below(path: Path, others: dict[tuple[str, str, str], set[Path]]) -> bool:
    """True when somebody else owns the path or something inside it."""
    stem = path[:-1] if path[-1] == "." else path
    return any(other[: len(stem)] == stem for paths in others.values() for other in paths)


def _conflict(conflicts: set[tuple[Path, tuple[str, str, str]]]) -> RefusedRequest:
    causes = []
    for path, (manager, _, subresource) in sorted(conflicts):
        with_what = f'conflict with "{manager}"' + (f' with subresource "{subresource}"' if subresource else "")
        causes.append({"reason": "FieldManagerConflict", "message": with_what, "field": dotted(path)})
    number = len(causes)
    told = ", ".join(f"{cause['message']}: {cause['field']}" for cause in causes)
    noun = "conflict" if number == 1 else "conflicts"
    return RefusedRequest("Conflict", f"Apply failed with {number} {noun}: {told}", causes)


def dotted(path: Path) -> str:
    """Return a path as Kubernetes shows it: `.spec.containers[name="a"].image`."""
    import json

    parts = []
    for part in path:
        if part.startswith("f:"):
            parts.append(f".{part[2:]}")
        elif part.startswith("k:"):
            keys = json.loads(part[2:])
            parts.append("[" + ",".join(f"{k}={json.dumps(v)}" for k, v in keys.items()) + "]")
        elif part.startswith("v:"):
            parts.append(f"[={part[2:]}]")
    return "".join(parts)
