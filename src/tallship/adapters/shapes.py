"""What an API promises of its answers, held against what came: an answer of another shape is refused where it arrives.

A shape is a type, a test of one value, `[shape]` for a list, `{str: shape}` for a mapping of any keys, or a mapping of
those keys that are read: one that ends in `!` is always there. Whatever a shape does not name may be anything. In
these APIs null means the same as absence, so that a key that is null is left out.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any

Shape = Any
MISREAD = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What reading an answer raises that is not what its API promises."""
MOST_DIGITS = 24
"""No number of these APIs is longer; Python itself shows none of more than 4300 digits."""


class Misfit(ValueError):
    """A value is not of the shape that it must have; nothing of the value is told."""

    def __init__(self, lacks: str) -> None:
        super().__init__(lacks)
        self.lacks = lacks
        self.path: list[str] = []

    def __str__(self) -> str:
        return f"`{''.join(self.path).lstrip('.')}` {self.lacks}" if self.path else f"it {self.lacks}"


def fitted(value: Any, shape: Shape, *, only: bool = False) -> Any:
    """Return a value without the nulls that its shape names; `only`: without what its shape does not name either.

    Raises Misfit.
    """
    if isinstance(shape, Mapping):
        if not isinstance(value, dict):
            raise Misfit("is no mapping")
        return _mapping(value, shape, only)
    if isinstance(shape, list):
        if not isinstance(value, list):
            raise Misfit("is no list")
        return [_inside(f"[{number}]", each, shape[0], only) for number, each in enumerate(value)]
    if not (_is(value, shape) if isinstance(shape, type) else shape(value)):
        raise Misfit(f"is no {_WORDS.get(shape) or shape.__name__}")
    return value


def _mapping(value: dict[str, Any], shape: Mapping[Any, Shape], only: bool) -> dict[str, Any]:
    if str in shape:
        return {key: _inside(".*", each, shape[str], only) for key, each in value.items()}
    found = {} if only else dict(value)
    for key, must in _keys(tuple(shape)):
        inner = value.get(key)
        if inner is not None:
            found[key] = _inside(f".{key}", inner, shape[f"{key}!" if must else key], only)
        elif must:
            raise Misfit(f"lacks `{key}`")
        else:
            found.pop(key, None)
    return found


def _inside(part: str, value: Any, shape: Shape, only: bool) -> Any:
    try:
        return fitted(value, shape, only=only)
    except Misfit as misfit:
        misfit.path.insert(0, part)
        raise


@lru_cache(maxsize=256)
def _keys(named: tuple[str, ...]) -> tuple[tuple[str, bool], ...]:
    return tuple((each.removesuffix("!"), each.endswith("!")) for each in named)


_WORDS = {str: "text", int: "whole number", float: "number", bool: "true or false", dict: "mapping"}


def _is(value: Any, kind: type) -> bool:
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**MOST_DIGITS
    return isinstance(value, kind)


def moment(value: Any) -> bool:
    """True for a date and time of a known zone."""
    try:
        return isinstance(value, str) and datetime.fromisoformat(value).utcoffset() is not None
    except ValueError:
        return False


def amount(value: Any) -> bool:
    """True for a number that is written as text."""
    try:
        return isinstance(value, str) and len(value) <= 2 * MOST_DIGITS and Decimal(value).is_finite()
    except InvalidOperation:
        return False


def network(value: Any) -> bool:
    """True for an address, or a network."""
    try:
        return isinstance(value, str) and bool(ipaddress.ip_network(value, strict=False))
    except ValueError:
        return False


def ports(value: Any) -> bool:
    """True for a port, a range of ports, or any."""
    return isinstance(value, str) and re.fullmatch(r"any|[0-9]{1,5}(-[0-9]{1,5})?", value) is not None
