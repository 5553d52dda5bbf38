"""A plane that begins with what another etcd held: a snapshot becomes its data before it starts."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tallship.errors import ProgramError, SetupError
from tallship.localplane.files import Layout

ETCDUTL = "etcdutl"
SECONDS = 600.0
"""How long a restore may take: the whole database is written once more."""


def restore(folder: Path, programs: Path, snapshot: Path) -> None:
    """Make the snapshot the data of the plane in that folder, which has none yet; its hash is verified by etcdutl.

    Raises SetupError where the programs have no etcdutl or the plane has data, and ProgramError with its last words.
    """
    program, data = programs / ETCDUTL, Layout(folder).data
    if not program.is_file():
        hint = f"it comes with etcd: put `{ETCDUTL}` beside the other programs"
        raise SetupError(f"`{programs}` holds no program `{ETCDUTL}`", hint=hint)
    if data.exists():
        raise SetupError(f"the plane in `{folder}` has data already", hint="choose an empty folder")
    command = [str(program), "snapshot", "restore", str(snapshot), "--data-dir", str(data)]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS, env={}, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ProgramError(f"`{ETCDUTL}` cannot restore the snapshot", detail=str(error)) from error
    if done.returncode:
        told = "\n".join((done.stdout + done.stderr).splitlines()[-5:])
        raise ProgramError(f"`{ETCDUTL}` refuses the snapshot", detail=told, hint="another backup may be whole")
