"""A whole lab in a thread, in virtual time: what a functional test runs its client code against."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import loops

from tallship.lab import network
from tallship.lab.clock import VirtualClock
from tallship.lab.faults import Fault
from tallship.lab.process import Lab
from tallship.lab.store import Store

Answer = TypeVar("Answer")

_SECONDS = 60.0
"""Real seconds that a lab may take to come up, to go down, or to answer a question of the test."""


class ClientClock:
    """The clock as client code sees it (`engine.Clock`): it shares its time with the lab."""

    def __init__(self, shared: VirtualClock) -> None:
        self._shared = shared

    def now(self) -> float:
        """Return modelled seconds since the lab was made."""
        return self._shared.now()

    def today(self) -> datetime:
        """Return lab time as a date."""
        return self._shared.today()

    def sleep(self, seconds: float) -> None:
        """Return when so many modelled seconds have passed."""
        self._shared.sleep_thread(seconds)

    def run_threads(self, bodies: Sequence[Callable[[], None]]) -> None:
        """Run the bodies side by side as clients of the lab."""
        self._shared.run_threads(bodies)


@dataclass(frozen=True)
class Past:
    """What a lab needs to go on where it was, beside its folder."""

    network: str
    token: str
    seconds: float


class LabWorld:
    """One lab with a network of its own and its files in `folder`; with `on_disk` its state survives `kill`.

    One that was before goes on from its `past`; its network stays with whoever has it.
    """

    def __init__(
        self,
        folder: Path,
        without: frozenset[str] = frozenset(),
        *,
        on_disk: bool = False,
        past: Past | None = None,
    ) -> None:
        self.folder = folder
        self._without = without
        self._database = folder / "store.sqlite" if on_disk else None
        self._past = past
        self._shared = VirtualClock(past.seconds if past else 0)
        self.clock = ClientClock(self._shared)
        self._loop = self._shared.new_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self.lab: Lab

    def __enter__(self) -> LabWorld:
        self.network = self._past.network if self._past else network.take(None)
        self._thread.start()
        self.lab = self.ask(self._make())
        self.token = self._past.token if self._past else self.do(self.lab.hetzner.tokens.issue_token)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.ask(self._end())
        finally:
            loops.end(self._loop, self._thread)
            if not self._past:
                network.give_back(self.network)

    @property
    def past(self) -> Past:
        """What its files need to go on from now in another lab."""
        return Past(self.network, self.token, self.clock.now())

    @property
    def endpoints(self) -> dict[str, str]:
        """Where the lab serves what: hetzner, factory, control, address."""
        return self.lab.endpoints()

    @property
    def ca_file(self) -> Path:
        """The CA that the lab's HTTPS endpoints are signed by."""
        return self.folder / "ca.pem"

    @property
    def bin_folder(self) -> Path:
        """The stand-in programs, to be put first on PATH."""
        return self.folder / "bin"

    @property
    def writes(self) -> dict[str, int]:
        """Writes of tallship and its programs per server, since the last reset."""
        counted: dict[str, int] = self.lab.status()["writes"]
        return counted

    def reset_counters(self) -> None:
        """Begin to count writes anew."""
        self.do(self.lab.reset_counters)

    def fault(self, name: str, match: dict[str, str] | None = None, times: int = 1, **values: Any) -> None:
        """Make something go wrong from now on."""
        self.do(lambda: self.lab.faults.add(Fault(name, match or {}, values, times)))

    def run(self, work: Callable[[], Answer]) -> Answer:
        """Run client code as a client of the lab's clock: time passes while it waits; returns what it returns."""
        answers: list[Answer] = []
        self._shared.run_client(lambda: answers.append(work()))
        return answers[0]

    def wait(self, until: Callable[[], bool], seconds: float, interval: float = 1.0) -> float:
        """Let modelled time pass until something is true; returns the time. Raises TimeoutError."""

        def look() -> float:
            deadline = self.clock.now() + seconds
            while not until():
                if self.clock.now() > deadline:
                    raise TimeoutError(f"not so after {seconds} modelled seconds")
                self.clock.sleep(interval)
            return self.clock.now()

        return self.run(look)

    def do(self, deed: Callable[[], Answer]) -> Answer:
        """Call something in the lab's thread, where everything of the lab belongs, and return its result."""

        async def call() -> Answer:
            return deed()

        return self.ask(call())

    def ask(self, question: Coroutine[Any, Any, Answer]) -> Answer:
        """Run a coroutine in the lab's loop and return its result; modelled time need not pass for it."""
        return asyncio.run_coroutine_threadsafe(question, self._loop).result(_SECONDS)

    def kill(self) -> None:
        """End the lab at once and start it again: it knows what was in its file at this moment, and no more."""
        self.lab = self.ask(self._replace())

    async def _replace(self) -> Lab:
        self.lab.store.close()
        await self.lab.stop()
        return await self._make()

    async def _make(self) -> Lab:
        lab = Lab(self.folder, self._shared, self.network, store=Store(self._database), without=self._without)
        await lab.start()
        return lab

    async def _end(self) -> None:
        await self.lab.stop()
        self.lab.store.close()
