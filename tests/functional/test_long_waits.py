"""Every kind of step waits for its whole time: a person reads why, and nobody is asked too often meanwhile.

`make waits WRITE=1` lets all of them wait, and puts the figures into docs/reliability.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import counted
import pytest
from ship import Kept, Ship
from waits import ASKED, WAITS, Wait, begun, wait_in_vain

from tallship.adapters import in_time
from tallship.env import Env
from tallship.errors import ManyErrors, Unreachable

pytestmark = pytest.mark.timeout(300)
LIMITS = {"Hetzner": 30, "Kubernetes": 150, "Talos": 120}
"""Calls of one wait in any minute. Hetzner gives a project 60, and Cluster API's controllers live on them too."""
ALWAYS = (
    "another run builds it",
    "a namespace stays",
    "no load balancer",
    "it comes nowhere",
    "the firewall is in use",
)
ROWS: list[list[Any]] = []
ASKS: dict[str, Callable[[Env], object]] = {
    "Hetzner": lambda env: env.hetzner.list_servers(),
    "Kubernetes": lambda env: env.management.list("v1", "Secret"),
    "the factory": lambda env: env.web.register_schematic(env.site.factory_url, "{}"),
}


@pytest.fixture(scope="module", autouse=True)
def _rows_are_kept() -> Iterator[None]:
    yield
    counted.keep(counted.WAITS, ROWS)


def each_wait() -> list[Any]:
    """Return every wait as a parameter; those that are not tried always are `long`."""
    return [
        pytest.param(wait, id=f"{wait.step}: {wait.why}", marks=() if wait.why in ALWAYS else pytest.mark.long)
        for wait in WAITS
    ]


@pytest.mark.parametrize("wait", each_wait())
def test_a_long_wait_says_why_and_asks_seldom(
    wait: Wait, kept: Kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with begun(wait, kept, tmp_path) as ship:
        wait.prepare(ship, monkeypatch)
        waited = wait_in_vain(wait, ship)
    errors = waited.error.errors if isinstance(waited.error, ManyErrors) else [waited.error]
    for error in errors:
        assert (error.kind, bool(error.hint)) == ("TimedOut", True), repr(error)
    assert any(wait.says in line for line in waited.heard if line.startswith(f"{wait.step}: ")), waited.heard[-3:]
    assert {whom: count for whom, count in waited.worst.items() if count > LIMITS[whom] * wait.lanes} == {}
    ROWS.append(
        [wait.step, wait.why, round(waited.seconds), *(waited.worst[whom] for whom in ASKED), *waited.hourly.values()]
    )


@pytest.mark.parametrize("whom", ASKS)
def test_an_answer_that_only_trickles_is_cut_off(done: Ship, monkeypatch: pytest.MonkeyPatch, whom: str) -> None:
    """Each look at the clock is a minute later."""
    later = iter(range(0, 100_000, 61))
    monkeypatch.setattr(in_time, "now", lambda: float(next(later)))
    with closing(done.env()) as env, pytest.raises(Unreachable, match="no answer from"):
        done.world.run(lambda: ASKS[whom](env))
