"""The calls that an adapter makes: counted for the journal, and told to whoever wants to see each."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

Answer = TypeVar("Answer")

LOG = logging.getLogger("tallship.calls")
"""Hears of every call, by its verb and noun alone: no address, no body, no secret."""


class Calls(Counter[str]):
    """How often an adapter asked the `outside` for what."""

    def __init__(self, outside: str) -> None:
        super().__init__()
        self._outside = outside

    def note(self, call: str) -> None:
        """Count a call that is about to be made."""
        self[call] += 1
        LOG.debug("%s: %s", self._outside, call)


class Memory:
    """Answers of reads, given again as long as somebody looks at one moment of the outside."""

    def __init__(self) -> None:
        self._shared: dict[Hashable, Any] | None = None
        self._own = threading.local()

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Remember answers until the end of the block, for all threads."""
        if self._shared is not None:
            yield
            return
        self._shared = {}
        try:
            yield
        finally:
            self._shared = None

    @contextmanager
    def kept_alone(self) -> Iterator[None]:
        """Remember answers until the end of the block, for this thread: others look at moments of their own."""
        if getattr(self._own, "answers", None) is not None:
            yield
            return
        self._own.answers = {}
        try:
            yield
        finally:
            self._own.answers = None

    def forget(self) -> None:
        """Forget what this thread remembers: the outside has changed meanwhile."""
        if self._known is not None:
            self._known.clear()

    def answer(self, question: Hashable, ask: Callable[[], Answer]) -> Answer:
        """Return what was answered to this question, or ask. Two that ask at the same time may both ask."""
        known = self._known
        if known is None:
            return ask()
        if question not in known:
            known[question] = ask()
        found: Answer = known[question]
        return found

    @property
    def _known(self) -> dict[Hashable, Any] | None:
        own: dict[Hashable, Any] | None = getattr(self._own, "answers", None)
        return self._shared if own is None else own
