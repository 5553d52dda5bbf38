"""500 nodes in a project of 5000 servers: every look ends soon, asks for pages alone, and takes little memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from huge import fill, shore
from measured import MOST_MB, tallship
from ship import Kept, Ship

from tallship.engine import look
from tallship.env import Env
from tallship.flows import UP
from tallship.manifests import diagnosis
from tallship.ops import bill, destroy, firewall_view, image_stock, status
from tallship.ops.picture import gather

NODES, SERVERS, PLANES = 500, 5000, 3
PAGE, LIST = 50, 500
"""Entries of a page of Hetzner's, and objects of a page of Kubernetes'."""
OWN_PAGES = -(-(NODES + PLANES) // PAGE)
ALL_PAGES = -(-SERVERS // PAGE)


@pytest.fixture(scope="module")
def sea(kept: Kept) -> Iterator[Ship]:
    with kept.copy() as ship:
        fill(ship.world, ship.spec, NODES, SERVERS)
        yield ship


def seen(ship: Ship, work: Callable[[Env], Any]) -> tuple[Any, dict[str, dict[str, int]]]:
    """Return what a look finds, and the calls that it made."""
    with closing(ship.env()) as env:
        return ship.world.run(lambda: work(env)), env.calls()


def test_status_shows_each_node_and_asks_for_pages(sea: Ship) -> None:
    found, calls = seen(sea, status.look)
    assert (found.unseen, len(found.nodes)) == ([], NODES + PLANES)
    assert calls["hetzner"]["GET /servers"] == OWN_PAGES
    assert sum(calls["hetzner"].values()) <= OWN_PAGES + 4
    assert sum(sum(calls[name].values()) for name in ("management", "workload")) <= 8
    # Each node is asked for its stage, by way of one connection; etcd is asked about on control planes alone.
    assert sum(calls["talos"].values()) <= NODES + 5 * PLANES
    assert [each.stage for each in found.nodes].count("running") == PLANES


def test_a_diagnosis_looks_at_each_node_once(sea: Ship) -> None:
    picture, calls = seen(sea, gather)
    assert picture.unseen == {}
    assert len(picture.nodes) == NODES + PLANES
    assert calls["hetzner"]["GET /servers"] == OWN_PAGES
    assert [each.code for each in diagnosis.diagnose(picture)].count("server-orphan") == NODES


def test_a_plan_and_the_firewall_ask_for_the_clusters_own_servers(sea: Ship) -> None:
    outcomes, calls = seen(sea, lambda env: look(UP, env, env.clock))
    assert {each.error for each in outcomes} == {None}
    assert calls["hetzner"]["GET /servers"] <= 2 * OWN_PAGES
    found, calls = seen(sea, firewall_view.view)
    assert (found.problems, len(found.servers)) == ([], NODES + PLANES)
    assert calls["hetzner"]["GET /servers"] <= 3 * OWN_PAGES


def test_a_bill_and_the_snapshots_users_read_the_project_once(sea: Ship) -> None:
    found, calls = seen(sea, lambda env: destroy.leftovers(env))
    assert len(found) >= NODES + PLANES
    assert calls["hetzner"]["GET /servers"] == OWN_PAGES
    whole, calls = seen(sea, bill.whole_project)
    assert [line.noun for line in whole.lines].count("server") == SERVERS
    assert calls["hetzner"]["GET /servers"] == calls["hetzner"]["GET /primary_ips"] == ALL_PAGES
    verdicts, calls = seen(sea, image_stock.verdicts)
    assert [each.why for each in verdicts if each.delete is None]
    assert calls["hetzner"]["GET /servers"] == ALL_PAGES + 1


@pytest.fixture(scope="module")
def place(sea: Ship, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A folder from which `tallship` is run as a process of its own, and its environment."""
    folder = tmp_path_factory.mktemp("shore")
    return folder, shore(sea.world, sea.spec, sea.folder, folder)


@pytest.mark.parametrize(
    ("words", "code", "count"),
    [
        (("status",), 0, lambda data: len(data["nodes"]) == NODES + PLANES),
        (("plan",), 0, lambda data: {each["state"] for each in data["steps"]} == {"ready"}),
        (("diagnose", "--bundle", "bundle.tgz"), 0, lambda data: len(data["findings"]) >= NODES),
        (("firewall", "show"), 0, lambda data: len(data["firewall"]["servers"]) == NODES + PLANES),
        (("image", "prune", "--dry-run"), 0, lambda data: len(data["verdicts"]) == 1),
        (("destroy",), 2, lambda data: len(data["deleted"]["lines"]) >= NODES + PLANES),
    ],
)
def test_a_command_takes_little_memory(
    words: tuple[str, ...], code: int, count: Callable[[dict[str, Any]], bool], place: tuple[Path, dict[str, str]]
) -> None:
    done = tallship(*place, *words, "--output", "json")
    assert done.code == code, done.out[-2000:] + done.err[-2000:]
    assert count(done.data)
    assert done.peak_mb <= MOST_MB
