"""What a program of a plane is: how it is started, and when it counts as ready. Kept as JSON in the plane's folder."""

from __future__ import annotations

import hashlib
import http.client
import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from tallship.localplane.files import write_private

NOT_FOUND = 404
_ANSWER_SECONDS = 1.0


@dataclass(frozen=True)
class Probe:
    """A URL that answers 200 when a program is ready; files are paths."""

    url: str
    authority: str = ""
    """File of the authority that an https URL's certificate is signed by."""
    certificate: str = ""
    """File of the client certificate to show; with `key`."""
    key: str = ""
    or_absent: bool = False
    """True when 404 counts too: it answers, and has no such page."""

    def answers(self) -> bool:
        """True when the program says that it is ready; waits for its answer for at most 1 s."""
        request = urllib.request.Request(self.url, headers={"User-Agent": "tallship"})  # noqa: S310
        handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
        try:
            if self.url.startswith("https:"):
                handlers.append(urllib.request.HTTPSHandler(context=_context(self)))
            with urllib.request.build_opener(*handlers).open(request, timeout=_ANSWER_SECONDS) as answer:
                return bool(answer.status == 200)
        except urllib.error.HTTPError as refusal:
            refusal.close()
            return self.or_absent and refusal.code == NOT_FOUND
        except (OSError, ValueError, http.client.HTTPException):
            return False


@dataclass(frozen=True)
class Program:
    """A program of a plane, described so that it can be started again by anyone who finds the folder."""

    name: str
    argv: tuple[str, ...]
    """The program's absolute path and its arguments. Every user of the machine can read these: no secrets."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Everything it inherits, except PATH, HOME and TMPDIR, which the supervisor gives."""
    probe: Probe | None = None
    """When it is ready; without one it is as soon as it runs."""
    after: tuple[str, ...] = ()
    """Programs that must be ready before it starts, and that are stopped after it."""
    ready_seconds: float = 30.0
    """How long it may take to be ready before it is ended and started again."""

    @property
    def mark(self) -> str:
        """A short text that differs for every other description."""
        return hashlib.sha256(self._text().encode()).hexdigest()[:16]

    def write(self, folder: Path) -> None:
        """Put the description into a folder. Raises OSError."""
        write_private(folder / f"{self.name}.json", self._text())

    def _text(self) -> str:
        return json.dumps(asdict(self), indent=1, sort_keys=True)

    @classmethod
    def read(cls, file: Path) -> Program:
        """Return what `write` wrote. Raises OSError, and ValueError or KeyError for anything else."""
        found: dict[str, Any] = json.loads(file.read_text())
        probe = None if found["probe"] is None else Probe(**found["probe"])
        return cls(
            name=str(found["name"]),
            argv=tuple(found["argv"]),
            environment=dict(found["environment"]),
            probe=probe,
            after=tuple(found["after"]),
            ready_seconds=float(found["ready_seconds"]),
        )


@lru_cache(maxsize=32)
def _context(probe: Probe) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=probe.authority)
    if probe.certificate:
        context.load_cert_chain(probe.certificate, probe.key)
    return context
