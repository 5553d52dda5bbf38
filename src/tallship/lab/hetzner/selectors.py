"""Label selectors: `k`, `!k`, `k=v`, `k==v`, `k!=v`, `k in (a,b)`, `k notin (a,b)`, joined by commas."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from tallship.lab.hetzner.errors import Refused, invalid

Labels = Mapping[str, str]
Predicate = Callable[[Labels], bool]

_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?"
_KEY = re.compile(rf"(?:(?P<prefix>[a-z0-9](?:[a-z0-9.-]{{0,251}}[a-z0-9])?)/)?{_NAME}")
_VALUE = re.compile(rf"(?:{_NAME})?")
_SET = re.compile(r"(?P<key>\S+)\s+(?P<word>in|notin)\s*\((?P<values>[^()]*)\)")
_PAIR = re.compile(r"(?P<key>[^\s=!]+)\s*(?P<sign>==|!=|=)\s*(?P<value>\S*)")


def matches(selector: str, labels: Labels) -> bool:
    """True when the labels fulfil every part of the selector. Raises Refused for one that cannot be read."""
    return all(predicate(labels) for predicate in parse(selector))


@lru_cache(maxsize=512)
def parse(selector: str) -> tuple[Predicate, ...]:
    """Return the selector's parts. Raises Refused (invalid_input) for one that cannot be read."""
    parts = [part.strip() for part in re.split(r",(?![^()]*\))", selector)]
    return tuple(_predicate(part, selector) for part in parts if part or selector.strip())


def check_labels(labels: Mapping[Any, object]) -> dict[str, str]:
    """Return the labels when keys and values keep Hetzner's rules. Raises Refused (invalid_input)."""
    for key, value in labels.items():
        found = _KEY.fullmatch(key) if isinstance(key, str) else None
        if found is None or not isinstance(value, str) or not _VALUE.fullmatch(value):
            raise invalid("labels", f"'{key}' = '{value}' is not a valid label")
        if str(found["prefix"]).endswith("hetzner.cloud"):
            raise invalid("labels", f"the prefix of '{key}' is reserved")
    return {str(key): str(value) for key, value in labels.items()}


def _predicate(part: str, selector: str) -> Predicate:
    if found := _SET.fullmatch(part):
        return _membership(
            _known_key(found["key"], selector),
            {value.strip() for value in found["values"].split(",")},
            found["word"] == "in",
        )
    if found := _PAIR.fullmatch(part):
        return _membership(_known_key(found["key"], selector), {found["value"]}, found["sign"] != "!=")
    if part.startswith("!"):
        absent = _known_key(part[1:].strip(), selector)
        return lambda labels: absent not in labels
    present = _known_key(part, selector)
    return lambda labels: present in labels


def _membership(key: str, values: set[str], inside: bool) -> Predicate:
    """A label that is absent fulfils the negative forms, as in Kubernetes."""
    if inside:
        return lambda labels: key in labels and labels[key] in values
    return lambda labels: labels.get(key) not in values


def _known_key(key: str, selector: str) -> str:
    if not _KEY.fullmatch(key):
        raise _unreadable(selector)
    return key


def _unreadable(selector: str) -> Refused:
    return invalid("label_selector", f"'{selector}' is not a valid label selector")
