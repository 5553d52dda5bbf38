"""Where everything for people goes: rich's console, for text that others wrote."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TextIO, cast

from rich.console import Console
from rich.segment import Segment

from tallship.report.visible import visible

if TYPE_CHECKING:
    from rich.console import ConsoleOptions, RenderableType
    from rich.text import Text

PIPE_WIDTH = 200
"""Columns where stdout is no terminal."""


class TidyConsole(Console):
    """Takes text as it is: brackets are no markup, numbers have no colour, control characters are shown as escapes."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(markup=False, highlight=False, emoji=False, **settings)

    def render_str(self, text: str, **settings: Any) -> Text:
        """Return the text of a string, such as a table's cell, as wide as it is shown."""
        return super().render_str(visible(text), **settings)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Yield what is drawn; only rich itself speaks to the terminal."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(visible(segment.text), segment.style)


class Trimmed(io.TextIOBase):
    """Writes lines without the spaces at their ends, with which rich fills tables up."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The encoding of what is written to."""
        return self._file.encoding

    def write(self, text: str) -> int:
        """Write whole lines, as rich does."""
        return self._file.write(re.sub(r" +$", "", text, flags=re.MULTILINE))

    def flush(self) -> None:
        """Write out what is buffered."""
        self._file.flush()


def for_data() -> TidyConsole:
    """Return the console of stdout."""
    return (
        TidyConsole() if sys.stdout.isatty() else TidyConsole(width=PIPE_WIDTH, file=cast(TextIO, Trimmed(sys.stdout)))
    )


def for_people() -> TidyConsole:
    """Return the console of stderr."""
    return TidyConsole(stderr=True)
