"""Reads a cluster file, and finds every mistake in it at once."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from tallship import bounded
from tallship.errors import SpecError
from tallship.spec import checks, document, messages
from tallship.spec.models import Spec

DEFAULT_FILE = "tallship.yaml"
MOST_MISTAKES = 100
"""More are counted and not told."""
LONGEST_TOLD = 400
"""Characters of what is told of one place: a file can hold a name of a megabyte."""


@dataclass(frozen=True)
class Mistake:
    """One thing that is wrong, and where."""

    file: str
    line: int
    path: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        where = f"{self.path}: " if self.path else ""
        hint = f" (hint: {self.hint})" if self.hint else ""
        text = f"{self.file}:{self.line}: {where}{self.message}{hint}"
        # What a file holds is repeated here: it must not break the line, nor speak to the terminal.
        return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


@dataclass(frozen=True)
class Reading:
    """What a cluster file says; `spec` is None when there are mistakes."""

    spec: Spec | None
    mistakes: tuple[Mistake, ...] = ()
    warnings: tuple[Mistake, ...] = ()


def load_spec(path: Path) -> Spec:
    """Return what a cluster file says.

    Raises SpecError with every mistake, one a line, or when the file cannot be read.
    """
    reading = read_spec(path)
    if reading.spec is None:
        raise SpecError("\n".join(map(str, reading.mistakes)), hint="`tallship init` shows every key that there is")
    return reading.spec


def load_spec_with(path: Path, changes: Mapping[str, str]) -> Spec:
    """Return what a cluster file would say with some values set, by their dotted paths; the file stays as it is.

    Raises SpecError as `load_spec` does.
    """
    from tallship.spec.edit import edited

    text = read_text(path)
    for key, value in changes.items():
        keys = tuple(int(part) if part.isdigit() else part for part in key.split("."))
        text = edited(text, keys, int(value) if value.isdigit() else value)
    reading = parse_spec(text, str(path))
    if reading.spec is None:
        raise SpecError("\n".join(map(str, reading.mistakes)), hint="with what `--set` says")
    return reading.spec


def read_spec(path: Path) -> Reading:
    """Return what a cluster file says, with its mistakes and warnings.

    Raises SpecError when the file cannot be read at all.
    """
    return parse_spec(read_text(path), str(path))


def read_text(path: Path) -> str:
    """Return the text of a cluster file as it stands, line endings included; raises SpecError."""
    try:
        return bounded.read_text(path)
    except FileNotFoundError as error:
        raise SpecError(f"there is no file `{path}`", hint="`tallship init` writes one") from error
    except OSError as error:
        raise SpecError(f"`{path}` cannot be read: {error.strerror}") from error
    except bounded.Unreadable as error:
        hint = error.hint or "a cluster file is a few kilobytes: is it the right one?"
        raise SpecError(f"{path}:{error.line}: {error.message}", hint=hint) from error


def parse_spec(text: str, file: str = DEFAULT_FILE) -> Reading:
    """Return what the text of a cluster file says, with its mistakes and warnings."""
    try:
        read = document.read(text)
    except document.Unreadable as error:
        return Reading(None, (Mistake(file, error.line, "", error.message, error.hint),))
    if not isinstance(read.data, dict):
        hint = "write keys and values, at least `name: NAME`"
        return Reading(None, (Mistake(file, 1, "", "this is not a cluster file", hint),))
    found = _Findings(file, read)
    spec = found.validate()
    ordered = sorted(found.mistakes, key=lambda mistake: mistake.line)
    if found.untold:
        ordered.append(Mistake(file, ordered[-1].line, "", f"and {found.untold} mistakes more"))
    return Reading(None if ordered else spec, tuple(ordered), tuple(found.warnings))


class _Findings:
    """Collects what is wrong with one document."""

    def __init__(self, file: str, read: document.Document) -> None:
        self._file = file
        self._read = read
        self.mistakes: list[Mistake] = []
        self.warnings: list[Mistake] = []
        self.untold = 0
        """How many mistakes are left out."""
        for flaw in read.flaws:
            self.mistakes.append(_told(file, flaw.line, flaw.path, flaw.message, flaw.hint))

    def validate(self) -> Spec | None:
        """Return the spec, with wrong values replaced by defaults so that what depends on them is checked too."""
        wrong: set[document.Path] = set()
        data = self._read.data
        # Taking a wrong value out can leave its section without a required key; then the section goes too.
        for _ in range(4):
            try:
                spec = Spec.model_validate(data)
            except ValidationError as error:
                details = error.errors(include_url=False)
                new = [detail for detail in details if not _touches(detail["loc"], wrong)]
                told = new[: max(MOST_MISTAKES - len(self.mistakes), 0)]
                self.untold += len(new) - len(told)
                self.mistakes += [self._at(detail["loc"], *messages.tell(detail)) for detail in told]
                wrong |= {_to_remove(detail) for detail in details}
                data = {"name": "unnamed"} | _without(self._read.data, wrong)
            else:
                self._check(spec, wrong)
                return spec
        return None

    def _check(self, spec: Spec, wrong: set[document.Path]) -> None:
        for problem in checks.check(spec):
            if _touches(problem.path, wrong):
                continue
            told = self.mistakes if problem.fatal else self.warnings
            if len(told) < MOST_MISTAKES:
                told.append(self._at(problem.path, problem.message, problem.hint))
            else:
                self.untold += problem.fatal

    def _at(self, path: document.Path, message: str, hint: str) -> Mistake:
        return _told(self._file, self._read.line(path), path, message, hint)


def _told(file: str, line: int, path: document.Path, message: str, hint: str) -> Mistake:
    words = (each if len(each) <= LONGEST_TOLD else f"{each[:LONGEST_TOLD]}…" for each in (dotted(path), message, hint))
    return Mistake(file, line, *words)


def dotted(path: Sequence[str | int]) -> str:
    """Return `talos.patches[0]` for a path."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _to_remove(detail: ErrorDetails) -> document.Path:
    """Return what to take out so that the rest can be checked: a whole list, or the section that lacks a key."""
    path = detail["loc"][:-1] if detail["type"] == "missing" else detail["loc"]
    return tuple(itertools.takewhile(lambda part: isinstance(part, str), path))


def _without(data: Any, paths: set[document.Path]) -> Any:
    """Return a copy of mappings in mappings that lacks some paths."""
    if not isinstance(data, dict):
        return data
    inside: dict[str | int, set[document.Path]] = defaultdict(set)
    for first, *rest in filter(None, paths):
        inside[first].add(tuple(rest))
    return {key: _without(value, inside[key]) for key, value in data.items() if () not in inside[key]}


def _touches(path: document.Path, others: set[document.Path]) -> bool:
    """True when one of the others is the path, above it or below it."""
    if not others:
        return False
    above = any(path[:length] in others for length in range(1, len(path) + 1))
    return above or any(other[: len(path)] == path for other in others if other)
