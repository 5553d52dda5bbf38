from __future__ import annotations

from pathlib import Path

from tallship.lab.faults import Fault, Faults
from tallship.lab.store import Store


def test_documents_survive_the_process(tmp_path: Path) -> None:
    first = Store(tmp_path / "store.sqlite")
    first.table("servers")["1"] = {"name": "a"}
    first.table("servers")["2"] = {"name": "b"}
    del first.table("servers")["1"]
    assert first.next_id("server", 100) == 100
    again = Store(tmp_path / "store.sqlite")
    assert dict(again.table("servers")) == {"2": {"name": "b"}}
    assert again.next_id("server", 100) == 101
    first.close()
    again.close()


def test_a_fault_is_used_up() -> None:
    faults = Faults(Store())
    faults.add(Fault("slow", {"route": "GET /servers"}, {"seconds": 3}, times=2))
    assert faults.take("slow", route="GET /images") is None
    assert [faults.take("slow", route="GET /servers") is not None for _ in range(3)] == [True, True, False]


def test_a_fault_without_count_stays_until_it_is_cleared() -> None:
    faults = Faults(Store())
    faults.add(Fault("reset", times=0))
    assert all(faults.take("reset") for _ in range(5))
    assert faults.clear("reset") == 1
    assert faults.list() == []
