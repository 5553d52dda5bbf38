"""Puts the stand-in programs into a folder for PATH."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

from tallship.lab.programs import client

NAMES = ("kind", "clusterctl", "helm", "docker")


REPLACEABLE = ("clusterctl", "helm")
"""Programs whose real ones do in the lab what they do elsewhere, once its API servers are real."""


def install(folder: Path, host: str, port: int, secret: str, real: Path | None) -> None:
    """Write the programs into a folder, knowing where the lab's control API is and the secret that it asks for.

    What `real`, a folder, holds of those that can be replaced is used itself.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    control = folder / ".control.json"
    control.touch(mode=0o600)
    control.write_text(json.dumps({"host": host, "port": port, "secret": secret}))
    for name in NAMES:
        # Through sh, since a line of #! may be neither long nor hold spaces. -I -S -E: Python starts in half the time.
        words = [sys.executable, "-I", "-S", "-E", str(Path(client.__file__)), str(control), name]
        program = folder / name
        if real is not None and name in REPLACEABLE and (real / name).is_file():
            words = [str(real / name)]
        program.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
        program.chmod(0o700)
