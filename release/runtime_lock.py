"""Prints the part of the lock that is needed at run time, on any system: what a release is installed with."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

LOCK = Path(__file__).parents[1] / "requirements.lock"


def needed(name: str) -> set[str]:
    """Return the names of what a package needs, and of what that needs; markers count as true, but for extras."""
    todo, seen = [(name, frozenset[str]())], set()
    while todo:
        package = todo.pop()
        if package not in seen:
            seen.add(package)
            todo += [(canonicalize_name(each.name), frozenset(each.extras)) for each in _wanted(*package)]
    return {each for each, _ in seen} - {name}


def locked(names: set[str], lock: str) -> str:
    """Return the entries of a lock for these packages, each with its hashes."""
    entries = re.split(r"^(?=\S)", lock, flags=re.MULTILINE)
    return "".join(each for each in entries if each and canonicalize_name(re.split(r"[=\[ ]", each)[0]) in names)


def _wanted(package: str, extras: frozenset[str]) -> Iterator[Requirement]:
    try:
        listed = requires(package) or []
    except PackageNotFoundError:  # needed on another system alone
        listed = []
    for each in map(Requirement, listed):
        is_extra = each.marker is not None and "extra" in str(each.marker)
        if not is_extra or any(each.marker is not None and each.marker.evaluate({"extra": one}) for one in extras):
            yield each


if __name__ == "__main__":
    sys.stdout.write(locked(needed("tallship"), LOCK.read_text(encoding="utf-8")))
