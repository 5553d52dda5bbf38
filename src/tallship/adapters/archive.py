"""A folder as a tar archive that is made while it is read: nothing of it stands in memory or on the disk."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

CHUNK = 1 << 20


class Packed(io.RawIOBase):
    """What `tar --create` would write of a folder, its files below `name`; made as it is read."""

    def __init__(self, folder: Path, name: str) -> None:
        self._chunks = _chunks(folder, name)
        self._left = memoryview(b"")

    def readable(self) -> bool:
        """True: it is there to be read."""
        return True

    def read(self, size: int | None = -1) -> bytes:
        """Return the next bytes, at most `size` of them; none at the end. Raises OSError."""
        if size is None or size < 0:
            return bytes(self._left) + b"".join(self._chunks)
        while not self._left:
            chunk = next(self._chunks, None)
            if chunk is None:
                return b""
            self._left = memoryview(chunk)
        found, self._left = bytes(self._left[:size]), self._left[size:]
        return found


def _chunks(folder: Path, name: str) -> Iterator[bytes]:
    for path in (folder, *sorted(folder.rglob("*"))):
        entry = tarfile.TarInfo(str(Path(name) / path.relative_to(folder)))
        facts = path.stat()
        entry.mtime, entry.mode = int(facts.st_mtime), facts.st_mode & 0o700
        if path.is_dir():
            entry.type = tarfile.DIRTYPE
            yield entry.tobuf()
            continue
        entry.size = facts.st_size
        yield entry.tobuf()
        yield from _content(path, entry.size)
        yield b"\0" * (-entry.size % tarfile.BLOCKSIZE)
    yield b"\0" * (2 * tarfile.BLOCKSIZE)


def _content(path: Path, size: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        while size:
            chunk = file.read(min(CHUNK, size))
            if not chunk:
                raise OSError(f"{path} became shorter while it was read")
            size -= len(chunk)
            yield chunk
