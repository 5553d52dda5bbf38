"""Where an object differs from what we would apply, and who has changed it: read from its own record of owners."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Document = Mapping[str, Any]

OURS = "tallship"
"""Our name as a manager of fields."""
BOOKKEEPING = ("managedFields", "resourceVersion", "generation", "creationTimestamp", "uid")
FEW, SHORT = 3, 40
"""How many differences are told, and how long a value may be that is shown."""
_ABSENT = object()


@dataclass(frozen=True)
class Difference:
    """One value that applying the document would change."""

    path: str
    before: str
    """As a person reads it; empty where it is long, or a secret."""
    after: str
    by: str = ""
    """Who else has said that it should be so; nothing where nobody has."""

    def __str__(self) -> str:
        change = f" is {self.before} and becomes {self.after}" if self.before and self.after else " differs"
        return f"{self.path}{change}"


def content(stored: Document) -> dict[str, Any]:
    """Return an object without what the API server itself notes."""
    metadata = {key: value for key, value in stored["metadata"].items() if key not in BOOKKEEPING}
    return {**stored, "metadata": metadata}


def differences(stored: Document, applied: Document) -> list[Difference]:
    """Return what differs between an object and what comes of applying ours; no value of a Secret is in it."""
    is_open = stored.get("kind") != "Secret"
    return [
        Difference(
            ".".join(keys),
            _shown(before) if is_open else "",
            _shown(after) if is_open else "",
            _other_manager(stored, keys),
        )
        for keys, before, after in _leaves(content(stored), content(applied), ())
    ]


def told(found: Iterable[Difference]) -> str:
    """Return differences as a person reads them."""
    lines = [str(each) for each in found]
    more = f"{len(lines) - FEW} more" if len(lines) > FEW else ""
    return ", ".join(filter(None, (*lines[:FEW], more)))


def taken_back(found: Iterable[Difference]) -> str:
    """Return what others have changed and applying takes back, as the end of a sentence; nothing where nobody has."""
    theirs = [each for each in found if each.by]
    names = sorted({each.by for each in theirs})
    return f", taking back what {' and '.join(names)} changed: {told(theirs)}" if theirs else ""


def _leaves(before: Any, after: Any, keys: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any, Any]]:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in dict.fromkeys((*before, *after)):
            yield from _leaves(before.get(key, _ABSENT), after.get(key, _ABSENT), (*keys, str(key)))
    elif before != after:
        yield keys, before, after


def _shown(value: Any) -> str:
    if value is _ABSENT:
        return "absent"
    if isinstance(value, Mapping | list):
        return ""
    text = str(value)
    return text if 0 < len(text) <= SHORT and "\n" not in text else ""


def _other_manager(stored: Document, keys: Sequence[str]) -> str:
    """Return the manager beside us that owns a field, by the object's `managedFields`."""
    for entry in stored["metadata"].get("managedFields") or ():
        name = str(entry.get("manager", ""))
        if name not in ("", OURS) and not entry.get("subresource") and _owns(entry.get("fieldsV1") or {}, keys):
            return name
    return ""


def _owns(fields: Document, keys: Sequence[str]) -> bool:
    at: Any = fields
    for key in keys:
        if not isinstance(at, Mapping) or f"f:{key}" not in at:
            return False
        at = at[f"f:{key}"]
    return True
