"""Helm's own records of a release, read without Helm."""

from __future__ import annotations

import base64
import gzip
import io
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tallship.errors import StepFailed

MOST_BYTES = 16 * 1024**2
"""Of a release, unpacked: its chart, its values and its documents."""


@dataclass(frozen=True)
class Release:
    """The newest revision of a release."""

    name: str
    revision: int
    status: str
    chart: str
    chart_version: str
    changed_at: datetime
    values: Mapping[str, Any] = field(default_factory=dict)
    """What was given to Helm; it may hold secrets."""

    @property
    def is_pending(self) -> bool:
        """True while a helm is at it, or when one was killed."""
        return self.status.startswith("pending-")


def newest_release(records: Iterable[Mapping[str, Any]]) -> Release | None:
    """Return the newest revision among the Secrets that Helm stored for one release; None where there are none.

    Raises StepFailed when it is not what Helm stores.
    """
    found = max(records, key=revision, default=None)
    return read_release(found) if found else None


def revision(record: Mapping[str, Any]) -> int:
    """Return which revision one of Helm's Secrets says it is; 0 where it says none."""
    told = (record["metadata"].get("labels") or {}).get("version") or ""
    return int(told) if re.fullmatch(r"[0-9]{1,9}", told) else 0


def read_release(record: Mapping[str, Any]) -> Release:
    """Return what one of Helm's Secrets says. Raises StepFailed for one that Helm did not write.

    Helm 3 and 4: the value is base64 of gzip of JSON, and the API adds a base64 of its own.
    """
    try:
        return _read(record)
    except (ArithmeticError, AttributeError, LookupError, OSError, RecursionError, TypeError, ValueError) as error:
        place = f"{record['metadata'].get('namespace', '')}/{record['metadata'].get('name', '')}"
        hint = "`helm history` shows the release's revisions; one whose Secret is deleted is forgotten"
        raise StepFailed(f"the Secret {place} is not what helm stores", detail=repr(error)[:200], hint=hint) from error


def _read(record: Mapping[str, Any]) -> Release:
    labels = record["metadata"]["labels"]
    stored = json.loads(_unpacked(base64.b64decode(base64.b64decode(record["data"]["release"]))))
    metadata = (stored.get("chart") or {}).get("metadata") or {}
    values = stored.get("config") or {}
    if not isinstance(values, dict):
        raise TypeError("config")
    return Release(
        name=str(labels["name"]),
        revision=revision(record),
        status=str(labels.get("status") or stored["info"]["status"]),
        chart=str(metadata.get("name", "")),
        chart_version=str(metadata.get("version", "")),
        changed_at=_changed_at(record),
        values=values,
    )


def _unpacked(packed: bytes) -> bytes:
    """Return what was packed. Raises ValueError for more than a chart can be: a megabyte can hold a gigabyte."""
    if packed[:2] != b"\x1f\x8b":
        return packed
    with gzip.GzipFile(fileobj=io.BytesIO(packed)) as file:
        found = file.read(MOST_BYTES + 1)
    if len(found) > MOST_BYTES:
        raise ValueError(f"more than {MOST_BYTES} bytes")
    return found


def _changed_at(record: Mapping[str, Any]) -> datetime:
    metadata = record["metadata"]
    seconds = metadata["labels"].get("modifiedAt") or metadata["labels"].get("createdAt")
    if seconds:
        return datetime.fromtimestamp(int(seconds), UTC)
    stamp = metadata.get("creationTimestamp") or "1970-01-01T00:00:00Z"
    return stamp if isinstance(stamp, datetime) else datetime.fromisoformat(stamp)


def release_equals(release: Release, version: str, values: Mapping[str, Any]) -> bool:
    """True when the release is deployed at this version of its chart and with these values."""
    return release.status == "deployed" and release.chart_version == version and _same(release.values, values)


def _same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    # As JSON, because that is how Helm stored them: a tuple is a list there, and key order means nothing.
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
