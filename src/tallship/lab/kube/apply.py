"""Who owns which field: server-side apply, and what an ordinary update does to owners.

Kubernetes: an applied field belongs to its manager; another manager's different value is a conflict unless forced; a
field that a manager applied before and does not apply now goes, unless somebody else owns it too.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from tallship.lab.kube.documents import copied
from tallship.lab.kube.errors import RefusedRequest
from tallship.lab.kube.fields import (
    UNKNOWN,
    Path,
    Schema,
    dotted,
    entry_key,
    fields_of,
    from_trie,
    is_key,
    is_set,
    map_keys,
    named_above,
    property_schema,
    remove,
    to_trie,
)

Document = dict[str, Any]
MISSING = object()


class Manager(NamedTuple):
    """One owner: a client's name, how it writes, and the subresource it writes to."""

    name: str
    operation: str
    subresource: str = ""


class Owners:
    """The managedFields of one object."""

    def __init__(self, entries: list[Document]) -> None:
        self.paths: dict[Manager, set[Path]] = {}
        self._entries: dict[Manager, Document] = {}
        for entry in entries:
            manager = Manager(entry["manager"], entry["operation"], entry.get("subresource", ""))
            self.paths[manager] = set(from_trie(entry.get("fieldsV1", {})))
            self._entries[manager] = entry

    def of(self, manager: Manager) -> set[Path]:
        """Return what a manager owns."""
        return self.paths.get(manager, set())

    def others(self, manager: Manager) -> dict[Manager, set[Path]]:
        """Return what everybody else owns."""
        return {other: paths for other, paths in self.paths.items() if other != manager}

    def put(self, manager: Manager, paths: set[Path], api_version: str, now: str) -> None:
        """Set what a manager owns; its time changes only with its fields."""
        if paths == self.paths.get(manager):
            return
        self.paths[manager] = paths
        self._entries[manager] = {
            "manager": manager.name,
            "operation": manager.operation,
            "apiVersion": api_version,
            "time": now,
            "fieldsType": "FieldsV1",
            **({"subresource": manager.subresource} if manager.subresource else {}),
        }

    def take(self, manager: Manager, paths: set[Path]) -> None:
        """Take paths away from a manager."""
        self.paths[manager] = self.paths[manager] - paths

    def api_version(self, manager: Manager) -> str:
        """Return the version in which a manager wrote last."""
        return str(self._entries[manager]["apiVersion"])

    def entries(self) -> list[Document]:
        """Return the managedFields in Kubernetes' order; managers that own nothing are left out."""
        found = [
            {**self._entries[manager], "fieldsV1": to_trie(sorted(paths))}
            for manager, paths in self.paths.items()
            if paths
        ]
        return sorted(found, key=lambda each: (each["operation"], each["time"], each["manager"]))


def apply(
    live: Document | None, applied: Document, manager: Manager, force: bool, schema: Schema, now: str
) -> Document:
    """Return the object after a server-side apply; raises RefusedRequest (Conflict)."""
    owners = Owners((live or {}).get("metadata", {}).get("managedFields", []))
    wanted = fields_of(applied, schema)
    current = fields_of(live, schema) if live else {}
    differ = {path for path, value in wanted.items() if path[-1] != "." and current.get(path, MISSING) != value}
    conflicts = {other: lost for other, paths in owners.others(manager).items() if (lost := paths & differ)}
    if conflicts and not force:
        raise _conflict(conflicts, owners)
    for other, paths in conflicts.items():
        owners.take(other, paths)
    result: Document = merge(live or {}, applied, schema)
    _remove_dropped(result, owners.of(manager) - wanted.keys(), [*owners.others(manager).values(), {*wanted}], schema)
    owners.put(manager, set(wanted), applied["apiVersion"], now)
    result.setdefault("metadata", {})["managedFields"] = owners.entries()
    return result


def updated(old: Document, new: Document, manager: Manager, schema: Schema, now: str) -> None:
    """Set the managedFields of `new` after an ordinary write: what changed belongs to its manager alone."""
    owners = Owners(old.get("metadata", {}).get("managedFields", []))
    before, after = fields_of(old, schema), fields_of(new, schema)
    changed = {path for path, value in after.items() if before.get(path, MISSING) != value}
    gone = before.keys() - after.keys()
    if changed or gone:
        for other in owners.others(manager):
            owners.take(other, changed | gone)
        owners.put(manager, (owners.of(manager) | changed) - gone, new["apiVersion"], now)
    entries = owners.entries()
    if entries:
        new["metadata"]["managedFields"] = entries


def merge(live: Any, applied: Any, schema: Schema) -> Any:
    """Return the live value with the applied one merged over it; shares nothing with either."""
    if isinstance(live, dict) and isinstance(applied, dict) and schema.get("x-kubernetes-map-type") != "atomic":
        result = {key: copied(value) for key, value in live.items() if key not in applied}
        for key, value in applied.items():
            result[key] = merge(live.get(key), value, property_schema(schema, key))
        return result
    if isinstance(live, list) and isinstance(applied, list):
        return _merge_lists(live, applied, schema)
    if applied is None and isinstance(live, dict) and schema.get("x-kubernetes-map-type") != "atomic":
        return copied(live)  # what was owned below is dropped afterwards; what was filled in stays
    return copied(applied)


def _merge_lists(live: list[Any], applied: list[Any], schema: Schema) -> list[Any]:
    if is_set(schema):
        return live + [each for each in applied if each not in live]
    keys = map_keys(schema)
    if not keys:
        return copied(applied)  # type: ignore[no-any-return]
    items = schema.get("items", UNKNOWN)
    news = {entry_key(each, keys, items): each for each in applied}
    result = []
    for each in live:
        mine = news.pop(entry_key(each, keys, items), None)
        result.append(copied(each) if mine is None else merge(each, mine, items))
    return result + [copied(each) for each in news.values()]


def _remove_dropped(result: Document, dropped: set[Path], owned: list[set[Path]], schema: Schema) -> None:
    """Remove what its manager applies no longer, and the fields around it that nobody owns anything of any more.

    With such a field goes also what was only filled in there. Source: structured-merge-diff v4.4 (`merge/update.go`).
    """
    around = {above for path in dropped for above in named_above(path, schema)} - {("f:metadata",)}
    for path in sorted(dropped | around, key=len, reverse=True):
        if not is_key(path) and not _owned_below(path, owned):
            remove(result, path, schema)


def _owned_below(path: Path, owned: list[set[Path]]) -> bool:
    """True when somebody owns the path or something inside it."""
    stem = path[:-1] if path[-1] == "." else path
    return any(other[: len(stem)] == stem for paths in owned for other in paths)


def _conflict(conflicts: dict[Manager, set[Path]], owners: Owners) -> RefusedRequest:
    causes, told = [], []
    for manager in sorted(conflicts):
        paths = [dotted(path) for path in sorted(conflicts[manager])]
        who = f'"{manager.name}"' + (f' with subresource "{manager.subresource}"' if manager.subresource else "")
        if manager.operation == "Update":
            who += f" using {owners.api_version(manager)}"
        causes += [
            {"reason": "FieldManagerConflict", "message": f"conflict with {who}", "field": path} for path in paths
        ]
        told.append(f"conflicts with {who}:\n" + "\n".join(f"- {path}" for path in paths))
    if len(causes) == 1:
        text = f"Apply failed with 1 conflict: {causes[0]['message']}: {causes[0]['field']}"
    else:
        text = f"Apply failed with {len(causes)} conflicts: " + "\n".join(told)
    return RefusedRequest("Conflict", text, causes)
