"""What holds for every test: none speaks to anybody but this machine."""

from __future__ import annotations

import errno
import os
import sys
from typing import Any


def _stay_here(event: str, arguments: tuple[Any, ...]) -> None:
    """Let a connection out of this machine find no network, as on a machine that has none."""
    if event != "socket.connect" or not isinstance(arguments[1], tuple):
        return
    host = str(arguments[1][0])
    if not host.startswith("127.") and host not in ("::1", "localhost"):
        raise OSError(errno.ENETUNREACH, os.strerror(errno.ENETUNREACH))


sys.addaudithook(_stay_here)
