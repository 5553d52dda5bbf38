"""Plain HTTPS questions: the Image Factory, and what this machine's public address is."""

from __future__ import annotations

import http.client
import ipaddress
import json
import re
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from tallship.adapters import in_time
from tallship.adapters.https import USER_AGENT, opener
from tallship.adapters.shapes import MISREAD, fitted
from tallship.errors import ApiError, Unreachable

LIMIT = 1024 * 1024
"""No answer that is read whole is longer than this many bytes."""


@dataclass(frozen=True)
class Reply:
    """One answer, whatever its status."""

    status: int
    headers: dict[str, str]
    body: bytes


class Web:
    """HTTPS with verified certificates; `ca_file` adds a trusted authority, and then no proxy is used."""

    def __init__(self, ca_file: Path | None = None, timeout: float = 20) -> None:
        self._timeout = timeout
        self._opener = opener(ca_file)

    def own_address(self, url: str) -> str:
        """Return this machine's public address as the service at `url` sees it."""
        text = self._ask("GET", url).body.decode(errors="replace").strip()
        try:
            return str(ipaddress.ip_network(text).network_address)  # no zone, which an address may have
        except ValueError as error:
            raise ApiError(
                f"{url} did not answer with an address",
                hint="set `firewall.address_url`, or `management.egress_cidr`, in the cluster file",
            ) from error

    def register_schematic(self, factory: str, schematic: str) -> str:
        """Make the Image Factory know a schematic; returns its id."""
        reply = self._ask("POST", f"{factory}/schematics", schematic.encode())
        if reply.status not in (200, 201):
            raise _refused(factory, reply)
        try:
            return str(fitted(json.loads(reply.body), {"id!": _is_digest})["id"])
        except MISREAD as error:
            raise ApiError(
                f"{factory} does not answer as an Image Factory does", hint="does a proxy stand between?", may_pass=True
            ) from error

    def image_size(self, url: str) -> int:
        """Return the size of the compressed image in bytes. Raises ApiError when the factory does not have it."""
        reply = self._ask("HEAD", url)
        if reply.status != 200:
            raise _refused(url, reply)
        size = reply.headers.get("content-length", "")
        return int(size) if re.fullmatch(r"[0-9]{1,15}", size) else 0

    def image_sha256(self, url: str) -> str:
        """Return the compressed image's checksum, or nothing: the public factory sells it (402)."""
        reply = self._ask("GET", f"{url}.sha256")
        found = re.match(r"[0-9a-f]{64}\b", reply.body.decode(errors="replace"))
        return found[0] if reply.status == 200 and found else ""

    def _ask(self, method: str, url: str, body: bytes | None = None) -> Reply:
        request = urllib.request.Request(url, body, {"User-Agent": USER_AGENT}, method=method)  # noqa: S310 - https, or what the file says
        try:
            with self._opener.open(request, timeout=self._timeout) as answer:
                return Reply(answer.status, _lower(answer.headers.items()), _body(answer))
        except urllib.error.HTTPError as error:
            return Reply(error.code, _lower(error.headers.items()), _body(error))
        except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
            said = f"no answer from {url}: {getattr(error, 'reason', '') or error!r}"
            raise Unreachable(said, hint="is the network up?") from error


def _body(answer: http.client.HTTPResponse | urllib.error.HTTPError) -> bytes:
    """Return the beginning of a body. Raises TimeoutError for one that only trickles."""
    left = LIMIT

    def read(size: int) -> bytes:
        nonlocal left
        piece: bytes = answer.read1(min(size, left)) if left else b""
        left -= len(piece)
        return piece

    return in_time.body(read, LIMIT)


def _is_digest(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[0-9a-f]{64}", value) is not None


def _lower(headers: object) -> dict[str, str]:
    return {str(key).lower(): str(value) for key, value in dict(headers).items()}  # type: ignore[call-overload]


def _refused(what: str, reply: Reply) -> ApiError:
    return ApiError(
        f"the Image Factory refused {what}: {reply.status}",
        code=str(reply.status),
        detail=reply.body.decode(errors="replace")[:500],
        hint="check `talos.version` and `image.extensions` in the cluster file",
        may_pass=reply.status in (429, 500, 502, 503, 504),
    )
