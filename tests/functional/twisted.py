"""Answers to tallship that become something else at the lab's sockets."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import hostile
import pytest
from aiohttp import web
from hostile import NO_JSON, ODD, body, places, with_odd
from hypothesis import HealthCheck, settings

from tallship.lab import damage, factory
from tallship.lab.hetzner import gate

Answer = tuple[int, bytes]
"""Status, 0 for the true one, and body."""
Twist = Callable[[int, bytes], Answer | None]
"""What becomes of an answer, by its number and its true body; None: it stays."""

BOUNDED = settings(
    hostile.BOUNDED, suppress_health_check=[*hostile.BOUNDED.suppress_health_check, HealthCheck.data_too_large]
)


class Twisted:
    """Stands at the sockets, and hears what is answered."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.twist: Twist = _true

    def answer(self, true: web.StreamResponse, request: web.Request, *_others: object) -> web.StreamResponse:
        """Return what a client gets in the place of the true answer."""
        if not isinstance(true, web.Response) or not request.headers.get("User-Agent", "").startswith("tallship"):
            return true
        number, content = len(self.heard), bytes(true.body) if isinstance(true.body, bytes) else b""
        self.heard.append(content)
        instead = self.twist(number, content)
        if instead is None:
            return true
        status, other = instead
        return web.Response(body=other, status=status or true.status, content_type="application/json")

    @contextmanager
    def by(self, twist: Twist) -> Iterator[None]:
        """Let answers be twisted until the end of the block; their numbers begin anew."""
        self.heard, self.twist = [], twist
        try:
            yield
        finally:
            self.twist = _true


def _true(_number: int, _content: bytes) -> None:
    return None


@contextmanager
def at_all_sockets() -> Iterator[Twisted]:
    """Stand at the sockets of every lab of this process."""
    made = Twisted()
    with pytest.MonkeyPatch.context() as patch:
        for place in (damage, gate, factory):
            patch.setattr(place, "damaged", made.answer)
        yield made


def at_random(seed: int) -> Twist:
    """Return what makes one answer of three odd in one or two places, and one of fifty no document at all."""
    return partial(_at_random, random.Random(seed))  # noqa: S311 - a test draws lots


def _at_random(lot: random.Random, _number: int, content: bytes) -> Answer | None:
    if lot.random() < 0.02:
        return 0, lot.choice(NO_JSON)
    if lot.random() > 0.33 or not content.startswith((b"{", b"[")):
        return None
    document = json.loads(content)
    known = list(places(document))
    for _ in range(lot.randint(1, 2)):
        document = with_odd(document, lot.choice(known), lot.choice(ODD))
    return 0, body(document)
