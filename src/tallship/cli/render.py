"""`tallship render`."""

from __future__ import annotations

from pathlib import Path

from tallship import atomic
from tallship.cli.options import DEFAULT, Options
from tallship.errors import SetupError
from tallship.manifests import render as rendering
from tallship.report.answer import current
from tallship.spec import load_spec


def render(folder: Path, *, options: Options = DEFAULT) -> None:
    """Write the guide's own file tree (manifests/, packer/, bootstrap/, Makefile), usable without this tool.

    Parameters
    ----------
    folder
        where to write it
    """
    spec = load_spec(options.file)
    files = rendering.files(spec)
    try:
        for name, text in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            atomic.write(path, text.encode(), atomic.usual_mode())
    except OSError as error:
        raise SetupError(f"{folder} cannot be written: {error.strerror}", hint="choose another folder") from error
    answer = current()
    answer.data["files"] = sorted(str(folder / name) for name in files)
    answer.say("\n".join(sorted(str(folder / name) for name in files)))
    answer.next_commands = [f"make -C {folder} help"]
