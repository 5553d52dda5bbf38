"""Helm's own records: one Secret for each revision of a release."""

from __future__ import annotations

import base64
import gzip
import json
from dataclasses import dataclass
from typing import Any

from tallship.lab.clock import LabClock, timestamp, wall
from tallship.lab.kubeclient import KubeClient, Object

WHOLE = ("deployed", "superseded")


@dataclass
class Revision:
    """One revision of a release, as helm stores it."""

    body: dict[str, Any]

    @property
    def number(self) -> int:
        """Its number, from 1."""
        return int(self.body["version"])

    @property
    def status(self) -> str:
        """Helm's word for it."""
        return str(self.body["info"]["status"])

    @property
    def is_pending(self) -> bool:
        """True while a helm is at it, or when one was killed."""
        return self.status.startswith("pending-")


class Releases:
    """The records of one release, through a client of its cluster."""

    def __init__(self, client: KubeClient, clock: LabClock, name: str, namespace: str) -> None:
        self._client = client
        self._clock = clock
        self.name = name
        self.namespace = namespace

    async def history(self) -> list[Revision]:
        """Return all revisions, oldest first."""
        found = await self._client.list("Secret", self.namespace, f"owner=helm,name={self.name}")
        return sorted((Revision(unpacked(each["data"]["release"])) for each in found), key=lambda each: each.number)

    async def create(self, revision: Revision) -> None:
        """Store a new revision."""
        await self._client.create(self._secret(revision, "createdAt"))

    async def set_status(self, revision: Revision, status: str, description: str) -> None:
        """Store what became of a revision."""
        revision.body["info"] |= {"status": status, "description": description}
        changed = self._secret(revision, "modifiedAt")
        changed["metadata"]["labels"]["createdAt"] = None  # helm makes the labels anew
        await self._client.patch(changed, changed)

    async def delete(self, revision: Revision) -> None:
        """Forget a revision."""
        await self._client.delete("Secret", self._secret_name(revision), self.namespace)

    def _secret_name(self, revision: Revision) -> str:
        return f"sh.helm.release.v1.{self.name}.v{revision.number}"

    def _secret(self, revision: Revision, moment: str) -> Object:
        labels: dict[str, str | None] = {
            "name": self.name,
            "owner": "helm",
            "status": revision.status,
            "version": str(revision.number),
            moment: str(int(wall(self._clock).timestamp())),
        }
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": self._secret_name(revision), "namespace": self.namespace, "labels": labels},
            "type": "helm.sh/release.v1",
            "data": {"release": packed(revision.body)},
        }


def new_revision(
    clock: LabClock, name: str, namespace: str, number: int, first_deployed: str, status: str, content: dict[str, Any]
) -> Revision:
    """Return a revision that begins now; `content` is its chart, config and manifest."""
    now = timestamp(clock)
    info = {
        "first_deployed": first_deployed or now,
        "last_deployed": now,
        "deleted": "",
        "description": "Initial install underway" if status == "pending-install" else "Preparing upgrade",
        "status": status,
    }
    return Revision({"name": name, "info": info, **content, "version": number, "namespace": namespace})


def packed(body: dict[str, Any]) -> str:
    """Return a release as a Secret's data holds it: JSON, gzip, helm's base64, and Kubernetes' base64."""
    squeezed = gzip.compress(json.dumps(body).encode(), mtime=0)
    return base64.b64encode(base64.b64encode(squeezed)).decode()


def unpacked(data: str) -> dict[str, Any]:
    """Return the release in a Secret's data."""
    body: dict[str, Any] = json.loads(gzip.decompress(base64.b64decode(base64.b64decode(data))))
    return body
