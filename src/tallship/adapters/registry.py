"""A registry of OCI images: one file of an image is fetched, every byte of it held against its digest."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode

from tallship.adapters import layers
from tallship.adapters.arrivals import PROGRAM, place, workroom
from tallship.adapters.https import Https, Mirrors, Progress, Refused
from tallship.errors import ApiError

Document = dict[str, Any]
T = TypeVar("T")

ACCEPTED = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
LAYERS = (
    "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.docker.image.rootfs.diff.tar",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
)
BASELINES = {"amd64": "v1", "arm64": "v8"}
"""The variant of an architecture that every such machine runs."""
MANIFEST_LIMIT = 4 * 1024**2
"""OCI distribution specification: no manifest needs to be larger."""
LAYER_LIMIT = 512 * 1024**2
LAYER_COUNT = 128
_TOKEN_LIMIT = 64 * 1024
_REFERENCE = re.compile(
    r"(?P<host>[a-z0-9.-]+(?::\d+)?)/(?P<repository>[a-z0-9]+(?:[._/-]+[a-z0-9]+)*)"
    r":(?P<tag>\w[\w.-]{0,127})(?:@(?P<digest>sha256:[0-9a-f]{64}))?",
    re.ASCII,
)
_HINT = "is the image there, and is the mirror complete? `programs.path` names a folder that has the programs already"
_ODD = "is it, or its mirror, what its publisher released?"


@dataclass(frozen=True)
class Descriptor:
    """What a manifest says of something else: its kind, its digest (`sha256:…`) and its size in bytes."""

    kind: str
    digest: str
    size: int

    @classmethod
    def read(cls, document: Document) -> Descriptor:
        """Return it. Raises KeyError, TypeError, ValueError for what is none."""
        digest, size = document["digest"], document["size"]
        if not re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
            raise ValueError(f"digest {digest[:100]!r} is not a sha256")
        if type(size) is not int or size < 0:
            raise ValueError(f"size {size!r}")
        return cls(str(document["mediaType"]), digest, size)


class Registry:
    """All registries; `mirrors` names for a host where else to ask: its path comes before the repository's name.

    `ghcr.io/a/b` is asked of the mirror `https://mirror.example/ghcr` as `https://mirror.example/v2/ghcr/a/b`.
    """

    def __init__(self, https: Https, mirrors: Mapping[str, str] | None = None) -> None:
        self._https = https
        self._mirrors = Mirrors(mirrors or {})

    def fetch(self, image: str, path: str, platform: str, to: Path, tell: Progress) -> None:
        """Write the file at `path` in an image such as `ghcr.io/syself/caph:v1.0.7` to `to`, mode 0755.

        `platform` is `linux/amd64`. `to` gets its name when everything was verified and is on the disk. Raises
        ApiError, Unreachable, SetupError when `to` cannot be written, Interrupted.
        """
        repository = _Repository(self._https, self._mirrors, image)
        try:
            found = repository.list_layers(platform)
            with workroom(to) as room:
                load = _Layers(repository, found, room, tell)
                layers.extract(path, load.from_the_top(), room / "file", image)
                place(room / "file", to, PROGRAM)
        except Refused as refusal:
            raise refusal.as_error(f"the registry refused {image}", _HINT) from refusal


class _Repository:
    """One repository of one registry, with the token that it asks for."""

    def __init__(self, https: Https, mirrors: Mirrors, image: str) -> None:
        found = _REFERENCE.fullmatch(image)
        if found is None:
            raise ApiError(f"`{image}` is not the name of an image", hint="such as ghcr.io/syself/caph:v1.0.7")
        root, prefix = mirrors.base(found["host"])
        self._https = https
        self._image = image
        self._digest: str = found["digest"] or ""
        self._tag: str = found["tag"]
        self._name = prefix + found["repository"]
        self._url = f"{root}/v2/{self._name}"
        self._headers: dict[str, str] = {}

    def list_layers(self, platform: str) -> list[Descriptor]:
        """Return the layers of the image for one platform, the uppermost last."""
        with _promised(f"the manifest of {self._image}"):
            manifest = self._manifest(self._digest or self._tag, None)
            if "manifests" in manifest:
                chosen = _chosen(manifest["manifests"], platform, self._image)
                manifest = self._manifest(chosen.digest, chosen.size)
            else:
                self._check_platform(Descriptor.read(manifest["config"]), platform)
            return _layers(manifest)

    def load(self, layer: Descriptor, to: Path, tell: Progress) -> None:
        """Write a layer, as it is packed, and hold it against its digest."""
        url = f"{self._url}/blobs/{layer.digest}"
        got = self._authorized(lambda headers: self._https.load(url, to, layer.size, tell, headers))
        self._verify(layer.digest, layer.size, f"sha256:{got.sha256}", got.size)

    def _check_platform(self, config: Descriptor, platform: str) -> None:
        """Raise ApiError when the image, which has no index, is for another platform."""
        document = json.loads(self._document("blobs", config.digest, config.size)[0])
        has = f"{document['os']}/{document['architecture']}"
        if has != platform:
            raise _no_platform(self._image, platform, {has})

    def _manifest(self, reference: str, size: int | None) -> Document:
        body, headers = self._document("manifests", reference, size)
        said = headers.get("docker-content-digest", "")
        if not reference.startswith("sha256:") and said.startswith("sha256:"):
            self._verify(said, len(body), _digest(body), len(body))
        document: Document = json.loads(body)
        if ("manifests" in document) == ("layers" in document):  # neither, or one that two readers read differently
            raise ValueError(f"kind {document.get('mediaType', headers.get('content-type'))!r}")
        return document

    def _document(self, noun: str, reference: str, size: int | None) -> tuple[bytes, Mapping[str, str]]:
        """Return a manifest or small blob, held against its digest when the reference is one."""
        url, limit = f"{self._url}/{noun}/{reference}", MANIFEST_LIMIT if size is None else min(size, MANIFEST_LIMIT)
        body, headers = self._authorized(
            lambda headers: self._https.read(url, limit, {"Accept": ", ".join(ACCEPTED), **headers})
        )
        if reference.startswith("sha256:"):
            self._verify(reference, len(body) if size is None else size, _digest(body), len(body))
        return body, headers

    def _verify(self, wanted: str, size: int, found: str, found_size: int) -> None:
        if (wanted, size) == (found, found_size):
            return
        detail = f"wanted {wanted}, {size} bytes; came {found}, {found_size} bytes"
        raise ApiError(f"what the registry sent of {self._image} is not what was asked for", detail=detail, hint=_ODD)

    def _authorized(self, act: Callable[[Mapping[str, str]], T]) -> T:
        """Do it; where the registry wants a token, or another one, get it and do it once more."""
        try:
            return act(self._headers)
        except Refused as refusal:
            challenge = refusal.headers.get("www-authenticate", "")
            if refusal.status != 401 or not challenge.lower().startswith("bearer "):
                raise
            self._headers = {"Authorization": f"Bearer {self._token(challenge)}"}
        return act(self._headers)

    def _token(self, challenge: str) -> str:
        """Return a token to read this repository, given to everybody, from where the challenge says."""
        with _promised(f"how the registry gives a token for {self._image}"):
            return self._asked_for_token(challenge)

    def _asked_for_token(self, challenge: str) -> str:
        given = {key.lower(): quoted or bare for key, quoted, bare in _PARAMETERS.findall(challenge)}
        asked = {"service": given["service"]} if "service" in given else {}
        query = urlencode({**asked, "scope": f"repository:{self._name}:pull"})
        realm = str(given["realm"])
        body, _ = self._https.read(f"{realm}{'&' if '?' in realm else '?'}{query}", _TOKEN_LIMIT)
        answer = json.loads(body)
        token = answer.get("token") or answer["access_token"]
        if not re.fullmatch(r"[\x21-\x7e]+", token):
            raise ValueError("the token is not one")
        return str(token)


_PARAMETERS = re.compile(r'(\w+)=(?:"([^"]*)"|([^\s",]+))')


@dataclass(frozen=True)
class _Layers:
    """The layers of one image, each loaded when it is first asked for."""

    repository: _Repository
    descriptors: list[Descriptor]
    """The uppermost last, as a manifest has them."""
    room: Path
    tell: Progress

    def from_the_top(self) -> list[layers.Layer]:
        """Return them, the uppermost first."""
        return [partial(self._get, each) for each in reversed(self.descriptors)]

    def _get(self, layer: Descriptor) -> Path:
        file = self.room / layer.digest.removeprefix("sha256:")
        if not file.exists():
            before = sum(each.stat().st_size for each in self.room.iterdir())
            fresh = self.room / "layer"
            self.repository.load(layer, fresh, lambda here, _all: self.tell(before + here, before + layer.size))
            fresh.rename(file)
        return file


def _layers(manifest: Document) -> list[Descriptor]:
    """Return the layers of an image. Raises ApiError for one that cannot be read here."""
    found = [Descriptor.read(each) for each in manifest["layers"]]
    if len(found) > LAYER_COUNT:
        raise ValueError(f"{len(found)} layers")
    for each in found:
        if each.kind not in LAYERS:
            hint = "`programs.path` names a folder that has the programs already"
            raise ApiError(f"a layer of the kind `{each.kind}` cannot be unpacked here", hint=hint)
        if each.size > LAYER_LIMIT:
            raise ApiError(f"a layer of {each.size} bytes is larger than the {LAYER_LIMIT} it may have", hint=_ODD)
    return found


def _chosen(manifests: list[Document], platform: str, image: str) -> Descriptor:
    """Return the manifest for a platform out of an index; attestations are for `unknown/unknown`."""
    there: dict[str, Descriptor] = {}
    for each in manifests:
        its = each.get("platform", {})
        name = f"{its.get('os')}/{its.get('architecture')}"
        if its.get("variant", "") in ("", BASELINES.get(its.get("architecture", ""))):
            there.setdefault(name, Descriptor.read(each))
    if platform not in there:
        raise _no_platform(image, platform, set(there) - {"unknown/unknown"})
    return there[platform]


def _no_platform(image: str, platform: str, there: set[str]) -> ApiError:
    detail = f"it is there for {', '.join(sorted(there)) or 'none'}"
    return ApiError(f"{image} is not made for {platform}", code="platform", detail=detail, hint=_HINT)


@contextmanager
def _promised(what: str) -> Iterator[None]:
    """Raise ApiError for an answer that is not what the OCI specification promises."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        said = f"{what} is not what the OCI specification promises"
        raise ApiError(said, detail=repr(error)[:200], hint=_ODD) from error


def _digest(body: bytes) -> str:
    return f"sha256:{hashlib.sha256(body).hexdigest()}"
