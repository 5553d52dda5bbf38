"""etcd's snapshot through the Talos API: a whole file that proves itself, or an error."""

from __future__ import annotations

import hashlib
import mmap
import os
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tallship.adapters.talos import Talos
from tallship.errors import ApiError, SetupError, StepFailed
from tallship.manifests import snapshot as database
from tallship.talosproto import common_pb2, machine_pb2
from tallship.talosproto.machine_grpc import MachineServiceStub

HASH_BYTES = hashlib.sha256().digest_size
PAGE_BYTES = 512
"""The database's size is a multiple of it, so what is left over is the hash's."""
SECONDS = 1800.0
"""How long one may take: 8 GiB, the most that etcd is meant to hold, at 5 MB/s."""
AGAIN = "run the same command again: another member may be asked"


@dataclass(frozen=True)
class Snapshot:
    """A snapshot on this machine's disk."""

    file: Path
    size_bytes: int
    """Of the file: the database, and the hash at its end."""
    sha256: str
    """Of the whole file, hash included."""


def snapshot(talos: Talos, node: str, file: Path, timeout: float = SECONDS) -> Snapshot:
    """Write what etcd of the node holds into a private file, chunk by chunk; the hash at its end is right.

    Raises ApiError, StepFailed when what came is not whole, and SetupError when the file cannot be written; then there
    is no file.
    """
    try:
        with open(file, "wb", opener=_private) as target:
            writer = _Writer(target, node)
            talos.follow(
                node, "EtcdSnapshot", MachineServiceStub, machine_pb2.EtcdSnapshotRequest(), writer.take, timeout
            )
            writer.finish()
            os.fsync(target.fileno())
    except OSError as error:
        file.unlink(missing_ok=True)
        hint = "check who owns it, and the space left on the disk"
        raise SetupError(f"{file} cannot be written: {error.strerror or error}", hint=hint) from error
    except BaseException:
        file.unlink(missing_ok=True)
        raise
    return Snapshot(file, writer.size_bytes, writer.whole.hexdigest())


def facts(file: Path) -> database.Facts:
    """Return what a snapshot holds, after a look at every page. Raises StepFailed when it is damaged."""
    with file.open("rb") as source:
        size = os.fstat(source.fileno()).st_size
        try:
            content = mmap.mmap(source.fileno(), 0, access=mmap.ACCESS_READ) if size else b""
            return database.facts(memoryview(content)[: size - size % PAGE_BYTES])
        except database.Damaged as damage:
            raise StepFailed(f"{file.name} is no database that etcd can read: {damage}", hint=AGAIN) from damage


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


class _Writer:
    """Writes chunks as they come, and keeps the end back, because it may be the hash of all before."""

    def __init__(self, target: IO[bytes], node: str) -> None:
        self.whole = hashlib.sha256()
        self.size_bytes = 0
        self._target, self._node = target, node
        self._database = hashlib.sha256()
        self._end = b""

    def take(self, message: common_pb2.Data) -> None:
        """Write one chunk. Raises ApiError when the node says that it failed."""
        if message.metadata.error:
            raise ApiError(f"{self._node}: {message.metadata.error}", code="UNKNOWN", hint=AGAIN)
        chunk = message.bytes
        self._target.write(chunk)
        self.whole.update(chunk)
        self.size_bytes += len(chunk)
        pending = self._end + chunk
        self._database.update(pending[:-HASH_BYTES])
        self._end = pending[-HASH_BYTES:]

    def finish(self) -> None:
        """Return when what came is whole. Raises StepFailed."""
        self._target.flush()
        if self.size_bytes % PAGE_BYTES != HASH_BYTES or self._database.digest() != self._end:
            message = (
                f"the snapshot from {self._node} is not whole: {self.size_bytes} bytes came, and their hash is wrong"
            )
            raise StepFailed(message, hint=AGAIN)
