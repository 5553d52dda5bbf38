"""A restore is refused before anything is destroyed: while etcd has a quorum, and from what is no whole snapshot."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from lost_etcd import labels, machines, sail, take
from ship import Kept, Ship

from tallship.errors import SetupError, StepFailed, TimedOut


@pytest.fixture(scope="module")
def standing(kept: Kept) -> Iterator[tuple[Ship, bytes]]:
    """A cluster that nothing is wrong with, which stays so, and a snapshot."""
    with kept.copy() as ship:
        yield ship, take(ship).read_bytes()


def test_it_is_refused_while_etcd_has_a_quorum(standing: tuple[Ship, bytes], tmp_path: Path) -> None:
    ship, whole = standing
    file = tmp_path / "etcd.snapshot"
    file.write_bytes(whole)
    ship.world.reset_counters()
    with pytest.raises(StepFailed, match="etcd has a quorum") as caught:
        sail(ship, file)
    assert "nothing was changed" in caught.value.message
    assert set(ship.world.writes.values()) == {0}
    assert [each.boots for each in machines(ship)] == [1] * 3
    assert labels(ship) == []


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda whole: whole[:5000] + bytes([whole[5000] ^ 1]) + whole[5001:], "its hash is that of another content"),
        (lambda whole: whole[:-32], "not a database with its hash"),
        (lambda whole: whole[: len(whole) // 2], "not a database with its hash"),
        (lambda _: bytes(4096) + hashlib.sha256(bytes(4096)).digest(), "no meta page that is whole"),
    ],
)
def test_a_snapshot_that_is_not_whole_is_refused_before_anything_is_destroyed(
    standing: tuple[Ship, bytes], tmp_path: Path, spoil: Callable[[bytes], bytes], says: str
) -> None:
    ship, whole = standing
    file = tmp_path / "etcd.snapshot"
    file.write_bytes(spoil(whole))
    ship.world.reset_counters()
    with pytest.raises(SetupError, match=says) as caught:
        sail(ship, file)
    assert "backup list" in caught.value.hint
    assert set(ship.world.writes.values()) == {0}


def test_a_snapshot_that_is_not_there_is_told(standing: tuple[Ship, bytes], tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="cannot be read"):
        sail(standing[0], tmp_path / "nothing")


def test_an_etcd_that_only_fails_to_answer_is_not_taken_for_lost(standing: tuple[Ship, bytes], tmp_path: Path) -> None:
    ship, whole = standing
    file = tmp_path / "etcd.snapshot"
    file.write_bytes(whole)
    ship.world.fault("server-error", {"rpc": "EtcdStatus"}, times=0)
    ship.world.reset_counters()
    with pytest.raises(TimedOut, match="restore-checks") as caught:
        sail(ship, file)
    ship.world.do(ship.world.lab.faults.clear)
    assert "does not say whether it knows a leader" in caught.value.detail
    assert set(ship.world.writes.values()) == {0}
