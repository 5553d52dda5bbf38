"""The objects of one cluster, in the order of their revisions: what etcd and the watch cache are to an API server."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tallship.lab.kube.resources import Resource
from tallship.lab.store import Store, Table

Document = dict[str, Any]
Changes = list["Change"]

HISTORY = 20_000
"""How many changes a watch can go back to; older ones are `Expired`."""


@dataclass(frozen=True)
class Change:
    """One change of one object."""

    revision: int
    resource: str
    kind: str
    """ADDED, MODIFIED or DELETED."""
    new: Document
    old: Document | None


class Objects:
    """Every object by resource, namespace and name; each write has the next revision and is told to watchers."""

    def __init__(self, store: Store, prefix: str) -> None:
        self._store = store
        self._prefix = prefix
        self._notes = store.table(f"{prefix}.etcd")
        self.revision = int(self._notes.get("revision", {"value": 1})["value"])
        self.oldest = self.revision
        self.history: deque[Change] = deque(maxlen=HISTORY)
        self._watchers: dict[str, set[asyncio.Queue[Change]]] = {}
        self._tables: dict[str, Table] = {}

    def find(self, resource: Resource, namespace: str, name: str) -> Document | None:
        """Return an object as stored, or None. Do not change it."""
        return self._table(resource).get(f"{namespace}/{name}")

    def list(self, resource: Resource, namespace: str = "") -> Iterator[Document]:
        """Yield the objects of a resource, in one namespace or in all, in the order of their keys."""
        table = self._table(resource)
        start = f"{namespace}/" if namespace else ""
        for key in sorted(table):
            if key.startswith(start):
                yield table[key]

    def put(self, resource: Resource, new: Document, old: Document | None) -> Document:
        """Store an object under the next revision."""
        new["metadata"]["resourceVersion"] = str(self._advance())
        self._table(resource)[_key(new)] = new
        self._tell(Change(self.revision, resource.id, "MODIFIED" if old else "ADDED", new, old))
        return new

    def drop(self, resource: Resource, old: Document) -> Document:
        """Remove an object; watchers see its last state under the next revision."""
        last = {**old, "metadata": {**old["metadata"], "resourceVersion": str(self._advance())}}
        del self._table(resource)[_key(old)]
        self._tell(Change(self.revision, resource.id, "DELETED", last, old))
        return last

    def watch(self, resource: Resource) -> asyncio.Queue[Change]:
        """Return a queue that gets every later change of a resource."""
        queue: asyncio.Queue[Change] = asyncio.Queue()
        self._watchers.setdefault(resource.id, set()).add(queue)
        return queue

    def unwatch(self, resource: Resource, queue: asyncio.Queue[Change]) -> None:
        """Forget a queue."""
        self._watchers.get(resource.id, set()).discard(queue)

    def since(self, resource: Resource, revision: int) -> Changes | None:
        """Return the changes of a resource after a revision, or None when that is too long ago."""
        first = self.history[0].revision if len(self.history) == HISTORY else self.oldest
        if revision < first - 1:
            return None
        return [each for each in self.history if each.revision > revision and each.resource == resource.id]

    def _advance(self) -> int:
        self.revision += 1
        self._notes["revision"] = {"value": self.revision}
        return self.revision

    def _tell(self, change: Change) -> None:
        self.history.append(change)
        for queue in self._watchers.get(change.resource, ()):
            queue.put_nowait(change)

    def _table(self, resource: Resource) -> Table:
        if resource.id not in self._tables:
            self._tables[resource.id] = self._store.table(f"{self._prefix}/{resource.id}")
        return self._tables[resource.id]


def _key(document: Document) -> str:
    return f"{document['metadata'].get('namespace', '')}/{document['metadata']['name']}"
