"""What the lab remembers: tables of JSON documents, kept in memory and written through to one SQLite file."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, MutableMapping, ValuesView
from pathlib import Path
from typing import Any

Document = dict[str, Any]


class Table(MutableMapping[str, Document]):
    """Documents by key. Assign a document again after changing it: only assignment is remembered."""

    def __init__(self, store: Store, name: str, documents: dict[str, Document]) -> None:
        self._store = store
        self._name = name
        self._documents = documents
        self.writes = 0
        """Grows with each change."""

    def __getitem__(self, key: str) -> Document:
        return self._documents[key]

    def __setitem__(self, key: str, document: Document) -> None:
        self._documents[key] = document
        self.writes += 1
        self._store.write(self._name, key, document)

    def __delitem__(self, key: str) -> None:
        del self._documents[key]
        self.writes += 1
        self._store.erase(self._name, key)

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._documents))

    def values(self) -> ValuesView[Document]:
        """Return the documents as they are at this moment."""
        return dict(self._documents).values()

    def __len__(self) -> int:
        return len(self._documents)


class Store:
    """All tables of one lab. With a path they survive a kill of the process; without one they live in memory."""

    def __init__(self, path: Path | None = None) -> None:
        self._database: sqlite3.Connection | None = None
        self._tables: dict[str, Table] = {}
        if path is not None:
            self._database = sqlite3.connect(path, isolation_level=None)
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute(
                "PRAGMA synchronous=OFF"
            )  # survives a kill of the process, which is what is promised
            self._database.execute(
                "CREATE TABLE IF NOT EXISTS documents (tab TEXT, key TEXT, body TEXT, PRIMARY KEY (tab, key))"
            )

    def table(self, name: str) -> Table:
        """Return the table of that name, with what an earlier process left in it."""
        if name not in self._tables:
            self._tables[name] = Table(self, name, self._load(name))
        return self._tables[name]

    def next_id(self, counter: str, start: int = 1) -> int:
        """Return the next number of a counter, never one that was given out before."""
        numbers = self.table("counters")
        value = int(numbers.get(counter, {"value": start - 1})["value"]) + 1
        numbers[counter] = {"value": value}
        return value

    def write(self, table: str, key: str, document: Document) -> None:
        """Put one document on disk."""
        if self._database is not None:
            body = json.dumps(document, separators=(",", ":"))
            self._database.execute("INSERT OR REPLACE INTO documents VALUES (?, ?, ?)", (table, key, body))

    def erase(self, table: str, key: str) -> None:
        """Remove one document from disk."""
        if self._database is not None:
            self._database.execute("DELETE FROM documents WHERE tab = ? AND key = ?", (table, key))

    def close(self) -> None:
        """Close the file: what is written from now on is lost, as after a kill of the process."""
        if self._database is not None:
            self._database.close()
            self._database = None

    def _load(self, name: str) -> dict[str, Document]:
        if self._database is None:
            return {}
        rows = self._database.execute("SELECT key, body FROM documents WHERE tab = ? ORDER BY rowid", (name,))
        return {key: json.loads(body) for key, body in rows}
