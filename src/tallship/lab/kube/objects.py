"""The objects of one cluster, in the order of their revisions: what etcd and the watch cache are to an API server."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from tallship.lab.kube.documents import Stored
from tallship.lab.kube.errors import not_found
from tallship.lab.kube.resources import Resource
from tallship.lab.store import Store, Table

Document = dict[str, Any]
Changes = list["Change"]

HISTORY = 5_000
"""How many changes of one resource a watch can go back to; older ones are `Expired`."""


@dataclass(frozen=True)
class Change:
    """One change of one object."""

    revision: int
    resource: Resource
    kind: str
    """ADDED, MODIFIED or DELETED."""
    new: Stored
    old: Document | None


class Objects:
    """Every object by resource, namespace and name; each write has the next revision and is told to watchers."""

    def __init__(self, store: Store, prefix: str, told: Callable[[Change], None]) -> None:
        """`told` is called with every change, before the watchers are."""
        self._store = store
        self._prefix = prefix
        self._told = told
        self._notes = store.table(f"{prefix}.etcd")
        self.revision = int(self._notes.get("revision", {"value": 1})["value"])
        self._begun = self.revision
        self._history: dict[str, deque[Change]] = {}
        self._watchers: dict[str, set[asyncio.Queue[Any]]] = {}
        self._tables: dict[str, Table] = {}

    def find(self, resource: Resource, namespace: str, name: str) -> Document | None:
        """Return an object as stored, or None. Do not change it."""
        return self._table(resource).get(f"{namespace}/{name}")

    def get(self, resource: Resource, namespace: str, name: str) -> Document:
        """Return an object as stored. Raises RefusedRequest (NotFound)."""
        found = self.find(resource, namespace, name)
        if found is None:
            raise not_found(resource.plural, resource.group, name)
        return found

    def list(self, resource: Resource, namespace: str = "", after: str = "") -> Iterator[Document]:
        """Yield the objects of a resource, in one namespace or in all, in the order of their keys, after a key."""
        table = self._table(resource)
        start = f"{namespace}/" if namespace else ""
        for key in sorted(table):
            if key.startswith(start) and key > after:
                yield table[key]

    def put(self, resource: Resource, new: Document, old: Document | None) -> Document:
        """Store an object under the next revision."""
        stored = self._numbered(new)
        self._table(resource)[key_of(stored)] = stored
        self._tell(Change(self.revision, resource, "MODIFIED" if old else "ADDED", stored, old))
        return stored

    def drop(self, resource: Resource, old: Document, last: Document) -> Document:
        """Remove an object; watchers see its last state under the next revision."""
        stored = self._numbered(last)
        del self._table(resource)[key_of(old)]
        self._tell(Change(self.revision, resource, "DELETED", stored, old))
        return stored

    def replace(self, revision: int, objects: Iterable[tuple[Resource, Document]]) -> None:
        """Be what another store was at that revision; nobody is told, so nobody may be watching."""
        for table in self._tables.values():
            table.clear()
        for resource, document in objects:
            self._table(resource)[key_of(document)] = Stored(document)
        self.revision = revision
        self._notes["revision"] = {"value": revision}
        self.compact()

    def watch(self, resource: Resource) -> asyncio.Queue[Any]:
        """Return a queue that gets every later change of a resource."""
        queue: asyncio.Queue[Any] = asyncio.Queue()
        self._watchers.setdefault(resource.id, set()).add(queue)
        return queue

    def unwatch(self, resource: Resource, queue: asyncio.Queue[Any]) -> None:
        """Forget a queue."""
        self._watchers.get(resource.id, set()).discard(queue)

    def since(self, resource: Resource, revision: int) -> Changes | None:
        """Return the changes of a resource after a revision, or None when that is too long ago."""
        history = self._history.get(resource.id, deque())
        first = history[0].revision if len(history) == HISTORY else self._begun + 1
        if revision < first - 1:
            return None
        return [each for each in history if each.revision > revision]

    def is_compacted(self, revision: int) -> bool:
        """True when the state at a revision is forgotten."""
        return revision < self._begun

    def compact(self) -> None:
        """Forget all changes: who has not seen them must list again."""
        self._history.clear()
        self._begun = self.revision

    def _numbered(self, document: Document) -> Stored:
        self.revision += 1
        self._notes["revision"] = {"value": self.revision}
        return Stored({**document, "metadata": {**document["metadata"], "resourceVersion": str(self.revision)}})

    def _tell(self, change: Change) -> None:
        self._history.setdefault(change.resource.id, deque(maxlen=HISTORY)).append(change)
        self._told(change)
        for queue in self._watchers.get(change.resource.id, ()):
            queue.put_nowait(change)

    def _table(self, resource: Resource) -> Table:
        if resource.id not in self._tables:
            self._tables[resource.id] = self._store.table(f"{self._prefix}/{resource.id}")
        return self._tables[resource.id]


def key_of(document: Document) -> str:
    """Return the key under which an object is stored."""
    return f"{document['metadata'].get('namespace', '')}/{document['metadata']['name']}"
