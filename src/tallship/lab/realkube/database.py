"""What a real etcd holds, as a file: asked of one that runs, and put in the place of one that does not yet."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import ssl
import tempfile
from pathlib import Path

import aiohttp

from tallship.errors import TallshipError
from tallship.lab.kubeserver import SnapshotRefused
from tallship.lab.talos.recovery import HASH, with_hash
from tallship.localplane import kubernetes, restored
from tallship.localplane.files import Layout
from tallship.localplane.program import Probe, Program

_LINE_BYTES = 2**20
"""More than any message of the stream: etcd sends 32 KiB at a time."""
_SECONDS = 60.0


async def snapshot(folder: Path) -> bytes:
    """Return the database of the etcd of a plane that runs. Raises SnapshotRefused."""
    probe = Program.read(Layout(folder).programs / f"{kubernetes.ETCD}.json").probe
    if probe is None:
        raise SnapshotRefused("nobody knows where etcd answers")
    url = probe.url.removesuffix("/health") + "/v3/maintenance/snapshot"
    timeout = aiohttp.ClientTimeout(total=_SECONDS)
    found: list[bytes] = []
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, read_bufsize=_LINE_BYTES) as session,
            session.post(url, data=b"{}", ssl=_client_tls(probe)) as answer,
        ):
            answer.raise_for_status()
            found.extend([_blob(json.loads(line)) async for line in answer.content])
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
        raise SnapshotRefused(f"etcd gives no snapshot: {error}") from error
    whole = b"".join(found)
    if hashlib.sha256(whole[:-HASH]).digest() != whole[-HASH:]:
        raise SnapshotRefused("etcd's snapshot broke off")
    return whole[:-HASH]


async def restore(folder: Path, programs: Path, database: bytes) -> None:
    """Give a plane that never ran this database. Raises SnapshotRefused, also where there is no `etcdutl`."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(with_hash(database))
        file.flush()
        try:
            await asyncio.to_thread(restored.restore, folder, programs, Path(file.name))
        except TallshipError as error:
            raise SnapshotRefused(f"error recovering from snapshot: {error.message} {error.detail}".rstrip()) from error


def _blob(message: dict[str, dict[str, str]]) -> bytes:
    """Return the bytes in a line of the stream. Raises ValueError for one that tells of an error."""
    if "result" not in message:
        raise ValueError(f"it says {message}")
    return base64.b64decode(message["result"].get("blob", ""))


def _client_tls(probe: Probe) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=probe.authority)
    context.load_cert_chain(probe.certificate, probe.key)
    return context
