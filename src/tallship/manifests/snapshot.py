"""Reads an etcd snapshot, a bbolt file, and checks its pages: pure, over a buffer.

bbolt v1.4 (`internal/common/page.go`, `meta.go`, `bucket.go`) and etcd v3.6 (`server/storage/schema`,
`api/mvccpb/kv.proto`) say what stands where. Numbers of bbolt are little-endian, those of etcd big-endian.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

Buffer = bytes | memoryview

MAGIC, VERSION = 0xED0CDAED, 2
BRANCH, LEAF, META, FREELIST = 1, 2, 4, 16
IS_BUCKET = 1
MAX_DEPTH = 32
"""Of a tree of pages: one of so many levels would hold more than any disk does."""
_PAGE_SIZES = tuple(512 << power for power in range(8))
_META_PLACES = (0, *_PAGE_SIZES)
"""There are two meta pages, and only they tell how large a page is."""

_PAGE = struct.Struct("<QHHI")
_META = struct.Struct("<IIIIQQQQQQ")
_LEAF = struct.Struct("<IIII")
_BRANCH = struct.Struct("<IIQ")
_BUCKET = struct.Struct("<QQ")
_REVISION = struct.Struct(">Q")
_META_AT = _PAGE.size
_KEYS, _NODES = b"/registry/", b"/registry/minions/"
_NO_FREELIST = 0xFFFFFFFFFFFFFFFF


class Damaged(ValueError):
    """The file is no database that etcd could begin with; the text says where it is wrong."""


@dataclass(frozen=True)
class Facts:
    """What a snapshot holds."""

    revision: int
    """The store's: that of its newest change."""
    consistent_index: int
    """The newest entry of Raft's log that is in it."""
    term: int
    members: tuple[str, ...]
    """Names; a member that never started has none."""
    cluster_version: str
    keys: int
    """Live ones of Kubernetes, under /registry/."""
    nodes: int
    """Kubernetes' Nodes among them."""


@dataclass
class _File:
    """The pages of one database: `free` are those that its tree must not reach."""

    data: memoryview
    page_bytes: int
    root: int
    high_water: int
    free: frozenset[int] = frozenset()
    visited: set[int] = field(default_factory=set)

    def page(self, number: int, *flags: int) -> tuple[int, int, int]:
        """Return offset, flags and count of a page that was not visited before. Raises Damaged."""
        if not 2 <= number < self.high_water:
            raise Damaged(f"page {number} lies outside the file")
        at = number * self.page_bytes
        own, flag, count, overflow = _PAGE.unpack_from(self.data, at)
        if own != number or flag not in flags:
            raise Damaged(f"page {number} says that it is page {own} of kind {flag}")
        if number + overflow >= self.high_water:
            raise Damaged(f"page {number} goes on beyond the end of the file")
        taken = range(number, number + overflow + 1)
        if not self.visited.isdisjoint(taken) or not self.free.isdisjoint(taken):
            raise Damaged(f"page {number} is used twice")
        self.visited.update(taken)
        return at, flag, count

    def end(self, at: int) -> int:
        """Return where the page at this offset ends, with what overflows it."""
        return at + (int(_PAGE.unpack_from(self.data, at)[3]) + 1) * self.page_bytes

    def items(self, root: int, depth: int = 0) -> Iterator[tuple[int, bytes, memoryview]]:
        """Yield flags, key and value of everything in a tree, in order. Raises Damaged."""
        if depth > MAX_DEPTH:
            raise Damaged(f"page {root} lies deeper than any tree is")
        at, flag, count = self.page(root, BRANCH, LEAF)
        if flag == LEAF:
            yield from _leaves(self.data[at : self.end(at)], count)
            return
        if not count:
            raise Damaged(f"page {root} is a branch that leads nowhere")
        for key, child in _children(self.data[at : self.end(at)], count):
            for number, (flags, own, value) in enumerate(self.items(child, depth + 1)):
                if number == 0 and own < key:
                    raise Damaged(f"page {child} holds a key that belongs before it")
                yield flags, own, value

    def bucket(self, value: memoryview) -> Iterator[tuple[int, bytes, memoryview]]:
        """Yield what a bucket holds; a small one stands in its own value. Raises Damaged."""
        root, _sequence = _unpack(_BUCKET, value, 0)
        if root:
            return self.items(root)
        inline = value[_BUCKET.size :]
        _own, flag, count, _overflow = _unpack(_PAGE, inline, 0)
        if flag != LEAF:
            raise Damaged(f"a bucket's own page is of kind {flag}")
        return _leaves(inline, count)


