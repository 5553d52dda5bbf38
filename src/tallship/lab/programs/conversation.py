"""What a stand-in program and the lab say to each other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextvars import Context
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Protocol

from tallship.lab.clock import LabClock


class Failed(Exception):
    """The program ends with this exit status after these words on stderr."""

    def __init__(self, words: str, status: int = 1) -> None:
        super().__init__(words)
        self.words = words
        self.status = status


class Terminated(Exception):
    """The program got SIGTERM while it waited."""


@dataclass
class ProgramRequest:
    """One run of a program: its arguments, and the text of what it may read."""

    argv: tuple[str, ...]
    stdin: str = ""
    cwd: str = "/"
    files: dict[str, str] = field(default_factory=dict)
    """The text of each file that an option names, by the name given there."""
    terminated: asyncio.Event = field(default_factory=asyncio.Event)
    """Set by SIGTERM; only programs that clean up look at it."""

    def read(self, name: str) -> str:
        """Return the text of a file that the command line names; `-` is stdin. Raises Failed when it is not there."""
        if name == "-":
            return self.stdin
        if name not in self.files:
            raise Failed(f"Error: open {name}: no such file or directory")
        return self.files[name]

    def path(self, name: str) -> str:
        """Return a file's name as seen from anywhere."""
        return str(PurePosixPath(self.cwd) / name)

    async def wait(self, clock: LabClock, seconds: float) -> None:
        """Let modelled time pass. Raises Terminated as soon as SIGTERM comes."""
        nap = asyncio.ensure_future(clock.sleep(seconds))
        word = asyncio.ensure_future(self.terminated.wait())
        try:
            await asyncio.wait((nap, word), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in (nap, word):
                each.cancel()
            await asyncio.gather(nap, word, return_exceptions=True)
        if self.terminated.is_set():
            raise Terminated


@dataclass(frozen=True)
class Say:
    """Something that the program prints."""

    text: str
    stream: str = "err"
    """`err`, where all three programs put what is for people, or `out`."""


@dataclass(frozen=True)
class WriteFile:
    """A file that the program writes, for its owner alone; without a text it removes it."""

    path: str
    text: str


Output = Say | WriteFile


class Program(Protocol):
    """What stands behind one name on PATH."""

    def handle(self, request: ProgramRequest) -> AsyncGenerator[Output, None]:
        """Do what the command line says, and tell what the program prints. Raises Failed.

        Cancelled when the program is killed: whatever is half done stays so.
        """


async def apart(work: Coroutine[Any, Any, None]) -> None:
    """Do work that starts something which lives on: it must not count as part of the program's request."""
    await asyncio.get_running_loop().create_task(work, context=Context())
