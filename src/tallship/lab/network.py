"""Which lab of this machine has which 127.A.B.0/24: taken under a lock, free again when its lab is gone."""

from __future__ import annotations

import errno
import json
import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from tallship.errors import SetupError
from tallship.localplane.processes import is_running, started_at

CONTROL_PORT = 8445
_FIRST, _LAST = 64, 127  # 127.0-63 is left to others: 127.0.0.1, and resolvers that listen on 127.0.0.53
_LOCK_SECONDS = 10.0


def registry() -> Path:
    """Return the folder that all labs of this user share; the same for every HOME."""
    return Path(tempfile.gettempdir()) / f"tallship-{os.getuid()}"


def take(folder: Path | None, wanted: str = "") -> str:
    """Return a network `127.A.B` that belongs to this process from now on.

    With `wanted` it is that one or nothing: a lab's addresses are in kubeconfigs, so it must come back where it was.
    Raises SetupError when that one is held by another lab, or none is free.
    """
    shared = registry()
    try:
        shared.mkdir(exist_ok=True, mode=0o700)
        if shared.stat().st_uid != os.getuid():
            raise SetupError(f"`{shared}` belongs to somebody else", hint="set TMPDIR to a folder of your own")
        with FileLock(shared / "lock", timeout=_LOCK_SECONDS):
            return _take(shared, str(folder or ""), wanted)
    except Timeout as timeout:
        raise SetupError(f"`{shared}` stays locked", hint="see which process holds its file `lock`") from timeout
    except OSError as error:
        raise SetupError(f"cannot write `{shared}`", detail=str(error), hint="make that folder yours") from error


def give_back(network: str) -> None:
    """Free the network of this process."""
    record = registry() / f"{network}.json"
    if _holder(record).get("pid") == os.getpid():
        record.unlink(missing_ok=True)


def in_use(address: str, port: int) -> bool:
    """True when somebody listens there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            return error.errno == errno.EADDRINUSE
    return False


def _take(shared: Path, folder: str, wanted: str) -> str:
    for network in [wanted] if wanted else _candidates():
        record = shared / f"{network}.json"
        taken = _taken(_holder(record), folder) or in_use(f"{network}.1", CONTROL_PORT)
        if not taken:
            holder = {"pid": os.getpid(), "started": started_at(os.getpid()), "folder": folder}
            record.write_text(json.dumps(holder))
            return network
        if wanted:
            raise SetupError(
                f"the lab's network {network}.0/24 is in use",
                detail=f"held by {_holder(record) or f'whoever listens on {network}.1:{CONTROL_PORT}'}",
                hint="stop that process, or make a fresh lab with `tallship lab down` and `tallship lab up`",
            )
    raise SetupError("every 127.A.B.0/24 for labs is in use", hint=f"remove labs you no longer need from `{shared}`")


def _taken(holder: dict[str, Any], folder: str) -> bool:
    if not holder:
        return False
    if is_running(int(holder["pid"]), str(holder["started"])):
        return True
    sleeping = bool(holder["folder"]) and (Path(holder["folder"]) / "lab.json").exists()
    return sleeping and holder["folder"] != folder


def _holder(record: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(record.read_text())
    except (OSError, ValueError):
        return {}
    return found


def _candidates() -> Iterator[str]:
    return (f"127.{first}.{second}" for first in range(_FIRST, _LAST + 1) for second in range(256))
