"""What a local plane is made of in the lab: the real programs, and the stand-ins of those that cannot be had."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path

from tallship.lab.daemon import LOCAL
from tallship.lab.programs.components import PROVIDERS
from tallship.localplane.kubernetes import NAMES
from tallship.localplane.restored import ETCDUTL

MANAGERS = {
    "cluster-api": "capi",
    "infrastructure-hetzner": "caph",
    "bootstrap-talos": "cabpt",
    "control-plane-talos": "cacppt",
}
"""The stand-in of each provider, by its name in clusterctl's inventory."""


def write(lab: Path, real: Path, components: Path) -> None:
    """Fill the lab's folder of local programs; a manager that `real` holds with its components is used itself."""
    folder = lab / LOCAL
    folder.mkdir(exist_ok=True, mode=0o700)
    for name in (*NAMES, *([ETCDUTL] if (real / ETCDUTL).is_file() else [])):
        _link(folder / name, real / name)
    for provider in PROVIDERS:
        short = MANAGERS[provider.inventory]
        name = "cluster-api" if short == "capi" else short
        file = provider.source.split()[1]
        if (real / name).is_file() and (real / file).is_file():
            _link(folder / name, real / name)
            _link(folder / file, real / file)
            continue
        words = [sys.executable, "-m", "tallship.lab.standin", short, "--lab", str(lab)]
        (folder / name).unlink(missing_ok=True)
        (folder / name).write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
        (folder / name).chmod(0o700)
        shutil.copy(components / provider.inventory / provider.version / file, folder / file)


def _link(link: Path, target: Path) -> None:
    link.unlink(missing_ok=True)
    link.symlink_to(target.absolute())
