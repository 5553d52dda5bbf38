"""`tallship kubeconfig` and `tallship talosconfig`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from tallship.cli.options import DEFAULT, Options
from tallship.errors import SetupError
from tallship.report.answer import current

REPAIR = "repair it, or move it away and merge again"
Flag = Annotated[bool, Parameter(negative="")]


def kubeconfig(*, path: Flag = False, merge: Flag = False, options: Options = DEFAULT) -> None:
    """Print the cluster's kubeconfig.

    Parameters
    ----------
    path
        print where the file is, not what is in it
    merge
        put it into the usual file (KUBECONFIG, else ~/.kube/config) under the cluster's name
    """
    _show("kubeconfig", path, merge, options)


def talosconfig(*, path: Flag = False, merge: Flag = False, options: Options = DEFAULT) -> None:
    """Print the cluster's talosconfig.

    Parameters
    ----------
    path
        print where the file is, not what is in it
    merge
        put it into the usual file (TALOSCONFIG, else ~/.talos/config) under the cluster's name
    """
    _show("talosconfig", path, merge, options)


def _show(noun: str, path: bool, merge: bool, options: Options) -> None:
    from tallship.cli.folder import state_folder
    from tallship.manifests import access
    from tallship.ops import shared_file
    from tallship.spec import load_spec

    spec = load_spec(options.file)
    file = state_folder(options, spec) / noun
    if not file.exists():
        raise SetupError(f"there is no {noun} of `{spec.name}` yet", hint=f"`tallship up{options.suffix()}` makes it")
    answer = current()
    answer.data["path"] = str(file)
    text = _text(file, f"`tallship up --only {noun}{options.suffix()}` writes it again")
    if not merge:
        answer.say(str(file) if path else text.rstrip("\n"))
        return
    name = f"{spec.name}-lab" if options.lab else spec.name
    usual = _usual(noun)
    merger = access.merged if noun == "kubeconfig" else access.merged_talosconfig

    def merged(have: str) -> str:
        for place, given in ((file, ""), (usual, have)):
            try:
                whole = merger(given, text, name)
            except ValueError as error:
                raise SetupError(f"{place} is {error}", hint=REPAIR) from error
        return whole

    shared_file.change(usual, lambda: _text(usual, REPAIR) if usual.exists() else "", merged)
    answer.data["merged_into"] = str(usual)
    answer.say(f"context `{name}` is in {usual}")


def _text(path: Path, hint: str) -> str:
    """Return the text of a file. Raises SetupError."""
    from tallship import bounded

    try:
        return bounded.read_text(path)
    except OSError as error:
        raise SetupError(f"{path} cannot be read: {error.strerror}", hint=hint) from error
    except bounded.Unreadable as error:
        raise SetupError(f"{path}: {error.message}", hint=hint) from error


def _usual(noun: str) -> Path:
    if noun == "kubeconfig":
        named = os.environ.get("KUBECONFIG", "").split(os.pathsep)[0]
        return Path(named).expanduser() if named else Path.home() / ".kube" / "config"
    named = os.environ.get("TALOSCONFIG", "")
    return Path(named).expanduser() if named else Path.home() / ".talos" / "config"
