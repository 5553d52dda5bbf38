"""A cluster whose Talos is upgraded in place, and what is seen of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

from ship import Ship

from tallship.engine import Flow, Outcome, Run
from tallship.env import Env
from tallship.lab.talos.machine import Machine
from tallship.ops.upgrade_in_place import InPlaceAllowed, TalosUpgradedInPlace
from tallship.spec import parse_spec


def towards(ship: Ship, version: str, more: str = "") -> Ship:
    """Let the ship's file want another Talos."""
    spec = parse_spec(f"name: k8s\ntalos:\n  version: {version}\n{more}").spec
    assert spec is not None
    ship.spec = spec
    return ship


def flow() -> Flow[Env]:
    upgrade = TalosUpgradedInPlace()
    return (InPlaceAllowed(upgrade), upgrade)


def sail(ship: Ship, timeout: float | None = None) -> list[Outcome]:
    with closing(ship.env()) as env:
        return ship.world.run(lambda: Run(env, ship.world.clock, ship.recorder, timeout).make(flow()))


def machines(ship: Ship) -> list[Machine]:
    return sorted(ship.world.lab.machines.list(), key=lambda each: each.hostname)


def running(ship: Ship) -> list[str]:
    return [each.talos_version for each in machines(ship)]


def documents(ship: Ship, kind: tuple[str, str]) -> list[dict[str, Any]]:
    with closing(ship.env()) as env:
        return ship.world.run(lambda: env.home.list(*kind, "default"))


def nodes(ship: Ship) -> list[dict[str, Any]]:
    with closing(ship.env()) as env:
        return ship.world.run(lambda: env.workload.list("v1", "Node"))


def set_talos(ship: Ship, version: str) -> None:
    """Let all machines run a release, as if they had been upgraded to it long ago."""

    def change() -> None:
        for each in machines(ship):
            each.change(talos=version)

    ship.world.do(change)


@contextmanager
def observed(ship: Ship) -> Iterator[list[set[str]]]:
    """Look at the lab each time the clock of the client sleeps: who is not up and well just then."""
    seen: list[set[str]] = []
    clock = ship.world.clock
    sleep = clock.sleep

    def looked(seconds: float) -> None:
        sleep(seconds)
        seen.append({each.hostname for each in machines(ship) if each.stage != "running"})

    clock.sleep = looked  # type: ignore[method-assign]
    try:
        yield seen
    finally:
        del clock.sleep
