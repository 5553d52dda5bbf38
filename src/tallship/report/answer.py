"""What one command says: data for programs, text for people, and the command to try next."""

from __future__ import annotations

import contextvars
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from tallship.errors import ManyErrors, TallshipError

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

ENVELOPE_VERSION = 1


@dataclass
class Answer:
    """Filled by a command while it runs, and shown also when it fails."""

    data: dict[str, Any] = field(default_factory=dict)
    """The `data` of the JSON envelope; never a secret."""
    text: list[RenderableType] = field(default_factory=list)
    """What goes to stdout in text mode."""
    next_commands: list[str] = field(default_factory=list)
    """What a person may want to type now; goes to stderr."""
    log: Path | None = None
    """The full log of the run, named after an error."""

    def say(self, part: RenderableType) -> None:
        """Add to what stdout shows."""
        self.text.append(part)


CURRENT: contextvars.ContextVar[Answer] = contextvars.ContextVar("answer")


def current() -> Answer:
    """Return the answer of the command that is running."""
    return CURRENT.get()


def each(error: TallshipError) -> list[TallshipError]:
    """Return the errors that an error stands for."""
    return error.errors if isinstance(error, ManyErrors) else [error]


def envelope(command: str, answer: Answer, exit_code: int, error: TallshipError | None) -> dict[str, Any]:
    """Return the JSON document that every command prints with `--output json`."""
    errors = [
        {"kind": one.kind, "message": one.message, "detail": one.detail, "hint": one.hint}
        for one in (each(error) if error else [])
    ]
    return {
        "tallship": ENVELOPE_VERSION,
        "command": command,
        "exit_code": exit_code,
        "data": answer.data,
        "errors": errors,
    }


def print_json(stream: TextIO, document: dict[str, Any]) -> None:
    """Write one JSON document on one line."""
    stream.write(json.dumps(document, default=str) + "\n")


def print_error(console: Console, error: TallshipError, log: Path | None) -> None:
    """Show what happened, the evidence, one hint, and where the log is."""
    from rich.text import Text

    for one in each(error):
        console.print(Text.assemble(("error: ", "bold red"), one.message), soft_wrap=True)
        for line in one.detail.splitlines():
            console.print(Text(f"  {line}", style="dim"), soft_wrap=True)
        if one.hint:
            console.print(Text.assemble(("hint: ", "bold cyan"), one.hint), soft_wrap=True)
    if log is not None:
        console.print(Text(f"log: {log}", style="dim"), soft_wrap=True)
