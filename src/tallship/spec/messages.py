"""What pydantic finds, told in the words of the cluster file."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Any, get_args

from pydantic_core import ErrorDetails

from tallship.spec.document import Path
from tallship.spec.models import Spec
from tallship.spec.section import Section

_SHAPES = {
    "string_type": "text",
    "int_type": "a whole number",
    "bool_type": "`true` or `false`",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "tuple_type": "a list",
    "list_type": "a list",
}

_SECRETS = ("token", "password", "secret", "hcloud_token")


def tell(detail: ErrorDetails) -> tuple[str, str]:
    """Return a message and a hint for one thing that pydantic found."""
    kind, given, limits = detail["type"], detail["input"], detail.get("ctx", {})
    if kind == "tallship":
        return limits["message"], limits["hint"]
    if kind == "extra_forbidden":
        return "there is no such key", _tell_unknown(detail["loc"])
    if kind == "missing":
        return "is required", ""
    if kind in _SHAPES:
        return f"must be {_SHAPES[kind]}, not {_shape(given)}", _tell_quotes(kind, given)
    if kind == "literal_error":
        expected = limits["expected"].replace("'", "`")
        return f"must be {'one of ' if ' or ' in expected else ''}{expected}, not `{_short(given)}`", ""
    if kind == "string_too_short":
        return "must not be empty", ""
    if kind == "string_pattern_mismatch":
        return f"`{_short(given)}` does not look like it should", "64 digits 0-9 and a-f"
    if kind in ("greater_than_equal", "less_than_equal"):
        bound = "at least" if kind == "greater_than_equal" else "at most"
        return f"must be {bound} {limits.get('ge', limits.get('le'))}, not {given}", ""
    if kind == "too_long":
        return f"must have at most {limits['max_length']} entries, not {limits['actual_length']}", ""
    return detail["msg"][:1].lower() + detail["msg"][1:], ""


def _tell_quotes(kind: str, given: Any) -> str:
    if kind == "string_type" and isinstance(given, int | float):
        return "write it in quotes"
    if kind == "int_type" and isinstance(given, str) and given.isdigit():
        return "write it without quotes"
    if kind == "bool_type" and str(given).lower() in ("yes", "no", "on", "off"):
        return "YAML 1.2 has `true` and `false` only"
    return ""


def _shape(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    if isinstance(value, str):
        return "text"  # which is not shown: it may be a token in the wrong place
    return f"`{_short(value)}`"


def _short(value: Any) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= 40 else f"{text[:37]}…"


def _tell_unknown(path: tuple[int | str, ...]) -> str:
    key = str(path[-1])
    if key.lower() in _SECRETS:
        return "secrets never stand in this file: set HCLOUD_TOKEN, `hetzner.token_file` or `hetzner.token_command`"
    siblings = keys_of(path[:-1])
    if close := difflib.get_close_matches(key, siblings, n=1):
        return f"did you mean `{close[0]}`?"
    elsewhere = [".".join(known) for known in every_key() if known[-1] == key]
    if elsewhere:
        return f"did you mean `{elsewhere[0]}`?"
    return f"keys here are {', '.join(siblings)}" if siblings else ""


def every_key(section: type[Section] = Spec, at: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the path of every key that a cluster file can have."""
    for name, info in section.model_fields.items():
        yield (*at, name)
        if inner := section_of(info.annotation):
            yield from every_key(inner, (*at, name))


def keys_of(path: Path) -> list[str]:
    """Return the keys of the section at a path; none where there is no section."""
    section: type[Section] | None = Spec
    for part in path:
        if isinstance(part, int):
            continue
        info = section.model_fields.get(part) if section else None
        section = section_of(info.annotation) if info else None
    return list(section.model_fields) if section else []


def section_of(annotation: Any) -> type[Section] | None:
    """Return the section that a field holds, also where it may be absent."""
    for candidate in (annotation, *get_args(annotation)):
        if isinstance(candidate, type) and issubclass(candidate, Section):
            return candidate
    return None
