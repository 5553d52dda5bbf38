"""Versions as numbers that can be compared."""

from __future__ import annotations

import re

Number = tuple[int, ...]

VERSION = re.compile(r"v?(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?")


def number(version: str) -> Number:
    """Return the numbers of a version, `(1, 32, 2)` for `v1.32.2-rc.1`; empty for something else."""
    found = VERSION.fullmatch(version)
    return tuple(int(part) for part in found.groups()[:3]) if found else ()


def dotted(version: Number) -> str:
    """Return `1.32` for `(1, 32)`."""
    return ".".join(map(str, version))
