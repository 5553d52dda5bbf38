"""A YAML file as plain data that remembers on which line each value stands."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from tallship import bounded
from tallship.bounded import Unreadable

__all__ = ["Document", "Flaw", "Path", "Unreadable", "read"]

Path = tuple[str | int, ...]

MOST_FLAWS = 100
"""More are not told: whoever has so many has another kind of file."""


@dataclass(frozen=True)
class Flaw:
    """Something that is wrong with the YAML itself, although it can be read."""

    line: int
    path: Path
    message: str
    hint: str


@dataclass
class Document:
    """The data of a YAML text, and where it stands."""

    data: Any = None
    nodes: dict[Path, yaml.Node] = field(default_factory=dict)
    keys: dict[Path, yaml.Node] = field(default_factory=dict)
    flaws: list[Flaw] = field(default_factory=list)

    def line(self, path: Path) -> int:
        """Return the line of a value's key, or of the nearest thing around it that the text has."""
        for length in range(len(path), 0, -1):
            node = self.keys.get(path[:length]) or self.nodes.get(path[:length])
            if node is not None:
                return int(node.start_mark.line) + 1
        return 1


class _Loader(bounded.Loader):
    """Reads scalars as YAML 1.2 does: `no` and `on` are text, and so is `12:30`."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 as in the parent


for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?(0|[1-9][0-9]*)|0o?[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", list("-+.0123456789")),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), _first)


def read(text: str) -> Document:
    """Return the document in a text; an empty text is an empty mapping.

    Raises Unreadable for what is no YAML, is more than one document, or is beyond our bounds.
    """
    try:
        root = _compose(text)
    except yaml.YAMLError as error:
        raise bounded.unreadable(error) from None
    document = Document()
    if root is None:
        document.data = {}
        return document
    document.data = _Walk(document).value(root, ())
    return document


def _compose(text: str) -> yaml.Node | None:
    loader = _Loader(text)
    try:
        return loader.get_single_node()
    finally:
        loader.dispose()


class _Walk:
    """Turns nodes into data, noting positions and flaws."""

    def __init__(self, document: Document) -> None:
        self._document = document

    def value(self, node: yaml.Node, path: Path) -> Any:
        self._document.nodes[path] = node
        if isinstance(node, yaml.MappingNode):
            return dict(self._items(node, path))
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]
        return self._scalar(node, path)

    def _items(self, node: yaml.MappingNode, path: Path) -> Iterator[tuple[str, Any]]:
        first: dict[str, int] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            key = _key(key_node)
            if key is None or key == "<<":
                self._flaw(line, path, "this key is not read", "write each key as plain text")
            elif key in first:
                self._flaw(line, (*path, key), f"`{key}` is given twice", f"the first is on line {first[key]}")
            else:
                first[key] = line
                self._document.keys[(*path, key)] = key_node
                yield key, self.value(value_node, (*path, key))

    def _scalar(self, node: yaml.Node, path: Path) -> Any:
        tag = node.tag.removeprefix("tag:yaml.org,2002:")
        if tag not in _READERS:
            self._flaw(node.start_mark.line + 1, path, f"the tag `{node.tag[:80]}` is not read", "leave it out")
            return node.value
        try:
            return _READERS[tag](node.value)
        except (ValueError, OverflowError):
            hint = "half of a character" if tag == "str" else "write it in quotes if it is text"
            self._flaw(node.start_mark.line + 1, path, "this value is not read", hint)
            return ""

    def _flaw(self, line: int, path: Path, message: str, hint: str) -> None:
        if len(self._document.flaws) < MOST_FLAWS:
            self._document.flaws.append(Flaw(line, path, message, hint))


def _key(node: yaml.Node) -> str | None:
    try:
        return _text(node.value) if isinstance(node, yaml.ScalarNode) else None
    except ValueError:
        return None


def _text(text: str) -> str:
    # JSON writes a rare character as two escapes, which PyYAML reads one by one.
    return text.encode("utf-16", "surrogatepass").decode("utf-16")


def _integer(text: str) -> int:
    if len(text) > bounded.LONGEST_NUMBER:
        raise ValueError(text)
    if text.startswith(("0x", "0o")):
        return int(text, 0)
    return int(text, 8) if re.fullmatch(r"0[0-7]+", text) else int(text)


def _real(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


_READERS: dict[str, Callable[[str], Any]] = {
    "null": lambda _: None,
    "bool": lambda text: text.lower() == "true",
    "int": _integer,
    "float": _real,
    "str": _text,
}
