"""The objects of one cluster as etcd keeps them: under which key each is, and with which revision."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from tallship.lab.bbolt import BadDatabase, Pair
from tallship.lab.kube.resources import Resource

Document = dict[str, Any]

ROOT = "/registry/"
BUCKET = b"key"
COMPACTED = b"compact_rev_key"
"""Kubernetes: the API server writes this key whenever it compacts."""

_KEPT_AS = {"nodes": "minions", "services": "services/specs"}
"""Kubernetes: the two kinds of the lab whose folder is not called as their plural."""
_WITH_GROUP = ("apiextensions.k8s.io",)
_KEY, _CREATED, _MODIFIED, _VERSION, _VALUE = 1, 2, 3, 4, 5
"""etcd's mvccpb.KeyValue: the fields' numbers."""
_VARINT, _BYTES = 0, 2


def folder(resource: Resource) -> str:
    """Return where the objects of a resource are. Custom ones are kept by their group, built-in ones without."""
    named = _KEPT_AS.get(resource.plural, resource.plural) if not resource.group else resource.plural
    with_group = resource.is_custom or resource.group in _WITH_GROUP
    return f"{ROOT}{resource.group}/{named}/" if with_group else f"{ROOT}{named}/"


def own_part(document: Document) -> str:
    """Return the end of an object's key: its namespace, where it has one, and its name."""
    metadata = document["metadata"]
    return "/".join(filter(None, (metadata.get("namespace", ""), metadata["name"])))


def pairs(resource: Resource, documents: Iterable[Document]) -> Iterator[Pair]:
    """Yield what etcd's bucket `key` holds of a resource's objects."""
    for document in documents:
        text = json.dumps(document, separators=(",", ":")).encode()
        yield pair(
            f"{folder(resource)}{own_part(document)}".encode(), int(document["metadata"]["resourceVersion"]), text
        )


def pair(key: bytes, revision: int, value: bytes) -> Pair:
    """Return a key's newest version as etcd stores it."""
    text = _field(_KEY, key) + b"".join(_number(each, revision) for each in (_CREATED, _MODIFIED))
    return revision.to_bytes(8) + b"_" + bytes(8), text + _number(_VERSION, 1) + _field(_VALUE, value)


def newest(stored: Iterable[Pair]) -> tuple[int, dict[str, Document]]:
    """Return the store's revision, and the object under each key of Kubernetes'. Raises BadDatabase."""
    revision = 1
    found: dict[str, Document] = {}
    for place, content in stored:
        revision = max(revision, int.from_bytes(place[:8]))
        key, value = _read(content)
        if not key.startswith(ROOT):
            continue
        if place[17:18] == b"t":
            found.pop(key, None)
            continue
        try:
            found[key] = json.loads(value)
        except ValueError as error:
            raise BadDatabase(f"{key} is not what this API server writes") from error
    return revision, found


def _field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | _BYTES]) + _varint(len(content)) + content


def _number(number: int, value: int) -> bytes:
    return bytes([number << 3 | _VARINT]) + _varint(value)


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])


def _read(content: bytes) -> tuple[str, bytes]:
    """Return key and value of an encoded KeyValue."""
    found, at = {_KEY: b"", _VALUE: b""}, 0
    while at < len(content):
        tag, at = _read_varint(content, at)
        size, at = _read_varint(content, at)
        if tag & 7 == _BYTES:
            found[tag >> 3] = content[at : at + size]
            at += size
        elif tag & 7 != _VARINT:
            raise BadDatabase("a value is no KeyValue")
    return found[_KEY].decode(), found[_VALUE]


def _read_varint(content: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(content):
        value |= (content[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if content[at - 1] < 0x80:
            return value, at
    raise BadDatabase("a value ends too early")
