"""bbolt's file format, in which etcd keeps what it stores: written whole, and read (bbolt v1.4, format version 2).

A file is pages of 4096 bytes: two with facts about the file, a list of free ones, and a B+ tree for each bucket.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence

PAGE = 4096
Pair = tuple[bytes, bytes]
Buckets = Mapping[bytes, Sequence[Pair]]
"""What is in a file: pairs in the order of their keys, by the name of their bucket."""

_MAGIC, _VERSION = 0xED0CDAED, 2
_BRANCH, _LEAF, _META, _FREE = 1, 2, 4, 16
_IS_BUCKET = 1
_HEADER = struct.Struct("<QHHI")
_FACTS = struct.Struct("<IIIIQQQQQ")
_LEAF_ENTRY = struct.Struct("<IIII")
_BRANCH_ENTRY = struct.Struct("<IIQ")
_BUCKET = struct.Struct("<QQ")
_DEEPEST = 16
"""More levels than any tree that a file of etcd's could have."""


class BadDatabase(ValueError):
    """The bytes are no database of bbolt's."""


def write(buckets: Buckets) -> bytes:
    """Return a file with these buckets."""
    pages: list[bytes] = []
    entries = [(name, _BUCKET.pack(_tree(pages, buckets[name]), 0)) for name in sorted(buckets)]
    root = _tree(pages, entries, _IS_BUCKET)
    total = 3 + len(pages)
    free = _page(2, _FREE, 0, b"")
    return b"".join([_meta(0, root, total), _meta(1, root, total), *free, *pages])


def read(file: bytes) -> dict[bytes, list[Pair]]:
    """Return the pairs of every bucket. Raises BadDatabase."""
    try:
        root, size = _newest_root(file)
        found = {}
        for flags, name, value in _entries(file, root, size):
            if flags != _IS_BUCKET:
                raise BadDatabase("a pair lies beside the buckets")
            page, _ = _BUCKET.unpack_from(value)
            inline = value[_BUCKET.size :]
            pairs = _entries(file, page, size) if page else _leaf(inline, 0)
            found[name] = [(key, content) for _, key, content in pairs]
        return found
    except struct.error as error:
        raise BadDatabase("the file ends too early") from error


def _tree(pages: list[bytes], pairs: Sequence[Pair], flags: int = 0) -> int:
    """Put pairs into pages; returns the number of the root's page."""
    level = [_put(pages, _LEAF, part, flags) for part in _parts(pairs, _LEAF_ENTRY.size)] or [
        _put(pages, _LEAF, [], flags)
    ]
    while len(level) > 1:
        links = [(key, struct.pack("<Q", number)) for key, number in level]
        level = [_put(pages, _BRANCH, part, 0) for part in _parts(links, _BRANCH_ENTRY.size - 8)]
    return level[0][1]


def _parts(pairs: Sequence[Pair], each: int) -> Iterator[list[Pair]]:
    """Yield as many pairs at a time as one page has room for; a pair that is larger than a page stays alone."""
    part: list[Pair] = []
    used = _HEADER.size
    for key, value in pairs:
        size = each + len(key) + len(value)
        if part and used + size > PAGE:
            yield part
            part, used = [], _HEADER.size
        part.append((key, value))
        used += size
    if part:
        yield part


def _put(pages: list[bytes], kind: int, part: list[Pair], flags: int) -> tuple[bytes, int]:
    """Append a page of pairs; returns its first key and its number."""
    entry = _LEAF_ENTRY if kind == _LEAF else _BRANCH_ENTRY
    heads, body = b"", b""
    for index, (key, value) in enumerate(part):
        position = (len(part) - index) * entry.size + len(body)  # counted from the entry itself
        if kind == _LEAF:
            heads += entry.pack(flags, position, len(key), len(value))
            body += key + value
        else:
            heads += entry.pack(position, len(key), *struct.unpack("<Q", value))
            body += key
    number = 3 + len(pages)
    pages += _page(number, kind, len(part), heads + body)
    return (part[0][0] if part else b"", number)


def _page(number: int, kind: int, count: int, content: bytes) -> list[bytes]:
    """Return a page, and those that it runs over into."""
    overflow = (_HEADER.size + len(content) - 1) // PAGE
    whole = (_HEADER.pack(number, kind, count, overflow) + content).ljust((overflow + 1) * PAGE, b"\0")
    return [whole[start : start + PAGE] for start in range(0, len(whole), PAGE)]


def _meta(number: int, root: int, total: int) -> bytes:
    facts = _FACTS.pack(_MAGIC, _VERSION, PAGE, 0, root, 0, 2, total, 2 + number)
    return _page(number, _META, 0, facts + struct.pack("<Q", _fnv(facts)))[0]


def _fnv(text: bytes) -> int:
    """Return the 64 bits of FNV-1a."""
    found = 0xCBF29CE484222325
    for byte in text:
        found = ((found ^ byte) * 0x100000001B3) % 2**64
    return found


def _newest_root(file: bytes) -> tuple[int, int]:
    """Return the page of the root, and the size of pages, as the newest facts that are whole tell."""
    found = []
    for start in (0, PAGE):
        facts = file[start + _HEADER.size : start + _HEADER.size + _FACTS.size]
        magic, version, size, _, root, _, _, _, transaction = _FACTS.unpack(facts)
        (checksum,) = struct.unpack_from("<Q", file, start + _HEADER.size + _FACTS.size)
        if (magic, version, checksum) == (_MAGIC, _VERSION, _fnv(facts)):
            found.append((transaction, root, size))
    if not found:
        raise BadDatabase("invalid database")
    _, root, size = max(found)
    return root, size


def _entries(file: bytes, page: int, size: int, depth: int = 0) -> Iterator[tuple[int, bytes, bytes]]:
    """Yield (flags, key, value) of a tree in the order of the keys."""
    start = page * size
    _, kind, count, _ = _HEADER.unpack_from(file, start)
    if kind == _LEAF:
        yield from _leaf(file, start)
        return
    if kind != _BRANCH or depth == _DEEPEST:
        raise BadDatabase(f"page {page} is of no tree")
    for index in range(count):
        _, _, child = _BRANCH_ENTRY.unpack_from(file, start + _HEADER.size + index * _BRANCH_ENTRY.size)
        yield from _entries(file, child, size, depth + 1)


def _leaf(file: bytes, start: int) -> Iterator[tuple[int, bytes, bytes]]:
    _, _, count, _ = _HEADER.unpack_from(file, start)
    for index in range(count):
        at = start + _HEADER.size + index * _LEAF_ENTRY.size
        flags, position, key_size, value_size = _LEAF_ENTRY.unpack_from(file, at)
        middle = at + position + key_size
        yield flags, file[at + position : middle], file[middle : middle + value_size]
