"""How a change was asked for."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Options:
    """How a create, update, patch, apply or deletion was asked for."""

    manager: str = ""
    dry_run: bool = False
    validation: str = "Ignore"
    """What an unknown field is: `Strict` (an error), `Warn` or `Ignore`."""
    force: bool = False
    subresource: str = ""
    propagation: str = "Background"
    """What becomes of a deleted object's dependents: `Background`, `Foreground` or `Orphan`."""
    uid: str = ""
    """A deletion is refused when the object has another one."""
    resource_version: str = ""
    """A deletion is refused when the object has another one."""
    unknown: list[str] = field(default_factory=list)
    """What was wrong with the request's fields, in the words of the API server; filled in on the way."""
