"""`tallship init`."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from tallship import atomic
from tallship.cli.options import DEFAULT, Options
from tallship.errors import SetupError, SpecError
from tallship.report.answer import current
from tallship.spec import init_text, parse_spec


def init(
    name: str = "k8s",
    *,
    force: Annotated[bool, Parameter(negative="")] = False,
    options: Options = DEFAULT,
) -> None:
    """Write tallship.yaml: the guide's cluster, commented.

    Parameters
    ----------
    name
        the cluster's name
    force
        replace a file that is there
    """
    path = options.file
    if path.exists() and not force:
        raise SetupError(f"{path} is there already", hint="`--force` replaces it")
    text = init_text(name)
    if mistakes := parse_spec(text).mistakes:
        raise SpecError("\n".join(each.message for each in mistakes), hint=mistakes[0].hint)
    try:
        atomic.write(path, text.encode(), atomic.usual_mode())
    except OSError as error:
        raise SetupError(
            f"{path} cannot be written: {error.strerror}", hint="choose another place with --file"
        ) from error
    answer = current()
    answer.data["file"] = str(path)
    answer.say(f"wrote {path}")
    answer.next_commands = [f"tallship validate{options.suffix()}", f"tallship up --lab{options.suffix()}"]
