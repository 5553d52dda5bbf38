"""The files of a plane: where each is, and how they are written."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from filelock import FileLock

from tallship import atomic


@dataclass(frozen=True)
class Layout:
    """Where everything of one plane is."""

    folder: Path

    @property
    def kept(self) -> Path:
        """What outlives a restart: settings and ports."""
        return self.folder / "plane.json"

    @property
    def running(self) -> Path:
        """What the supervisor says of itself and of its programs."""
        return self.folder / "running.json"

    @property
    def kubeconfig(self) -> Path:
        """The kubeconfig of a cluster administrator."""
        return self.folder / "kubeconfig"

    @property
    def programs(self) -> Path:
        """The descriptions of the programs that the supervisor keeps running."""
        return self.folder / "programs"

    @property
    def certificates(self) -> Path:
        """Authorities, certificates and keys."""
        return self.folder / "certificates"

    @property
    def encryption(self) -> Path:
        """How stored objects are encrypted, where they are."""
        return self.folder / "certificates" / "encryption.yaml"

    @property
    def data(self) -> Path:
        """etcd's data."""
        return self.folder / "etcd"

    @property
    def logs(self) -> Path:
        """A log for each program, and the supervisor's."""
        return self.folder / "logs"

    @property
    def home(self) -> Path:
        """HOME and working folder of the programs."""
        return self.folder / "home"

    def log(self, name: str) -> Path:
        """Return a program's log."""
        return self.logs / f"{name}.log"

    def open_log(self, name: str) -> BinaryIO:
        """Return a program's log, open to be appended to, readable by this user only."""
        return os.fdopen(os.open(self.log(name), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "ab")

    def lock(self, name: str, seconds: float) -> FileLock:
        """Return one of the plane's locks, which waits so long."""
        return FileLock(self.folder / f"{name}.lock", timeout=seconds, mode=0o600)

    def make(self) -> None:
        """Make the folders, closed to everybody else. Raises OSError."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.folder.chmod(0o700)
        for each in (self.programs, self.certificates, self.data, self.logs, self.home):
            each.mkdir(exist_ok=True, mode=0o700)


def read_json(file: Path) -> dict[str, Any]:
    """Return what a file holds; empty when it is not there or is not whole."""
    try:
        found = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


LINE_BYTES = 2048
"""How long a line of a log is at most, by reckoning: the end of a log is read without its beginning."""


def last_lines(file: Path, count: int = 8) -> str:
    """Return the end of a log; empty when there is none."""
    try:
        with file.open("rb") as log:
            log.seek(max(0, file.stat().st_size - count * LINE_BYTES))
            return "\n".join(log.read().decode(errors="replace").splitlines()[-count:])
    except OSError:
        return ""


def write_private(file: Path, text: str) -> None:
    """Replace a file in one go; it is readable by this user only from its first moment on."""
    atomic.write(file, text.encode(), 0o600)
