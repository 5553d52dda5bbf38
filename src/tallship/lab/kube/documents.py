"""Plain JSON documents: copies of them, and their text, which is made once however many clients ask for it."""

from __future__ import annotations

import json
from typing import Any

Document = dict[str, Any]


class Stored(dict[str, Any]):
    """A document as it is stored: nobody changes it, so its JSON text is remembered."""

    __slots__ = ("_text",)

    def text(self) -> bytes:
        """Return the document as JSON."""
        try:
            return self._text
        except AttributeError:
            self._text: bytes = encoded(dict(self))
            return self._text


def encoded(value: Any) -> bytes:
    """Return a value as compact JSON."""
    return value.text() if isinstance(value, Stored) else json.dumps(value, separators=(",", ":")).encode()


def copied(value: Any) -> Any:
    """Return a deep copy of plain JSON data."""
    if isinstance(value, dict):
        return {key: copied(each) if isinstance(each, dict | list) else each for key, each in value.items()}
    if isinstance(value, list):
        return [copied(each) if isinstance(each, dict | list) else each for each in value]
    return value
