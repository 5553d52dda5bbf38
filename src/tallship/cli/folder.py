"""Where the state of one cluster file lies: credentials, logs, and the lab of that file."""

from __future__ import annotations

import hashlib
from pathlib import Path

from tallship.cli.options import Options
from tallship.ops.files import make_private_folder
from tallship.spec import Spec


def state_folder(options: Options, spec: Spec) -> Path:
    """Return the private folder of this cluster file, never the same for the lab and the real thing."""
    import platformdirs

    return make_private_folder(platformdirs.user_state_path("tallship") / folder_name(options, spec))


def folder_name(options: Options, spec: Spec) -> str:
    """Return what that folder is called."""
    digest = hashlib.sha256(str(options.file.resolve()).encode()).hexdigest()[:8]
    return f"{spec.name}-{digest}{'-lab' if options.lab else ''}"
