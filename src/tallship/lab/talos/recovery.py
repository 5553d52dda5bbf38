"""PURE: what etcd looks at in a snapshot before it takes it (etcd v3.6, `etcdutl snapshot restore`)."""

from __future__ import annotations

import hashlib

from tallship.lab.kubeserver import SnapshotRefused

HASH = hashlib.sha256().digest_size
PATH = "/var/lib/etcd.snapshot"
"""Talos v1.12: where an uploaded snapshot is kept."""
_BLOCK = 512


def with_hash(database: bytes) -> bytes:
    """Return a snapshot as etcd sends one: the database, and then its SHA-256."""
    return database + hashlib.sha256(database).digest()


def database_in(snapshot: bytes | None, *, skips_hash: bool) -> bytes:
    """Return the database of a snapshot that may be restored. Raises SnapshotRefused."""
    if snapshot is None:
        raise SnapshotRefused(f"error verifying snapshot: open {PATH}: no such file or directory")
    if len(snapshot) % _BLOCK != HASH:
        if skips_hash:
            return snapshot
        raise SnapshotRefused("error verifying snapshot: snapshot missing hash but --skip-hash-check=false")
    database, told = snapshot[:-HASH], snapshot[-HASH:]
    if not skips_hash and (found := hashlib.sha256(database).digest()) != told:
        raise SnapshotRefused(f"error verifying snapshot: expected sha256 {told.hex()}, got {found.hex()}")
    return database
