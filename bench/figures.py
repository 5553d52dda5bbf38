"""One line of the benchmark's table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """What was measured, and what it may be at most."""

    what: str
    value: float
    unit: str
    limit: float | None = None
    note: str = ""

    @property
    def is_within(self) -> bool:
        """True when there is no limit or the value keeps it."""
        return self.limit is None or self.value <= self.limit

    def cells(self) -> tuple[str, str, str, str]:
        """Return what, value, limit and note as text."""
        limit = (
            "" if self.limit is None else f"≤ {_number(self.limit, self.unit)} {'ok' if self.is_within else 'MISSED'}"
        )
        return self.what, _number(self.value, self.unit), limit, self.note


def text_table(rows: Iterable[tuple[str, ...]]) -> str:
    """Return rows as columns of text."""
    lines = list(rows)
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def markdown_table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """Return rows as a Markdown table."""
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _number(value: float, unit: str) -> str:
    digits = {"ms": 0, "s": 1, "modelled s": 0, "ratio": 3}.get(unit, 0)
    return f"{value:.{digits}f}" + ("" if unit == "ratio" else f" {unit}")
