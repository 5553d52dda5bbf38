"""What a rule finds."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

from tallship.manifests.picture import Picture


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong."""

    code: str
    severity: Literal["error", "warning"]
    what: str
    cause: str
    advice: str
    evidence: tuple[str, ...] = ()
    fix: str = ""
    """What `--fix` would do; nothing where a person must decide."""

    def as_data(self) -> dict[str, Any]:
        """Return it as the JSON envelope shows it."""
        return asdict(self)


Rule = Callable[[Picture], Iterable[Finding]]
