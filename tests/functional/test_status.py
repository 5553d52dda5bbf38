"""`tallship status`: everything on one screen with few calls, and whatever is down hides nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta

import pytest
from lab_world import ClientClock
from ship import Kept, Ship

from tallship.ops.status import Status, look

HETZNER_CALLS, KUBERNETES_CALLS, TALOS_CALLS = 6, 8, 5


@pytest.fixture(scope="module")
def standing(kept: Kept) -> Iterator[Ship]:
    with kept.copy() as ship:
        yield ship


def status(ship: Ship) -> Status:
    with closing(ship.env()) as env:
        return ship.world.run(lambda: look(env))


def test_a_healthy_cluster_is_shown_whole_and_nothing_is_wrong(standing: Ship) -> None:
    found = status(standing)
    assert (found.problems, found.unseen) == ([], [])
    assert (found.phase, found.managed_by) == ("Provisioned", "kind")
    assert found.control_plane == {"replicas": 3, "ready": 3, "initialized": True}
    assert found.versions["kubernetes_seen"] == ["v1.32.2"]
    assert found.versions["talos_seen"] == ["v1.12.2"]
    assert [each.etcd for each in found.nodes].count("leader") == 1
    assert {(each.location, each.stage) for each in found.nodes} == {("nbg1", "running")}
    assert all(each.age_seconds is not None and each.age_seconds > 0 for each in found.nodes)
    assert found.etcd["members"] == 3
    assert found.etcd["leader"] in {each.name for each in found.nodes}
    assert {each.name: each.problem for each in found.addons} == {"cilium": "", "hcloud-ccm": "", "talos-ccm": ""}
    assert [each.what for each in found.certificates if each.days < 300] == []
    assert found.backup is None


def test_it_asks_little(standing: Ship) -> None:
    with closing(standing.env()) as env:
        standing.world.run(lambda: look(env))
        calls = env.calls()
    assert sum(calls["hetzner"].values()) <= HETZNER_CALLS
    assert sum(sum(calls.get(name, {}).values()) for name in ("management", "workload")) <= KUBERNETES_CALLS
    assert sum(calls["talos"].values()) <= TALOS_CALLS * 3


def test_a_certificate_that_ends_soon_is_a_problem(standing: Ship, monkeypatch: pytest.MonkeyPatch) -> None:
    ends = min(each.ends for each in status(standing).certificates)
    now: list[datetime] = [ends - timedelta(days=59, hours=1)]
    monkeypatch.setattr(ClientClock, "today", lambda clock: now[0])
    told = [each.what for each in status(standing).problems if "ends in 59 days" in each.what]
    assert told
