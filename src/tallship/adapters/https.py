"""Files and documents over HTTPS: verified, bounded, asked again after a passing error, secrets kept at home."""

from __future__ import annotations

import hashlib
import http.client
import io
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar, cast
from urllib.parse import urlsplit

from tallship import __version__
from tallship.engine import Clock
from tallship.errors import ApiError, Interrupted, SetupError, Unreachable

USER_AGENT = f"tallship/{__version__}"
TRIES = 4
"""The first request and three more."""
PASSING = frozenset({408, 429, 500, 502, 503, 504})
"""Statuses that the same request may not meet again a little later."""
LONGEST_WAIT = 60.0
"""Seconds: who asks us to wait longer is not waited for."""
LOAD_SECONDS = 1800.0
"""How long one file may take, so that a trickle ends."""
_CHUNK = 256 * 1024

T = TypeVar("T")
Progress = Callable[[int, int], None]
"""Told bytes that are here, and bytes in all; 0 where the server does not say."""


class Redirects(urllib.request.HTTPRedirectHandler):
    """Follows a redirect with the method of the first request, never out of HTTPS, and with no token to another host.

    urllib itself makes a HEAD a GET, which loads an image, and sends `Authorization` wherever it is led.
    """

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        """Return the next request, or None when it must not be followed: out of HTTPS, or with a body."""
        here, there = urlsplit(req.full_url), urlsplit(newurl)
        if here.scheme == "https" and there.scheme != "https":
            return None
        following = super().redirect_request(req, fp, code, msg, headers, newurl)
        if following is not None:
            following.method = req.get_method()
            if (here.scheme, here.netloc) != (there.scheme, there.netloc):
                following.remove_header("Authorization")
        return following

    def http_error_302(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: http.client.HTTPMessage
    ) -> Any:
        """Return the answer that the redirect leads to, or None when it leads to what is no URL."""
        try:
            return super().http_error_302(req, fp, code, msg, headers)
        except ValueError:
            return None

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


def opener(ca_file: Path | None) -> urllib.request.OpenerDirector:
    """Return what opens HTTPS with verified certificates; with `ca_file` those of its authority alone, and no proxy."""
    handlers: list[urllib.request.BaseHandler] = [
        urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=ca_file)),
        Redirects(),
    ]
    if ca_file is not None:
        handlers.append(urllib.request.ProxyHandler({}))
    return urllib.request.build_opener(*handlers)


@dataclass(frozen=True)
class Mirrors:
    """Which hosts are asked elsewhere: `{"ghcr.io": "https://mirror.example/ghcr"}`.

    Raises SetupError for a mirror that is not an HTTPS address.
    """

    of: Mapping[str, str]

    def __post_init__(self) -> None:
        for host, mirror in self.of.items():
            parts = urlsplit(mirror)
            if parts.scheme != "https" or not parts.hostname or parts.username or parts.query or parts.fragment:
                hint = "such as https://mirror.example/path, without user name and `?`"
                raise SetupError(f"the mirror of `{host}` is not an HTTPS address", hint=hint)

    def base(self, host: str) -> tuple[str, str]:
        """Return where a host is asked, and the path before every path there: empty, or `ghcr/`."""
        parts = urlsplit(self.of.get(host, f"https://{host}"))
        path = parts.path.strip("/")
        return f"https://{parts.netloc}", f"{path}/" if path else ""

    def url(self, url: str) -> str:
        """Return where a file is fetched that is published at `url`."""
        parts = urlsplit(url)
        root, prefix = self.base(parts.netloc)
        return f"{root}/{prefix}{parts.path.lstrip('/')}" if parts.netloc in self.of else url


@dataclass(frozen=True)
class Loaded:
    """A file that came whole."""

    size: int
    sha256: str


class Refused(Exception):
    """An answer other than 200, for the one who asked to put into words; `headers` have lower-case names."""

    def __init__(self, url: str, status: int, headers: Mapping[str, str], body: str) -> None:
        super().__init__(f"{status} from {url}")
        self.url = url
        self.status = status
        self.headers = headers
        self.body = body

    def as_error(self, what: str, hint: str) -> ApiError:
        """Return it in words: `what` names who refused, and what."""
        said, may_pass = f"{what}: {self.status}", self.status in PASSING
        if 300 <= self.status < 400:
            said, hint = (
                f"{what}: it leads to no HTTPS address, or in a circle",
                "a mirror must answer over HTTPS itself",
            )
        elif may_pass:
            asked = self.headers.get("retry-after", "")
            hint = f"run the same command again in {f'{asked} s' if asked.isdigit() else 'a few minutes'}"
        detail = f"{self.url}\n{self.body}".strip()
        return ApiError(said, code=str(self.status), detail=detail, hint=hint, may_pass=may_pass)


