"""What differs between two readings of a cluster file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tallship.spec.models import Spec

Keys = tuple[str | int, ...]
ABSENT = object()
"""The value of what is not there."""


def differing(one: Spec, other: Spec) -> list[Keys]:
    """Return where two readings differ, each place as its keys."""
    return list(_places(one.model_dump(), other.model_dump(), ()))


def value(spec: Spec, keys: Keys) -> Any:
    """Return what a reading says at a place, or ABSENT."""
    found: Any = spec.model_dump()
    for key in keys:
        try:
            found = found[key]
        except (KeyError, IndexError, TypeError):
            return ABSENT
    return found


def _places(one: Any, other: Any, keys: Keys) -> Iterator[Keys]:
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        for key in dict.fromkeys((*one, *other)):
            yield from _places(one.get(key, ABSENT), other.get(key, ABSENT), (*keys, key))
    elif isinstance(one, list | tuple) and isinstance(other, list | tuple) and len(one) == len(other):
        for at, pair in enumerate(zip(one, other, strict=True)):
            yield from _places(*pair, (*keys, at))
    elif one != other:
        yield keys
