"""What is read of an etcd snapshot, and that no damage is taken for one."""

from __future__ import annotations

import contextlib
import json
import struct
from collections.abc import Callable, Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tallship.manifests.snapshot import Damaged, Facts, facts

PAGE = 4096


def fnv(data: bytes) -> int:
    digest = 0xCBF29CE484222325
    for byte in data:
        digest = (digest ^ byte) * 0x100000001B3 % 2**64
    return digest


def page(number: int, flags: int, count: int, body: bytes, overflow: int = 0) -> bytes:
    return (struct.pack("<QHHI", number, flags, count, overflow) + body).ljust(PAGE * (overflow + 1), b"\0")


def meta(number: int, root: int, high_water: int, freelist: int, transaction: int) -> bytes:
    body = struct.pack("<IIIIQQQQQ", 0xED0CDAED, 2, PAGE, 0, root, 0, freelist, high_water, transaction)
    return page(number, 4, 0, body + struct.pack("<Q", fnv(body)))


def leaves(entries: Mapping[bytes, bytes], flags: int = 0) -> bytes:
    heads, bodies, at = b"", b"", 16 * len(entries)
    for number, (key, value) in enumerate(sorted(entries.items())):
        heads += struct.pack("<IIII", flags, at - 16 * number + len(bodies), len(key), len(value))
        bodies += key + value
    return heads + bodies


def branches(children: Mapping[bytes, int]) -> bytes:
    heads, bodies, at = b"", b"", 16 * len(children)
    for number, (key, child) in enumerate(children.items()):
        heads += struct.pack("<IIQ", at - 16 * number + len(bodies), len(key), child)
        bodies += key
    return heads + bodies


def inline(entries: Mapping[bytes, bytes]) -> bytes:
    return struct.pack("<QQQHHI", 0, 0, 0, 2, len(entries), 0) + leaves(entries)


def revision(main: int, key: bytes, value: bytes = b"v", *, deletes: bool = False) -> tuple[bytes, bytes]:
    name = struct.pack(">Qc8x", main, b"_") + (b"t" if deletes else b"")
    body = bytes((0x0A, len(key))) + key + (b"" if deletes else bytes((0x2A, len(value))) + value)
    return name, body


def database(freelist: bool = True, **pages: bytes) -> bytes:
    """A branch with two leaves in bucket `key`, small buckets that stand in their own values, one free page."""
    first = dict(revision(each, f"/registry/pods/{each}".encode()) for each in range(2, 40))
    second = dict(
        (
            revision(40, b"/registry/minions/a", b"x" * 100),
            revision(41, b"/registry/minions/b"),
            revision(42, b"/registry/minions/b", deletes=True),
            revision(43, b"compact_rev_key"),
            revision(44, b"/registry/minions/a"),
        )
    )
    member = json.dumps({"id": 7, "name": "k8s-control-plane-1", "peerURLs": ["https://10.0.0.1:2380"]}).encode()
    buckets = {
        b"alarm": inline({}),
        b"cluster": inline({b"clusterVersion": b"3.6.0"}),
        b"key": struct.pack("<QQ", 4, 0),
        b"members": inline({b"8e9e05c52164694d": member, b"9e9e05c52164694d": b'{"id": 8}'}),
        b"meta": inline({b"consistent_index": struct.pack(">Q", 1234), b"term": struct.pack(">Q", 3)}),
    }
    made = {
        "meta0": meta(0, 3, 8, 2 if freelist else 2**64 - 1, 10),
        "meta1": meta(1, 7, 8, 2 if freelist else 2**64 - 1, 9),
        "freelist": page(2, 16, 1, struct.pack("<Q", 7)),
        "root": page(3, 2, len(buckets), leaves(buckets, 1)),
        "branch": page(4, 1, 2, branches({min(first): 5, min(second): 6})),
        "first": page(5, 2, len(first), leaves(first)),
        "second": page(6, 2, len(second), leaves(second)),
        "free": page(7, 2, 0, b""),
    }
    return b"".join({**made, **pages}.values())


WHOLE = database()
FACTS = Facts(44, 1234, 3, ("", "k8s-control-plane-1"), "3.6.0", 39, 1)


def test_everything_that_a_backup_records_is_read() -> None:
    assert facts(WHOLE) == FACTS


def test_etcd_does_not_write_a_list_of_free_pages() -> None:
    assert facts(database(freelist=False)) == FACTS


def test_the_older_of_the_two_metas_does_not_count_unless_it_alone_is_whole() -> None:
    torn = page(0, 4, 0, b"\0" * 64)
    with pytest.raises(Damaged, match="page 7 is used twice"):  # what the older one calls its root is free by now
        facts(database(meta0=torn))
    swapped = {"meta0": meta(0, 7, 8, 2, 9), "meta1": meta(1, 3, 8, 2, 10)}
    assert facts(database(**swapped)) == FACTS
    assert facts(database(meta0=torn, meta1=swapped["meta1"])) == FACTS


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda: b"", "no meta page"),
        (lambda: b"\0" * 32768, "no meta page"),
        (lambda: WHOLE[:-PAGE], "has 28672 bytes"),
        (lambda: database(root=page(5, 2, 0, b"")), "page 3 says that it is page 5"),
        (lambda: database(root=page(3, 2, 0, b"")), "no bucket"),
        (lambda: database(root=page(3, 16, 0, b"")), "of kind 16"),
        (lambda: database(branch=page(4, 1, 0, b"")), "leads nowhere"),
        (lambda: database(branch=page(4, 1, 1, branches({b"": 9}))), "outside the file"),
        (lambda: database(branch=page(4, 1, 1, branches({b"": 4}))), "used twice"),
        (lambda: database(branch=page(4, 1, 1, branches({b"": 7}))), "used twice"),
        (lambda: database(branch=page(4, 1, 1, branches({b"\xff" * 9: 5}))), "belongs before"),
        (lambda: database(second=page(6, 2, 1, leaves({b"short": b""}))), "not written as etcd"),
        (
            lambda: database(second=page(6, 2, 1, leaves(dict([revision(1, b"k")])), overflow=2)[:PAGE]),
            "beyond the end",
        ),
        (lambda: database(second=page(6, 2, 60000, b"")), "belongs before"),
    ],
)
def test_damage_is_named(damage: Callable[[], bytes], words: str) -> None:
    with pytest.raises(Damaged, match=words):
        facts(damage())


@settings(max_examples=300, deadline=2000)
@given(st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), min_size=1, max_size=8))
def test_flipped_bytes_end_in_facts_or_in_damage_and_soon(flips: list[tuple[int, int]]) -> None:
    bent = bytearray(WHOLE)
    for at, value in flips:
        bent[at] = value
    with contextlib.suppress(Damaged):
        assert isinstance(facts(bytes(bent)).revision, int)


@settings(max_examples=300, deadline=2000)
@given(st.sampled_from((2, 3, 4, 5, 6)), st.integers(0, 200), st.integers(0, 255))
def test_flipped_bytes_of_the_pages_that_count_too(number: int, at: int, value: int) -> None:
    bent = bytearray(WHOLE)
    bent[number * PAGE + at] = value
    with contextlib.suppress(Damaged):
        assert isinstance(facts(bytes(bent)).revision, int)


@given(st.binary(max_size=9000))
def test_anything_else_is_damage(data: bytes) -> None:
    with pytest.raises(Damaged):
        facts(data)
