"""What a restore asks of documents and files: a snapshot that is whole, and a Cluster that is held meanwhile."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tallship.manifests import pivot, snapshot
from tallship.manifests.health import MOVE_LABEL
from tallship.spec.names import CLUSTER_LABEL, NAMESPACE, Names

Document = Mapping[str, Any]

RESTORING = "tallship.dev/restoring"
"""Annotation on a Cluster that a restore of ours has paused."""
PAUSED = "cluster.x-k8s.io/paused"
HASH_BYTES = 32
_BLOCK = 512


@dataclass(frozen=True)
class Verified:
    """A snapshot that is whole."""

    sha256: str
    """Of its database, in hex: what the snapshot itself ends with."""
    facts: snapshot.Facts

    @property
    def told(self) -> str:
        """What a person recognises it by."""
        facts = self.facts
        members = ", ".join(facts.members) or "nobody"
        return f"revision {facts.revision}, {facts.keys} objects, {facts.nodes} nodes; etcd's members were {members}"


def verified(content: bytes) -> Verified:
    """Return a snapshot's facts. Raises ValueError that tells why etcd would not take it.

    etcd v3.6: a snapshot is a database, whose size is a multiple of 512, and its SHA-256, which is the only sign that
    nothing broke off.
    """
    if len(content) % _BLOCK != HASH_BYTES:
        raise ValueError(f"{len(content)} bytes are not a database with its hash: it broke off, or it is a raw copy")
    database, told = content[:-HASH_BYTES], content[-HASH_BYTES:]
    if hashlib.sha256(database).digest() != told:
        raise ValueError("its hash is that of another content")
    return Verified(told.hex(), snapshot.facts(database))


def is_held(cluster: Document) -> bool:
    """True when a restore of ours has paused the Cluster."""
    return is_being_restored(cluster) and pivot.is_paused(cluster)


def is_being_restored(cluster: Document) -> bool:
    """True for a Cluster that says from which snapshot it is being made anew, or during which restore it is held."""
    return RESTORING in (cluster["metadata"].get("annotations") or {})


def holding(today: str) -> dict[str, Any]:
    """Return the change that pauses a Cluster, and says by whom."""
    return {"metadata": {"annotations": {RESTORING: today}}, "spec": {"paused": True}}


def releasing() -> dict[str, Any]:
    """Return the change that lets the controllers go on."""
    return {"metadata": {"annotations": {RESTORING: None}}, "spec": {"paused": None}}


def noting(sha256: str | None) -> dict[str, Any]:
    """Return the change by which a Cluster says from which snapshot it is being restored; None: from none any more."""
    return {"metadata": {"annotations": {RESTORING: sha256}}}


def pausing() -> dict[str, Any]:
    """Return the change that makes controllers leave one object alone (Cluster API v1.10: annotation `paused`)."""
    return {"metadata": {"annotations": {PAUSED: "true"}}}


def resuming() -> dict[str, Any]:
    """Return the change that lets them go on."""
    return {"metadata": {"annotations": {PAUSED: None}}}


def secrets(names: Names, bundle: str) -> dict[str, Any]:
    """Return the Secret with what every machine is made from.

    CABPT v0.6.11 looks for it before it makes one, and adds no owner to one that it finds: a move takes it along by its
    label.
    """
    labels = {CLUSTER_LABEL: names.cluster, MOVE_LABEL: ""}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": names.talos_secret, "namespace": NAMESPACE, "labels": labels},
        "type": "cluster.x-k8s.io/secret",
        "data": {"bundle": base64.b64encode(bundle.encode()).decode()},
    }
