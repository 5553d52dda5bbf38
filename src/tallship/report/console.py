"""Where everything for people goes: rich's console, for text that others wrote."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

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


def for_data() -> TidyConsole:
    """Return the console of stdout."""
    return TidyConsole(width=None if sys.stdout.isatty() else PIPE_WIDTH)


def for_people() -> TidyConsole:
    """Return the console of stderr."""
    return TidyConsole(stderr=True)
