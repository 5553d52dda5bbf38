"""Durations as Kubernetes objects write them."""

from __future__ import annotations

_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0}


def seconds(duration: str) -> float:
    """Return a Go duration of hours, minutes and seconds, such as `5m` or `1h30m0s`, as seconds."""
    total, number = 0.0, ""
    for letter in duration:
        if letter in _UNITS:
            total, number = total + float(number) * _UNITS[letter], ""
        else:
            number += letter
    return total
