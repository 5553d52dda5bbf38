"""The one way documents become YAML text: stable order, block strings, and comments where the reader needs the why."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

Path = tuple[str | int, ...]
Comments = Mapping[Path, str]

_PLAIN = re.compile(r"[A-Za-z0-9_./$-][A-Za-z0-9_./@:=+~ -]*")
# Words that some readers of YAML take for something else than text: YAML 1.1's switches, numbers of YAML 1.2.
_MISREAD = re.compile(
    r"y|n|yes|no|on|off|true|false|null|~|0o[0-7]+|[-+]?(\d+(\.\d*)?|\.\d+)(e[-+]?\d+)?|[-+]?\.?(inf|nan)",
    re.IGNORECASE,
)
# An address is quoted, so that it can take the place of `"${LOAD_BALANCER_IP}"` in a text.
_ADDRESS = re.compile(r"\d+(\.\d+){3}")


@dataclass(frozen=True)
class Annotated:
    """A document and comments for places in it; the comment at `()` stands above it."""

    document: Any
    comments: Comments = field(default_factory=dict)


def dump(document: Any, comments: Comments | None = None) -> str:
    """Return one document as YAML text that ends with a newline."""
    notes = comments or {}
    above = [f"# {line}".rstrip() for line in notes.get((), "").splitlines()]
    return "\n".join([*above, *_block(document, (), notes)]) + "\n"


def dump_all(documents: Sequence[Annotated]) -> str:
    """Return documents as one YAML text, `---` between them."""
    return "---\n".join(dump(one.document, one.comments) for one in documents)


def _block(value: Any, path: Path, comments: Comments) -> list[str]:
    """Return the lines of a value that stands for itself."""
    if isinstance(value, Mapping) and value:
        return [line for key, inner in value.items() for line in _entry(str(key), inner, (*path, key), comments)]
    if isinstance(value, list | tuple) and value:
        return [line for index, inner in enumerate(value) for line in _item(inner, (*path, index), comments)]
    return _text(value)


def _entry(key: str, value: Any, path: Path, comments: Comments) -> Iterator[str]:
    yield from _comment(path, comments)
    name = _scalar(key)
    if isinstance(value, Mapping | list | tuple) and value:
        yield f"{name}:"
        yield from _indented(_block(value, path, comments))
        return
    first, *rest = _text(value)
    yield f"{name}: {first}"
    yield from rest


def _item(value: Any, path: Path, comments: Comments) -> Iterator[str]:
    yield from _comment(path, comments)
    first, *rest = _block(value, path, comments)
    if first.startswith("#"):
        # A comment of the first entry goes above the dash.
        yield first
        first, *rest = rest
    yield f"- {first}"
    is_text = isinstance(value, str)
    yield from rest if is_text else _indented(rest)


def _comment(path: Path, comments: Comments) -> Iterator[str]:
    return (f"# {line}".rstrip() for line in comments.get(path, "").splitlines())


def _indented(lines: Sequence[str]) -> Iterator[str]:
    return (f"  {line}" if line else line for line in lines)


def _text(value: Any) -> list[str]:
    """Return the lines of a scalar; all but the first are indented already."""
    if isinstance(value, str) and _fits_block(value):
        sign = "|" if value.endswith("\n") else "|-"
        return [sign, *_indented(value.removesuffix("\n").split("\n"))]
    return [_scalar(value)]


def _fits_block(text: str) -> bool:
    lines = text.removesuffix("\n").split("\n")
    return (
        "\n" in text
        and not text.startswith((" ", "\n"))
        and bool(lines[-1].strip())
        and all(line == line.rstrip() for line in lines)
        and all(character.isprintable() or character == "\n" for character in text)
    )


def _scalar(value: Any) -> str:
    if isinstance(value, str):
        return value if _is_plain(value) else _quoted(value)
    if isinstance(value, Mapping):
        return "{}"
    if isinstance(value, list | tuple):
        return "[]"
    # YAML 1.1 reads `1e+16` as text, and `1.0e+16` as a number.
    return re.sub(r"^(-?\d+)e", r"\1.0e", json.dumps(value))


def _quoted(text: str) -> str:
    escaped = text.replace("\\", r"\\").replace('"', r"\"")
    return '"' + "".join(each if each.isprintable() else _escape(ord(each)) for each in escaped) + '"'


def _escape(code: int) -> str:
    if code == ord("\n"):
        return r"\n"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _is_plain(text: str) -> bool:
    if not _PLAIN.fullmatch(text) or _MISREAD.fullmatch(text) or _ADDRESS.fullmatch(text):
        return False
    try:
        return bool(yaml.safe_load(f"- {text}") == [text])
    except (yaml.YAMLError, ValueError):
        return False
