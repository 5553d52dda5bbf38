"""Files that are whole and on the disk, or as they were: written beside their place, synced, renamed."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

TRIES = 5
"""How often a file is read that others write too."""


def write(path: Path, content: bytes, mode: int) -> None:
    """Replace the file with the content; nobody sees half of it, also after a power failure. Raises OSError."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")  # mode 0600
    fresh = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        fresh.replace(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
    sync(path.parent)


def change(read: Callable[[], str], changed: Callable[[str], str], put: Callable[[str], None]) -> bool:
    """Put what `changed` makes of what is read; what others wrote meanwhile is read again.

    False when it has become another one each time.
    """
    for _ in range(TRIES):
        have = read()
        text = changed(have)
        if read() == have:
            put(text)
            return True
    return False


def sync(path: Path) -> None:
    """Return when a file, or the names in a folder, are on the disk. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def usual_mode() -> int:
    """Return the mode of a new file that holds no secret, as this process' umask has it."""
    umask = os.umask(0)
    os.umask(umask)
    return 0o666 & ~umask
