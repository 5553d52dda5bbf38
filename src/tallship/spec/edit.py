"""Changes one value in a cluster file and leaves every other byte of it as it was."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from tallship import atomic
from tallship.errors import SpecError
from tallship.spec import document
from tallship.spec.load import dotted, parse_spec, read_text

Scalar = str | int | bool
Keys = tuple[str | int, ...]
"""Where a value stands in the file; a number is the place of an item that its list has."""
Changes = Mapping[Keys, Scalar]
"""New values by their keys in the file."""


def edit_spec(path: Path, changes: Changes) -> None:
    """Set values in a cluster file, all at once, adding keys that are absent.

    What somebody has written since it was read is read again. Raises SpecError, and leaves the file alone, when the
    file would then be wrong or say anything else differently.
    """
    path = path.resolve()

    def changed(text: str) -> str:
        for keys, value in changes.items():
            text = edited(text, keys, value)
        reading = parse_spec(text, str(path))
        if reading.spec is None:
            raise SpecError("\n".join(map(str, reading.mistakes)), hint="nothing was changed")
        return text

    if atomic.change(partial(read_text, path), changed, partial(_replace, path)):
        return
    raise SpecError(f"`{path}` has become another one each time that it was to be written", hint="run it again")


def edited(text: str, keys: Keys, value: Scalar) -> str:
    """Return the text with one value set; raises SpecError where that cannot be done without touching more."""
    try:
        read = document.read(text)
        _heed_items(read.data, keys)
        after = _edit(text, read, keys, value)
        again = document.read(after).data
    except document.Unreadable as error:
        raise SpecError(f"line {error.line}: {error.message}", hint=error.hint) from error
    if again != _with(read.data, keys, value):
        hint = f"set `{dotted(keys)}: {_scalar(value)}` by hand"
        raise SpecError(f"`{dotted(keys)}` cannot be changed without changing more", hint=hint)
    return after


def _heed_items(data: Any, keys: Keys) -> None:
    """Raise SpecError for an item that is not there: only keys are added."""
    for depth, key in enumerate(keys):
        if isinstance(key, int) and not (isinstance(data, list) and key < len(data)):
            raise SpecError(f"there is no `{dotted(keys[: depth + 1])}`", hint="add the item by hand")
        data = data[key] if isinstance(key, int) else data.get(key) if isinstance(data, dict) else None


def _edit(text: str, read: document.Document, keys: Keys, value: Scalar) -> str:
    known = _deepest(read, keys)
    node = read.nodes.get(keys[:known])
    if node is None:
        return _join(text, _block(keys, value, 0, _newline(text)), _newline(text))
    if known == len(keys) or _is_null(node):
        return _replace_node(text, node, keys[known:], value)
    if not isinstance(node, yaml.MappingNode):
        return text
    if node.flow_style or not node.value:
        return _insert_in_flow(text, node, keys[known:], value)
    return _insert_in_block(text, node, keys[known:], value)


def _deepest(read: document.Document, keys: Keys) -> int:
    return max(length for length in range(len(keys) + 1) if keys[:length] in read.nodes or length == 0)


def _is_null(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag.endswith(":null")


def _replace_node(text: str, node: yaml.Node, rest: Keys, value: Scalar) -> str:
    start, end = node.start_mark.index, node.end_mark.index
    new = _flow(rest, value)
    space = " " if start == end and text[start - 1 : start] != " " else ""
    return f"{text[:start]}{space}{new}{text[end:]}"


def _insert_in_flow(text: str, node: yaml.MappingNode, rest: Keys, value: Scalar) -> str:
    at = node.value[-1][1].end_mark.index if node.value else node.start_mark.index + 1
    separator = ", " if node.value else ""
    return f"{text[:at]}{separator}{rest[0]}: {_flow(rest[1:], value)}{text[at:]}"


def _insert_in_block(text: str, node: yaml.MappingNode, rest: Keys, value: Scalar) -> str:
    newline = _newline(text)
    indent = node.value[0][0].start_mark.column
    last = node.value[-1][1]
    while isinstance(last, yaml.CollectionNode) and not last.flow_style and last.value:
        last = last.value[-1][1] if isinstance(last, yaml.MappingNode) else last.value[-1]
    end = last.end_mark.index
    # A block of text ends at the beginning of a line, everything else within one.
    at = end if text[end - 1 : end] == "\n" else text.find("\n", end) + 1
    lines = _block(rest, value, indent, newline)
    return _join(text, lines, newline) if at == 0 or at >= len(text) else f"{text[:at]}{lines}{text[at:]}"


def _block(keys: Keys, value: Scalar, indent: int, newline: str) -> str:
    lines = [f"{' ' * (indent + 2 * depth)}{key}:" for depth, key in enumerate(keys)]
    return newline.join(lines) + f" {_scalar(value)}{newline}"


def _flow(keys: Keys, value: Scalar) -> str:
    return "".join(f"{{{key}: " for key in keys) + _scalar(value) + "}" * len(keys)


def _scalar(value: Scalar) -> str:
    return str(yaml.safe_dump(value, default_flow_style=True, width=10_000)).removesuffix("...\n").rstrip("\n")


def _join(text: str, lines: str, newline: str) -> str:
    return f"{text}{'' if not text or text.endswith(newline) else newline}{lines}"


def _newline(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"


def _with(data: Any, keys: Keys, value: Scalar) -> Any:
    if not keys:
        return value
    if isinstance(keys[0], int):
        return [_with(each, keys[1:], value) if at == keys[0] else each for at, each in enumerate(data)]
    inner = data if isinstance(data, dict) else {}
    return {**inner, keys[0]: _with(inner.get(keys[0]), keys[1:], value)}


def _replace(path: Path, text: str) -> None:
    """Write the file at once or not at all, with the mode it had."""
    atomic.write(path, text.encode(), path.stat().st_mode & 0o777)
