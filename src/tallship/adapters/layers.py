"""One regular file out of tar archives that lie on one another, as the layers of an image do; nothing else is unpacked.

OCI image specification, "Image Layer Filesystem Changeset": an upper layer hides files of those below with names that
begin with `.wh.`.
"""

from __future__ import annotations

import gzip
import tarfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from tallship.adapters.https import writing
from tallship.errors import ApiError

Layer = Callable[[], Path]
"""Returns a layer's archive, which is loaded when it is first asked for."""
Parts = tuple[str, ...]

FILE_LIMIT = 512 * 1024**2
"""Bytes that the wanted file may have."""
UNPACKED_LIMIT = 4 * 1024**3
"""Bytes that one layer may have when it is unpacked, so that a bomb ends."""
LINKS = 8
"""So many links are followed."""
GZIP, ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_WHITEOUT, _OPAQUE = ".wh.", ".wh..wh..opq"
_CHUNK = 256 * 1024
_HINT = "is it, or its mirror, what its publisher released?"


@dataclass
class _Sight:
    """What one layer says of the wanted path."""

    is_there: bool = False
    other: str = ""
    """What stands at the path that is neither a file nor a link."""
    link: Parts | None = None
    """Where the path, or a folder above it, leads to."""
    is_hard: bool = False
    """True when that is meant as of this layer and those below."""
    hides_lower: bool = False


def extract(path: str, layers: Sequence[Layer], to: Path, what: str) -> None:
    """Write the file at `path` to `to`; `layers` begin with the uppermost, `what` names the whole in errors.

    Links are followed inside the layers. Raises ApiError when there is no such file, when it is something else, too
    large, or in an archive that cannot be read; SetupError when `to` cannot be written.
    """
    wanted, links, number = _parts(path), 0, 0
    while number < len(layers):
        sight = _look(layers[number](), wanted, to, what)
        if sight.is_there:
            return
        if sight.other:
            raise ApiError(f"`{path}` in {what} is no regular file but {sight.other}", hint=_HINT)
        if sight.link is not None:
            links += 1
            if links > LINKS:
                raise ApiError(f"`{path}` in {what} is a link that leads to more than {LINKS} others", hint=_HINT)
            wanted, number = sight.link, number if sight.is_hard else 0
        elif sight.hides_lower:
            break
        else:
            number += 1
    raise ApiError(f"there is no `{path}` in {what}", code="absent", hint=_HINT)


def _look(archive: Path, wanted: Parts, to: Path, what: str) -> _Sight:
    sight = _Sight()
    with _reading(archive, what) as tar:
        while (member := tar.next()) is not None:
            cast(Any, tar).members.clear()  # else it keeps what it read of every file
            name = _parts(member.name)
            if name == wanted:
                sight = _at_path(tar, member, wanted, to, what)
            elif name and name == wanted[: len(name)]:
                _above(member, wanted, len(name), sight)
            elif _hides(name, wanted):
                sight.hides_lower = True
    return sight


def _at_path(tar: tarfile.TarFile, member: tarfile.TarInfo, wanted: Parts, to: Path, what: str) -> _Sight:
    """Return what stands at the path; a file is copied. A later member of the same name replaces an earlier one."""
    if member.isreg():
        _copy(tar, member, to, what)
        return _Sight(is_there=True)
    if member.issym():
        return _Sight(link=_joined(wanted[:-1], member.linkname))
    if member.islnk():
        return _Sight(link=_parts(member.linkname), is_hard=True)
    return _Sight(other="a folder" if member.isdir() else "a device or pipe")


def _above(member: tarfile.TarInfo, wanted: Parts, depth: int, sight: _Sight) -> None:
    """Note when a folder above the path is a link, or is no folder at all."""
    if member.issym():
        sight.link = _joined(wanted[: depth - 1], member.linkname) + wanted[depth:]
    elif not member.isdir():
        sight.hides_lower = True


def _hides(name: Parts, wanted: Parts) -> bool:
    """True for a mark that hides the path, or a folder above it, in the layers below."""
    if not name or not name[-1].startswith(_WHITEOUT):
        return False
    folder = name[:-1]
    if name[-1] == _OPAQUE:
        return len(folder) < len(wanted) and folder == wanted[: len(folder)]
    hidden = (*folder, name[-1].removeprefix(_WHITEOUT))
    return hidden == wanted[: len(hidden)]


def _copy(tar: tarfile.TarFile, member: tarfile.TarInfo, to: Path, what: str) -> None:
    if member.size > FILE_LIMIT:
        raise ApiError(f"`{member.name}` in {what} is larger than the {FILE_LIMIT} bytes that it may have", hint=_HINT)
    source = tar.extractfile(member)
    assert source is not None  # noqa: S101 - it is one for a regular file
    with writing(to):
        file = to.open("wb")
    with file:
        while chunk := source.read(_CHUNK):
            with writing(to):
                file.write(chunk)
        with writing(to):
            file.flush()


@contextmanager
def _reading(archive: Path, what: str) -> Iterator[tarfile.TarFile]:
    """Yield the archive, to be read once from its beginning. Raises ApiError for what is no tar, or not whole."""
    try:
        with archive.open("rb") as packed:
            magic = packed.read(4)
            packed.seek(0)
            if magic == ZSTD:
                raise ApiError(f"a layer of {what} is packed with zstd, which is not unpacked here", hint=_HINT)
            unpacked = gzip.GzipFile(fileobj=packed) if magic.startswith(GZIP) else packed
            with tarfile.open(fileobj=cast(BinaryIO, _Bounded(unpacked, what)), mode="r|") as tar:
                yield tar
    except (tarfile.TarError, zlib.error, EOFError, OSError, ValueError) as error:
        raise ApiError(f"a layer of {what} cannot be unpacked", detail=repr(error)[:200], hint=_HINT) from error


class _Bounded:
    """A file of which so much is read and no more."""

    def __init__(self, file: gzip.GzipFile | BinaryIO, what: str) -> None:
        self._file, self._what, self._left = file, what, UNPACKED_LIMIT

    def read(self, size: int) -> bytes:
        """Return at most `size` bytes. Raises ApiError when too many were read."""
        found = self._file.read(size)
        self._left -= len(found)
        if self._left < 0:
            raise ApiError(f"a layer of {self._what} has more than {UNPACKED_LIMIT} bytes", hint=_HINT)
        return found


def _parts(name: str) -> Parts:
    """Return the names of a path; `..` stays one, which no wanted path holds."""
    return tuple(part for part in name.split("/") if part not in ("", "."))


def _joined(folder: Parts, link: str) -> Parts:
    """Return where a symbolic link in a folder leads; it cannot leave the image."""
    found: list[str] = [] if link.startswith("/") else list(folder)
    for part in _parts(link):
        if part != "..":
            found.append(part)
        elif found:
            found.pop()
    return tuple(found)