class Https:
    """Asks and loads. A passing error is met with a pause and asked again, at most three times.

    It ends with Interrupted at the next chunk or second once `is_stopped` says so. `ca_file` is as in `opener`.
    """

    def __init__(
        self, clock: Clock, is_stopped: Callable[[], bool], ca_file: Path | None = None, timeout: float = 20
    ) -> None:
        self._clock = clock
        self._is_stopped = is_stopped
        self._timeout = timeout
        self._opener = opener(ca_file)

    def read(self, url: str, limit: int, headers: Mapping[str, str] | None = None) -> tuple[bytes, Mapping[str, str]]:
        """Return a document and its headers. Raises Refused, Unreachable, and ApiError for more than `limit` bytes."""

        def once() -> tuple[bytes, Mapping[str, str]]:
            body = io.BytesIO()
            with self._open(url, headers or {}) as answer:
                self._copy(url, answer, body, limit, lambda _here, _whole: None)
            return body.getvalue(), _lower(answer.headers)

        return self._again(once)

    def load(self, url: str, to: Path, limit: int, tell: Progress, headers: Mapping[str, str] | None = None) -> Loaded:
        """Write a file. Raises what `read` raises, and SetupError when `to` cannot be written."""

        def once() -> Loaded:
            with self._open(url, headers or {}) as answer, writing(to), to.open("wb") as file:
                return self._copy(url, answer, file, limit, tell)

        return self._again(once)

    def _copy(self, url: str, answer: http.client.HTTPResponse, file: IO[bytes], limit: int, tell: Progress) -> Loaded:
        size, expected, digest, began = 0, _length(answer), hashlib.sha256(), self._clock.now()
        _refuse_larger(url, expected, limit)
        while True:
            with _speaking(url):
                chunk = answer.read1(_CHUNK)  # what has come, however little: `read` would wait for a whole chunk
            if not chunk:
                break
            size += len(chunk)
            _refuse_larger(url, size, limit)
            digest.update(chunk)
            file.write(chunk)
            tell(size, expected)
            self._heed_stop()
            if self._clock.now() - began > LOAD_SECONDS:
                said = f"{url} is too slow: {size} bytes in {LOAD_SECONDS:.0f} s"
                raise ApiError(said, hint="run the same command again where the network is faster, or name a mirror")
        _refuse_shorter(url, size, expected)
        return Loaded(size, digest.hexdigest())

    @contextmanager
    def _open(self, url: str, headers: Mapping[str, str]) -> Iterator[http.client.HTTPResponse]:
        request = urllib.request.Request(url, headers={"User-Agent": USER_AGENT, **headers})  # noqa: S310 - checked below
        if request.type != "https":
            raise ApiError(f"{url} is not an HTTPS address", hint="a mirror must answer over HTTPS itself")
        with _speaking(url):
            try:
                opened: AbstractContextManager[http.client.HTTPResponse] = self._opener.open(
                    request, timeout=self._timeout
                )
            except urllib.error.HTTPError as error:
                with error:
                    body = error.read(500).decode(errors="replace")
                raise Refused(url, error.code, _lower(error.headers), body) from None
        with opened as answer:
            if answer.status != http.HTTPStatus.OK:
                raise Refused(url, answer.status, _lower(answer.headers), "")
            yield answer

    def _again(self, once: Callable[[], T]) -> T:
        pause = 1.0
        for _ in range(TRIES - 1):
            self._heed_stop()
            try:
                return once()
            except Unreachable:
                self._wait(pause)
            except Refused as refusal:
                wanted = _wanted_wait(refusal, pause)
                if refusal.status not in PASSING or wanted > LONGEST_WAIT:
                    raise
                self._wait(wanted)
            pause *= 2
        return once()

    def _wait(self, seconds: float) -> None:
        until = self._clock.now() + seconds
        while (left := until - self._clock.now()) > 0:
            self._heed_stop()
            self._clock.sleep(min(left, 1.0))

    def _heed_stop(self) -> None:
        if self._is_stopped():
            hint = "run the same command again: it goes on from here"
            raise Interrupted("stopped while files were fetched", hint=hint)


@contextmanager
def writing(to: Path) -> Iterator[None]:
    """Raise SetupError for what the file system refuses."""
    try:
        yield
    except OSError as error:
        hint = "check who owns it, and the space left on the disk"
        raise SetupError(f"{to} cannot be written: {error.strerror or error}", hint=hint) from error


@contextmanager
def _speaking(url: str) -> Iterator[None]:
    """Raise ApiError for a certificate that is not accepted, Unreachable for all else that keeps an answer away."""
    try:
        yield
    except (OSError, http.client.HTTPException) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        if isinstance(reason, ssl.SSLCertVerificationError):
            raise ApiError(
                f"the certificate of {url} is not accepted",
                detail=str(reason),
                hint="does a proxy open its TLS? SSL_CERT_FILE names an authority to trust",
            ) from error
        said = str(reason) or type(reason).__name__
        raise Unreachable(f"no answer from {url}: {said}", hint="is the network up?") from error


def _refuse_larger(url: str, size: int, limit: int) -> None:
    if size > limit:
        hint = "is it, or its mirror, what it should be?"
        raise ApiError(f"{url} is larger than the {limit} bytes that it may have", hint=hint)


def _refuse_shorter(url: str, size: int, expected: int) -> None:
    if size < expected:
        raise Unreachable(f"{url} broke off after {size} of {expected} bytes", hint="is the network steady?")


def _wanted_wait(refusal: Refused, pause: float) -> float:
    """Return how long to wait: what the server asks for, in seconds; a date is not read."""
    asked = refusal.headers.get("retry-after", "").strip()
    return float(asked) if asked.isascii() and asked.isdigit() else pause


def _length(answer: http.client.HTTPResponse) -> int:
    announced = answer.headers.get("Content-Length", "")
    return int(announced) if announced.isascii() and announced.isdigit() and len(announced) < 16 else 0


def _lower(headers: object) -> dict[str, str]:
    return {key.lower(): value for key, value in cast("http.client.HTTPMessage", headers).items()}
