"""A registry and a release server of a test's own, over TLS on 127.0.0.1, and the storage that they redirect to."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import ssl
import tarfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tallship.adapters.https import Https
from tallship.lab.store import Store
from tallship.lab.world import Authority

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
GZIPPED = "application/vnd.oci.image.layer.v1.tar+gzip"
TOKEN = "secret-of-the-registry"
SECONDS = 20.0


class StillClock:
    """Time that passes only where somebody sleeps."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def now(self) -> float:
        return sum(self.slept)

    def today(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    def run_threads(self, bodies: Sequence[Callable[[], None]]) -> None:
        threads = [threading.Thread(target=each, daemon=True) for each in bodies]
        for each in threads:
            each.start()
        for each in threads:
            each.join(SECONDS)
            assert not each.is_alive()


@dataclass
class Answer:
    """What a path answers with."""

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    announced: int | None = None
    """Another length than the body's; -1: none, the end of the connection is that of the body."""
    hold: threading.Event | None = None
    """Waited for after half of the body."""
    on_half: Callable[[], None] | None = None
    """Called after half of the body."""


@dataclass(frozen=True)
class Asked:
    """One request."""

    path: str
    query: str
    authorization: str


class Server:
    """One host. A path has one answer, or several that come one after another; the last one stays."""

    def __init__(self, address: str, context: ssl.SSLContext) -> None:
        self.answers: dict[str, list[Answer]] = {}
        self.asked: list[Asked] = []
        self.token_wanted_for = "/none"
        self.challenge = ""
        self.token = TOKEN
        self._http = ThreadingHTTPServer((address, 0), _handler(self))
        self._http.daemon_threads = True
        self._http.socket = context.wrap_socket(self._http.socket, server_side=True)
        self.host = f"{address}:{self._http.server_port}"
        self.url = f"https://{self.host}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def put(self, path: str, *answers: Answer) -> None:
        self.answers[path] = list(answers)

    def times(self, path: str) -> int:
        return sum(each.path == path for each in self.asked)

    def close(self) -> None:
        self._http.shutdown()
        self._thread.join(SECONDS)
        self._http.server_close()

    def answer(self, path: str, query: str, authorization: str) -> Answer:
        self.asked.append(Asked(path, query, authorization))
        if path.startswith(self.token_wanted_for) and authorization != f"Bearer {self.token}":
            headers = {"WWW-Authenticate": self.challenge} if self.challenge else {}
            return Answer(b'{"errors":[{"code":"UNAUTHORIZED"}]}', 401, headers)
        waiting = self.answers.get(path, [Answer(b"no such thing", 404)])
        return waiting.pop(0) if len(waiting) > 1 else waiting[0]


def _handler(server: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path, _, query = self.path.partition("?")
            answer = server.answer(path, query, self.headers.get("Authorization", ""))
            length = len(answer.body) if answer.announced is None else answer.announced
            self.send_response(answer.status)
            for key, value in answer.headers.items():
                self.send_header(key, value)
            if length >= 0:
                self.send_header("Content-Length", str(length))
            self.end_headers()
            half = len(answer.body) // 2
            self.wfile.write(answer.body[:half])
            if answer.on_half is not None:
                answer.on_half()
            if answer.hold is not None:
                answer.hold.wait(SECONDS)
            self.wfile.write(answer.body[half:])

        def log_message(self, format: str, *args: Any) -> None:
            pass

        def handle(self) -> None:
            try:
                super().handle()
            except OSError:  # the client went away, as some tests want it to
                self.close_connection = True

    return Handler


@dataclass(frozen=True)
class Member:
    """One entry of a tar archive."""

    name: str
    body: bytes = b""
    kind: bytes = tarfile.REGTYPE
    link: str = ""


def symlink(name: str, to: str) -> Member:
    return Member(name, kind=tarfile.SYMTYPE, link=to)


def hardlink(name: str, to: str) -> Member:
    return Member(name, kind=tarfile.LNKTYPE, link=to)


def folder(name: str) -> Member:
    return Member(name, kind=tarfile.DIRTYPE)


def tar(*members: Member) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for each in members:
            entry = tarfile.TarInfo(each.name)
            entry.type, entry.linkname, entry.size, entry.mode = each.kind, each.link, len(each.body), 0o644
            archive.addfile(entry, io.BytesIO(each.body))
    return out.getvalue()


def packed(*members: Member) -> bytes:
    return gzip.compress(tar(*members), 1)


def sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def descriptor(body: bytes, kind: str, **more: Any) -> dict[str, Any]:
    return {"mediaType": kind, "digest": f"sha256:{sha256(body)}", "size": len(body), **more}


def as_json(document: object) -> bytes:
    return json.dumps(document).encode()


@cache
def _authority() -> Authority:
    return Authority(Store(), "releases")


class Releases:
    """Both servers, a client for them, and what was published."""

    def __init__(self, folder: Path) -> None:
        authority = _authority()
        self.ca_file = folder / "ca.pem"
        self.ca_file.write_text(authority.certificate_pem)
        self.main = Server("127.0.0.1", authority.server_tls("127.0.0.1"))
        self.storage = Server("127.0.0.2", authority.server_tls("127.0.0.2"))
        self.main.token_wanted_for = "/v2/"
        self.main.challenge = f'Bearer realm="{self.main.url}/token",service="registry.test",scope="repository:x:pull"'
        self.main.put("/token", Answer(as_json({"token": TOKEN})))
        self.clock = StillClock()
        self.stop = threading.Event()
        self.https = Https(self.clock, self.stop.is_set, self.ca_file, timeout=5)
        self.mirrors = {"ghcr.io": self.main.url, "dl.k8s.io": self.main.url}

    def put_blob(self, repository: str, body: bytes) -> str:
        """Publish a blob in the storage, with a redirect to it; returns its path at the registry."""
        path = f"/v2/{repository}/blobs/sha256:{sha256(body)}"
        self.storage.put(f"/{sha256(body)}", Answer(body))
        self.main.put(path, Answer(b"", 307, {"Location": f"{self.storage.url}/{sha256(body)}?signature=private"}))
        return path

    def put_manifest(self, repository: str, reference: str, document: object) -> dict[str, Any]:
        """Publish a document by its digest, and by a tag unless that is empty; returns its descriptor."""
        body = as_json(document)
        found = descriptor(body, INDEX if isinstance(document, dict) and "manifests" in document else MANIFEST)
        headers = {"Docker-Content-Digest": found["digest"]}
        for each in filter(None, (found["digest"], reference)):
            self.main.put(f"/v2/{repository}/manifests/{each}", Answer(body, 200, headers))
        return found

    def manifest(
        self, repository: str, layers: Sequence[bytes], kind: str = GZIPPED, architecture: str = "amd64"
    ) -> dict[str, Any]:
        """Publish layers, the uppermost last, and a configuration; returns the manifest that names them."""
        config = as_json({"os": "linux", "architecture": architecture})
        for each in (*layers, config):
            self.put_blob(repository, each)
        described = [descriptor(each, kind) for each in layers]
        return {"schemaVersion": 2, "mediaType": MANIFEST, "config": descriptor(config, CONFIG), "layers": described}

    def publish(self, image: str, *layers: bytes, architecture: str = "amd64") -> None:
        """Publish `REPOSITORY:TAG` for one platform, with an attestation beside it as builders make it."""
        repository, _, tag = image.partition(":")
        ours = self.put_manifest(repository, "", self.manifest(repository, layers, architecture=architecture))
        attestation = descriptor(b"{}", MANIFEST, platform={"os": "unknown", "architecture": "unknown"})
        entries = [attestation, {**ours, "platform": {"os": "linux", "architecture": architecture}}]
        self.put_manifest(repository, tag, {"schemaVersion": 2, "mediaType": INDEX, "manifests": entries})

    def close(self) -> None:
        self.main.close()
        self.storage.close()


@contextmanager
def releases(folder: Path) -> Iterator[Releases]:
    made = Releases(folder)
    try:
        yield made
    finally:
        made.close()


def left_in(place: Path) -> list[str]:
    """Return the names of everything in a folder."""
    return sorted(each.name for each in place.iterdir()) if place.exists() else []
