"""Files that arrive: put together in a private folder beside their place, and named when they are whole."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tallship import atomic
from tallship.adapters.https import writing

PROGRAM, DOCUMENT = 0o755, 0o644


@contextmanager
def workroom(to: Path) -> Iterator[Path]:
    """Yield a private folder on the file system of `to`, gone afterwards; `sweep` knows one that a kill left.

    Raises SetupError when it cannot be made.
    """
    with writing(to):
        to.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        room = tempfile.TemporaryDirectory(dir=to.parent, prefix=_prefix(to), ignore_cleanup_errors=True)
    with room as folder:
        yield Path(folder)


def place(fresh: Path, to: Path, mode: int) -> None:
    """Give a whole file of the workroom its name and mode. Raises SetupError."""
    with writing(to):
        fresh.chmod(mode)
        atomic.sync(fresh)
        fresh.replace(to)
        atomic.sync(to.parent)


def sweep(to: Path) -> None:
    """Remove the workrooms of killed runs; only for who knows that nobody works on `to`."""
    for left in to.parent.glob(f"{_prefix(to)}*"):
        shutil.rmtree(left, ignore_errors=True)


def _prefix(to: Path) -> str:
    return f".{to.name}-"