def facts(data: Buffer) -> Facts:
    """Return what a snapshot holds, after a look at every page of it. Raises Damaged.

    `data` is the database without the hash that a snapshot ends with.
    """
    try:
        return _facts(_opened(memoryview(data)))
    except (struct.error, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise Damaged(f"it cannot be read: {error}") from error


def _facts(file: _File) -> Facts:
    buckets = _buckets(file)
    meta, cluster = _pairs(file, buckets, b"meta"), _pairs(file, buckets, b"cluster")
    members = [_member(each) for each in _pairs(file, buckets, b"members").values()]
    revision, keys, nodes = _count(file.bucket(_need(buckets, b"key")))
    for name in sorted(set(buckets) - {b"meta", b"cluster", b"members", b"key"}):
        for _each in file.bucket(buckets[name]):  # for the sake of the pages
            pass
    return Facts(
        revision,
        _number(meta, b"consistent_index"),
        _number(meta, b"term"),
        tuple(sorted(members)),
        bytes(cluster.get(b"clusterVersion", b"")).decode(),
        keys,
        nodes,
    )


def _opened(data: memoryview) -> _File:
    """Return the file as its newest whole meta page describes it."""
    found = [each for each in (_meta(data, at) for at in _META_PLACES) if each is not None]
    if not found:
        raise Damaged("it has no meta page that is whole")
    _transaction, page_bytes, root, freelist, high_water = max(found)
    if high_water * page_bytes > len(data):
        raise Damaged(f"it has {len(data)} bytes, and says that {high_water * page_bytes} are in use")
    file = _File(data, page_bytes, root, high_water)
    if freelist != _NO_FREELIST:
        file.free = _free(file, freelist)
    return file


def _meta(data: memoryview, at: int) -> tuple[int, int, int, int, int] | None:
    """Return transaction, page size, root, free list and number of pages as a meta page tells them."""
    if at + _META_AT + _META.size > len(data):
        return None
    found = _META.unpack_from(data, at + _META_AT)
    magic, version, page_bytes, _flags, root, _sequence, freelist, high_water, transaction, checksum = found
    whole = checksum == _fnv(data[at + _META_AT : at + _META_AT + _META.size - 8])
    if not whole or (magic, version) != (MAGIC, VERSION) or page_bytes not in _PAGE_SIZES or at not in (0, page_bytes):
        return None
    return transaction, page_bytes, root, freelist, high_water


def _fnv(data: memoryview) -> int:
    """Return FNV-1a of 64 bits."""
    digest = 0xCBF29CE484222325
    for byte in data:
        digest = (digest ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return digest


def _free(file: _File, number: int) -> frozenset[int]:
    """Return the pages that nothing stands on; a count too large for its field stands before the numbers."""
    at, _flag, count = file.page(number, FREELIST)
    first = at + _PAGE.size
    if count == 0xFFFF:
        (count,) = struct.unpack_from("<Q", file.data, first)
        first += 8
    if first + 8 * count > file.end(at):
        raise Damaged(f"page {number} lists more free pages than it has room for")
    return frozenset(struct.unpack_from(f"<{count}Q", file.data, first))


def _leaves(page: memoryview, count: int) -> Iterator[tuple[int, bytes, memoryview]]:
    before: bytes | None = None
    for number in range(count):
        at = _PAGE.size + number * _LEAF.size
        flags, offset, key_bytes, value_bytes = _unpack(_LEAF, page, at)
        key_at = at + offset
        value_at = key_at + key_bytes
        if value_at + value_bytes > len(page):
            raise Damaged("an entry goes on beyond the end of its page")
        key = bytes(page[key_at:value_at])
        if before is not None and key <= before:
            raise Damaged("keys are out of order")
        before = key
        yield flags, key, page[value_at : value_at + value_bytes]


def _children(page: memoryview, count: int) -> Iterator[tuple[bytes, int]]:
    for number in range(count):
        at = _PAGE.size + number * _BRANCH.size
        offset, key_bytes, child = _unpack(_BRANCH, page, at)
        if at + offset + key_bytes > len(page):
            raise Damaged("an entry goes on beyond the end of its page")
        yield bytes(page[at + offset : at + offset + key_bytes]), child


def _unpack(what: struct.Struct, data: memoryview, at: int) -> tuple[int, ...]:
    return what.unpack_from(data, at)


def _buckets(file: _File) -> dict[bytes, memoryview]:
    """Return etcd's buckets by name."""
    found = {}
    for flags, name, value in file.items(file.root):
        if flags != IS_BUCKET:
            raise Damaged("there is something beside the buckets")
        found[name] = value
    return found


def _need(buckets: dict[bytes, memoryview], name: bytes) -> memoryview:
    if name not in buckets:
        raise Damaged(f"it has no bucket `{name.decode()}`: is it of etcd?")
    return buckets[name]


def _pairs(file: _File, buckets: dict[bytes, memoryview], name: bytes) -> dict[bytes, memoryview]:
    return {key: value for _flags, key, value in file.bucket(_need(buckets, name))}


def _count(entries: Iterator[tuple[int, bytes, memoryview]]) -> tuple[int, int, int]:
    """Return the newest revision, and how many of Kubernetes' keys and of its Nodes are live.

    Every revision stands there until it is compacted; a deletion ends in `t`.
    """
    newest, live = 0, set()
    for _flags, revision, value in entries:
        if len(revision) not in (17, 18) or revision[8:9] != b"_":
            raise Damaged("a revision is not written as etcd writes it")
        newest = _REVISION.unpack_from(revision)[0]  # they are in order
        key = _key(value)
        if revision[17:] == b"t":
            live.discard(key)
        elif key.startswith(_KEYS):
            live.add(key)
    return newest, len(live), sum(each.startswith(_NODES) for each in live)


def _key(value: memoryview) -> bytes:
    """Return the key of a `mvccpb.KeyValue`, whose first field it is."""
    if bytes(value[:1]) != b"\x0a":
        raise Damaged("a revision names no key")
    length, shift, at = 0, 0, 1
    while True:
        byte = bytes(value[at : at + 1])
        if not byte or shift > 28:
            raise Damaged("a revision's key has no end")
        length |= (byte[0] & 0x7F) << shift
        shift, at = shift + 7, at + 1
        if byte[0] < 0x80:
            break
    if at + length > len(value):
        raise Damaged("a revision's key has no end")
    return bytes(value[at : at + length])


def _number(pairs: dict[bytes, memoryview], name: bytes) -> int:
    """Return a number of etcd's own; 0 where it was never written."""
    return int(_REVISION.unpack(pairs[name])[0]) if name in pairs else 0


def _member(value: memoryview) -> str:
    document: Any = json.loads(bytes(value))
    name = document.get("name", "") if isinstance(document, dict) else None
    if not isinstance(name, str):
        raise Damaged("a member is not described as etcd does")
    return name
