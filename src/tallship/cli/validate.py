"""`tallship validate`."""

from __future__ import annotations

from tallship.cli.options import DEFAULT, Options
from tallship.errors import SpecError
from tallship.report.answer import current
from tallship.spec import read_spec


def validate(*, options: Options = DEFAULT) -> None:
    """Show every mistake in the cluster file at once; needs no network."""
    reading = read_spec(options.file)
    answer = current()
    answer.data["file"] = str(options.file)
    for key, found in (("mistakes", reading.mistakes), ("warnings", reading.warnings)):
        answer.data[key] = [
            {"file": m.file, "line": m.line, "path": m.path, "message": m.message, "hint": m.hint} for m in found
        ]
    for warning in reading.warnings:
        answer.say(f"warning: {warning}")
    if reading.mistakes:
        raise SpecError("\n".join(str(each) for each in reading.mistakes))
    answer.say(f"{options.file} is good")
    answer.next_commands = [f"tallship plan{options.suffix()}"]
