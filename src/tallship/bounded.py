"""YAML that somebody else wrote, as plain data: however it is made, reading it ends soon and takes little memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml

MAX_BYTES = 1024 * 1024
"""Cluster files and kubeconfigs are some kilobytes; reading a megabyte of YAML takes seconds."""

LONGEST_NUMBER = 64
"""Characters. YAML 1.1 has numbers of many parts, and reading one takes the square of its length."""
LONGEST_WORDS = 200
"""Characters of a parser's own words: they may repeat what the text holds."""


@dataclass(frozen=True)
class Limits:
    """How much one document may hold."""

    values: int
    """Those that its aliases stand for among them: nine lines of aliases can stand for billions."""
    depth: int


FILE = Limits(20_000, 40)
"""Of a file that people write."""
MANIFESTS = Limits(500_000, 100)
"""Of what programs write, such as definitions of kinds."""


class Unreadable(yaml.YAMLError):
    """The text is no YAML that is read here; `line` begins at 1. No word of the text's values is in it."""

    def __init__(self, line: int, message: str, hint: str = "") -> None:
        super().__init__(f"line {line}: {message}")
        self.line = line
        self.message = message
        self.hint = hint


def read_text(path: Path) -> str:
    """Return the text of a file as it stands, line endings included. Raises OSError, and Unreadable for what is none.

    Of a file that is too large no more is read than tells so.
    """
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise Unreadable(1, "the file is larger than 1 MiB")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise Unreadable(line, "this is not UTF-8 text", "save it as UTF-8") from error


def load(text: str, limits: Limits = FILE) -> Any:
    """Return the one document of a text; None for an empty one. Raises Unreadable."""
    found = load_all(text, limits)
    if len(found) > 1:
        raise Unreadable(1, "there is more than one document")
    return found[0] if found else None


def load_all(text: str, limits: Limits = FILE) -> list[Any]:
    """Return the documents of a text. Raises Unreadable."""
    try:
        return list(yaml.load_all(text, partial(Loader, limits=limits)))  # type: ignore[arg-type]
    except yaml.YAMLError as error:
        raise unreadable(error) from None  # the parser's error shows the line, and a secret may stand in it
    except (ValueError, ArithmeticError, TypeError):  # its words may repeat the value
        raise Unreadable(1, "it holds a date, a number or a key that is none") from None


def unreadable(error: yaml.YAMLError) -> Unreadable:
    """Return what a parser's error says, and on which line, without the line itself."""
    if isinstance(error, Unreadable):
        return error
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        problem = " ".join(filter(None, (error.context, error.problem)))[:LONGEST_WORDS]
        return Unreadable(mark.line + 1 if mark else 1, f"this is not YAML: {problem}")
    if isinstance(error, yaml.reader.ReaderError):
        return Unreadable(1, f"character {error.position + 1} is not allowed: {error.reason}")
    return Unreadable(1, f"this is not YAML: {error}"[:LONGEST_WORDS])


class Loader(yaml.SafeLoader):
    """Counts what it composes, before anything is made of it, and stops where it is too much."""

    def __init__(self, text: str, limits: Limits = FILE) -> None:
        super().__init__(text)
        self._limits = limits
        self._depth = self._composed = 0
        self._extents: dict[int, tuple[int, int]] = {}
        """How many values a node stands for, and how deep it is, by its identity."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Return the next node. Raises Unreadable."""
        line = self.peek_event().start_mark.line + 1  # type: ignore[no-untyped-call]
        if self._depth == 0:
            self._composed, self._extents = 0, {}
        self._composed += 1
        self._depth += 1
        if self._depth > self._limits.depth:
            raise Unreadable(line, "this is nested too deeply")
        if self._composed > self._limits.values:
            raise Unreadable(line, "the file is too long")
        is_alias = self.check_event(yaml.AliasEvent)
        node = super().compose_node(parent, index)
        self._depth -= 1
        if node is not None and not is_alias:
            self._extents[id(node)] = self._extent(node, line)
        return node

    def _extent(self, node: yaml.Node, line: int) -> tuple[int, int]:
        size = height = 1
        for child in _children(node):
            inner = self._extents.get(id(child))  # none of an alias inside of what it stands for
            size, height = (size + inner[0], max(height, inner[1] + 1)) if inner else (self._limits.values + 1, 1)
            if size > self._limits.values or self._depth + height > self._limits.depth:
                raise Unreadable(line, "its aliases stand for more than is read", "write the values out")
        return size, height


def _children(node: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        for pair in node.value:
            yield from pair
    elif isinstance(node, yaml.SequenceNode):
        yield from node.value


def _number(loader: Loader, node: yaml.ScalarNode) -> Any:
    if len(node.value) > LONGEST_NUMBER:
        raise Unreadable(node.start_mark.line + 1, "a number is too long")
    kind = node.tag.rpartition(":")[2]
    return loader.construct_yaml_int(node) if kind == "int" else loader.construct_yaml_float(node)


Loader.add_constructor("tag:yaml.org,2002:int", _number)
Loader.add_constructor("tag:yaml.org,2002:float", _number)
