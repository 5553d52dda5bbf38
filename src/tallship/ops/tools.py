"""The programs that tallship calls: found, version, how to get them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tallship import versions


@dataclass(frozen=True)
class Tool:
    """One program on this machine."""

    name: str
    path: str
    version: str
    problem: str
    how_to_get: str

    @property
    def is_good(self) -> bool:
        """True when it is there and new enough."""
        return not self.problem

    def as_data(self) -> dict[str, Any]:
        """Return it as the JSON envelope shows it."""
        return asdict(self)


def list_tools(path: str) -> list[Tool]:
    """Return every program that a real run calls, looked for in `path` (as in PATH)."""
    from tallship.adapters.programs import Programs

    with TemporaryDirectory(prefix="tallship-") as home:
        programs = Programs(path, Path(home))
        found = []
        for name, wanted in versions.PROGRAMS.items():
            program = programs.search(name)
            if program is None:
                found.append(Tool(name, "", "", "not installed", wanted.how_to_get))
            else:
                problem = wanted.problem(program.version)
                found.append(Tool(name, str(program.path), program.version, problem, wanted.how_to_get))
        return found
