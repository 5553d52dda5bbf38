"""Private files that are whole or not there: written to a temporary name, synced, renamed."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

from tallship import atomic
from tallship.errors import SetupError

PRIVATE = 0o600
TIME = "%Y%m%dT%H%M%SZ"
"""In the names of what is kept by its time."""


def put_private(path: Path, text: str) -> None:
    """Replace the file with the text, mode 0600. Raises SetupError when the folder cannot be written."""
    put_private_bytes(path, text.encode())


def put_private_bytes(path: Path, content: bytes) -> None:
    """Replace the file with the content, mode 0600. Raises SetupError when the folder cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        atomic.write(path, content, PRIVATE)
    except OSError as error:
        raise unwritable(path, error) from error


def free_time(moment: datetime, is_taken: Callable[[str], bool]) -> str:
    """Return the name of a moment, or of the next free second after it, as when the clock went back."""
    while is_taken(name := moment.strftime(TIME)):
        moment += timedelta(seconds=1)
    return name


def is_private(path: Path) -> bool:
    """True when nobody but the owner may read or write the file."""
    return stat.S_IMODE(path.stat().st_mode) == PRIVATE


def make_private_folder(path: Path) -> Path:
    """Return the folder, made with mode 0700 where it was absent. Raises SetupError when that is not possible."""
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise unwritable(path, error) from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise SetupError(f"the folder {path} cannot be written", hint=f"`ls -ld {path}` shows who owns it")
    return path


def unwritable(path: Path, error: OSError) -> SetupError:
    """Return what to say of a place that cannot be written."""
    return SetupError(
        f"{path} cannot be written: {error.strerror or error}", hint="check who owns it, and the space left on the disk"
    )
