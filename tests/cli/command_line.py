"""One command line in this process, with a home of its own: its exit code, stdout and stderr."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tallship.cli.main import COMMANDS, GROUPS, main

WORDS = [[name] for name in COMMANDS] + [[group, name] for group, (_, names) in GROUPS.items() for name in names]
"""The words of every command."""
ENVELOPE = {"tallship", "command", "exit_code", "data", "errors"}
ERROR = {"kind", "message", "detail", "hint"}


@dataclass(frozen=True)
class Said:
    """What a command said, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> dict[str, Any]:
        """The `data` of the envelope."""
        found: dict[str, Any] = self.envelope["data"]
        return found

    @property
    def envelope(self) -> dict[str, Any]:
        """The one JSON document of stdout, after a look at its form."""
        assert self.out.count("\n") == 1, self.out
        found: dict[str, Any] = json.loads(self.out)
        assert set(found) == ENVELOPE
        assert found["tallship"] == 1
        assert found["exit_code"] == self.code
        assert all(set(error) == ERROR for error in found["errors"])
        return found


class CommandLine:
    """Runs `tallship` in this process, in a folder and a home of the test."""

    def __init__(self, capsys: pytest.CaptureFixture[str], folder: Path) -> None:
        self.folder = folder
        self._capsys = capsys

    def __call__(self, *words: str) -> Said:
        self._capsys.readouterr()
        code = main(words)
        out, err = self._capsys.readouterr()
        return Said(code, out, err)

    def write(self, text: str) -> Path:
        """Write the cluster file."""
        path = self.folder / "tallship.yaml"
        path.write_text(text)
        return path
