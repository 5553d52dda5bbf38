"""Asks a person before what cannot be taken back."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from tallship.cli.options import Options
from tallship.errors import SetupError
from tallship.report.visible import visible_line


def ask(what: str, lines: Sequence[str], options: Options, *, word: str = "y") -> None:
    """Return when the person agrees: with `--yes`, or by typing the word.

    Raises SetupError when they do not, or when nobody can be asked.
    """
    if options.yes:
        return
    if not (sys.stdin.isatty() and options.text):
        hint = "`--yes` agrees where nobody can be asked"
        raise SetupError(f"{what}: nobody has agreed", detail="\n".join(lines), hint=hint)
    sys.stderr.write(f"{visible_line(what)}:\n" + "".join(f"  {visible_line(each)}\n" for each in lines))
    sys.stderr.write("go on? [y/N] " if word == "y" else f"type `{word}` to agree: ")
    sys.stderr.flush()
    answer = sys.stdin.readline().strip()
    if answer != word and not (word == "y" and answer.lower() in ("y", "yes")):
        raise SetupError("nothing was changed", hint=f"type `{word}` to agree, or give `--yes`")
