"""Helm's own records of a release, read without Helm."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any


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
    """Return the newest revision among the Secrets that Helm stored for one release; None where there are none."""
    found = sorted(records, key=_revision)
    return read_release(found[-1]) if found else None


def _revision(record: Mapping[str, Any]) -> int:
    return int(record["metadata"]["labels"]["version"])


def read_release(record: Mapping[str, Any]) -> Release:
    """Return what one of Helm's Secrets says.

    Helm 3 and 4: the value is base64 of gzip of JSON, and the API adds a base64 of its own.
    """
    labels = record["metadata"]["labels"]
    packed = base64.b64decode(base64.b64decode(record["data"]["release"]))
    stored = json.loads(gzip.decompress(packed) if packed[:2] == b"\x1f\x8b" else packed)
    metadata = (stored.get("chart") or {}).get("metadata") or {}
    return Release(
        name=labels["name"],
        revision=_revision(record),
        status=labels.get("status") or stored["info"]["status"],
        chart=metadata.get("name", ""),
        chart_version=metadata.get("version", ""),
        changed_at=_changed_at(record),
        values=stored.get("config") or {},
    )


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
