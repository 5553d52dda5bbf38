"""An S3-compatible object storage: whole files in and out, every error in our own words."""

from __future__ import annotations

import html
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from tallship.adapters.calls import Calls
from tallship.errors import ApiError, SetupError, TallshipError, Unreachable

if TYPE_CHECKING:
    from obstore.store import S3Store

    from tallship.adapters.storage_credentials import Credentials

PART_BYTES, PARTS_AT_ONCE = 8 << 20, 4
"""S3 takes at most 10 000 parts: 80 GB. So many of them stand in memory."""
CONNECT_SECONDS, REQUEST_SECONDS, RETRY_SECONDS, RETRIES = 5, 300, 20, 2
CREDENTIALS = "are the credentials of this storage, and may they use the bucket? `docs/backup.md` shows where they go"
HINTS = {
    "NoSuchBucket": "make the bucket in the storage's console, or correct `backup.s3.bucket` and `endpoint`",
    "AuthorizationHeaderMalformed": "`backup.s3.region` is not the storage's",
    "RequestTimeTooSkewed": "this machine's clock is wrong",
}
"""One thing to do, by the storage's word for the error (Amazon S3 API reference, error responses)."""


@dataclass(frozen=True)
class Place:
    """Where in which storage objects stand; `prefix` ends without a slash."""

    endpoint: str
    bucket: str
    prefix: str
    region: str

    def __str__(self) -> str:
        return f"{self.endpoint}/{self.bucket}/{self.prefix}"


@dataclass(frozen=True)
class Object:
    """One object, as the storage lists it; its name is without the prefix."""

    name: str
    size_bytes: int
    modified: datetime


class ObjectStorage:
    """The objects of one place. Each verb raises ApiError, Unreachable or SetupError; no error tells a credential."""

    def __init__(self, place: Place, credentials: Credentials) -> None:
        self.place = place
        self.calls = Calls("object storage")
        """Verbs used, by name."""
        self._store = _open(place, credentials)

    def list(self) -> list[Object]:
        """Return what stands directly below the prefix; a call for each 1000 objects."""
        import obstore

        with self._translated("list"):
            found = obstore.list_with_delimiter(self._store, f"{self.place.prefix}/")
        return [Object(Path(each["path"]).name, each["size"], each["last_modified"]) for each in found["objects"]]

    def put(self, name: str, file: Path) -> None:
        """Store a file under a name: whole or not at all; a large one in parts."""
        import obstore

        size = file.stat().st_size
        with self._translated("put"):
            obstore.put(self._store, self._key(name), file, chunk_size=PART_BYTES, max_concurrency=PARTS_AT_ONCE)
            stored = obstore.head(self._store, self._key(name))["size"]
        if stored != size:
            raise ApiError(f"{self.place} has {stored} bytes of {name}, which has {size}", hint="run the command again")

    def get(self, name: str, target: Path) -> None:
        """Write an object into a private file, in pieces, or leave no file. Raises ApiError, `NoSuchKey` among them."""
        import obstore

        with self._translated("get"):
            stream = obstore.get(self._store, self._key(name)).stream(min_chunk_size=PART_BYTES)
            try:
                with open(target, "wb", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
                    for chunk in stream:
                        file.write(memoryview(chunk))
            except BaseException:
                target.unlink(missing_ok=True)
                raise

    def delete(self, names: Iterable[str]) -> None:
        """Delete objects, one after another; one that is not there is none less."""
        import obstore

        for name in names:
            with self._translated("delete"):
                obstore.delete(self._store, self._key(name))

    def _key(self, name: str) -> str:
        return f"{self.place.prefix}/{name}"

    @contextmanager
    def _translated(self, verb: str) -> Iterator[None]:
        from obstore.exceptions import BaseError

        self.calls.note(verb)
        try:
            yield
        except (BaseError, FileNotFoundError) as error:  # the storage's own answer is in its text alone
            if isinstance(error, FileNotFoundError) and error.filename is not None:  # of this machine's disk
                raise
            raise _explained(self.place, str(error)) from None


def _open(place: Place, credentials: Credentials) -> S3Store:
    from obstore.store import S3Store

    return S3Store(
        config={
            "endpoint": place.endpoint,
            "bucket": place.bucket,
            "region": place.region,
            "access_key_id": credentials.key,
            "secret_access_key": credentials.secret,
            "virtual_hosted_style_request": False,
            **({"session_token": credentials.session} if credentials.session else {}),
        },
        client_options={
            "allow_http": place.endpoint.startswith("http://"),
            "connect_timeout": timedelta(seconds=CONNECT_SECONDS),
            "timeout": timedelta(seconds=REQUEST_SECONDS),
        },
        retry_config={"max_retries": RETRIES, "retry_timeout": timedelta(seconds=RETRY_SECONDS)},
    )


def _explained(place: Place, text: str) -> TallshipError:
    """Return what the storage said, without the request, in which the key stands."""
    told = re.search(r"<Code>(\w+)</Code>(?:.*?<Message>([^<]*)</Message>)?", text, re.DOTALL)
    status = re.search(r"status code: (\d{3})", text)
    where = f"object storage {place.endpoint}, bucket `{place.bucket}`"
    if status is None:
        reason = _reason(text)
        hint = "`backup.s3.endpoint` names it; is it an address of this storage, and can it be reached from here?"
        return Unreachable(f"{where}: no answer", detail=reason, hint=hint)
    code = told[1] if told else status[1]
    message = html.unescape(told[2] or "") if told else ""
    if code in HINTS or status[1] in ("401", "403") or code in ("InvalidAccessKeyId", "XAdminUserNotFound"):
        return SetupError(f"{where}: {code}", detail=message, hint=HINTS.get(code, CREDENTIALS))
    return ApiError(f"{where}: {code}", code=code, detail=message, may_pass=status[1].startswith("5"))


def _reason(text: str) -> str:
    """Return the innermost cause of a request that was never answered, where one is told."""
    if found := re.search(r"InvalidCertificate\(\s*(\w+)", text):
        return f"its certificate is not accepted: {found[1]}"
    words = (r"failed to lookup address information: [^\n\"]*", "Connection refused", "timed out", "reset by peer")
    return next((found[0] for each in words if (found := re.search(each, text))), "")
