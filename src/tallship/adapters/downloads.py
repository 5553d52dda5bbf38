"""Files of a release, held against the checksums that their publisher put beside them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from tallship.adapters import layers
from tallship.adapters.arrivals import PROGRAM, place, workroom
from tallship.adapters.https import Https, Mirrors, Progress, Refused
from tallship.errors import ApiError

FILE_LIMIT = 512 * 1024**2
CHECKSUMS_LIMIT = 1024**2
_LINE = re.compile(r"(?P<sum>[0-9a-fA-F]{64})(?:[ \t]+\*?(?P<name>\S.*))?")
_HINT = "is the mirror complete? `programs.path` names a folder that has the programs already"
_ODD = "is it, or its mirror, what its publisher released?"


class Downloads:
    """Release servers; `mirrors` names for a host where else to ask, for the file and its checksums alike.

    `https://dl.k8s.io/a` is asked of the mirror `https://mirror.example/k8s` as `https://mirror.example/k8s/a`.
    """

    def __init__(self, https: Https, mirrors: Mapping[str, str] | None = None) -> None:
        self._https = https
        self._mirrors = Mirrors(mirrors or {})

    def fetch(self, url: str, checksums: str, to: Path, tell: Progress, member: str = "", mode: int = PROGRAM) -> None:
        """Write the file at `url` to `to`; or, where it is a tar archive, the one file `member` of it.

        `checksums` is the URL of its sha256, alone or in a list with names; empty where its publisher gives none:
        then HTTPS and the announced length are all that vouches for it. `to` gets its name when everything was
        verified and is on the disk. Raises ApiError, Unreachable, SetupError when `to` cannot be written, Interrupted.
        """
        try:
            wanted = self._checksum(checksums, url.rsplit("/", 1)[-1]) if checksums else ""
            with workroom(to) as room:
                got = self._https.load(self._mirrors.url(url), room / "download", FILE_LIMIT, tell)
                if checksums and got.sha256 != wanted:
                    detail = f"wanted sha256 {wanted}, came {got.sha256}, {got.size} bytes"
                    raise ApiError(f"{url} has another checksum than its publisher says", detail=detail, hint=_ODD)
                if member:
                    layers.extract(member, [lambda: room / "download"], room / "file", url)
                place(room / ("file" if member else "download"), to, mode)
        except Refused as refusal:
            raise refusal.as_error(f"the release server refused {refusal.url}", _HINT) from refusal

    def _checksum(self, url: str, name: str) -> str:
        """Return the published checksum of a file. Raises ApiError when there is none."""
        body, _ = self._https.read(self._mirrors.url(url), CHECKSUMS_LIMIT)
        lines = [_LINE.fullmatch(each.strip()) for each in body.decode(errors="replace").splitlines()]
        sums = {(each["name"] or name).rsplit("/", 1)[-1]: each["sum"].lower() for each in lines if each}
        if name not in sums:
            detail = body[:200].decode(errors="replace")
            raise ApiError(f"{url} holds no checksum of `{name}`", detail=detail, hint=_ODD)
        return sums[name]
