"""Cilium's image is on the nodes before they need it; where it is not, nothing is worse than before."""

from __future__ import annotations

import pytest
from lab_world import LabWorld
from ship import Ship

from tallship.engine import Outcome, State, select
from tallship.flows import UP
from tallship.manifests import addons
from tallship.ops.images_ahead import CiliumPulled

WAITS = ("roll-out", "wait-nodes")
"""The steps that wait for nodes with a network."""


def waited(outcomes: list[Outcome]) -> float:
    return sum(each.seconds for each in outcomes if each.name in WAITS)


def pulls(world: LabWorld) -> list[list[str]]:
    return [machine.images for machine in world.do(world.lab.machines.list)]


def test_the_image_is_on_every_node_before_cilium_is_installed(world: LabWorld) -> None:
    ship = Ship(world)
    outcomes = ship.make()
    assert pulls(world) == [[addons.cilium_image(ship.spec)]] * 3
    assert waited(outcomes) < 25, "the agents did not have to wait for their image"
    world.reset_counters()
    assert ship.look()["pull-cilium"].state is State.READY
    assert ship.world.writes["talos"] == 0


@pytest.mark.long
def test_a_registry_that_refuses_does_not_end_the_run(world: LabWorld) -> None:
    world.fault("image-pull", times=0)
    ship = Ship(world)
    outcomes = ship.make()
    assert pulls(world) == [[], [], []]
    assert waited(outcomes) > 25, "the kubelets pulled it themselves"


@pytest.mark.parametrize("until", ["apply", "kubeconfig"])
def test_before_the_machines_answer_it_only_waits(world: LabWorld, until: str) -> None:
    ship = Ship(world)
    ship.make(select(UP, last=until))
    env = ship.env()
    try:
        seen = world.run(lambda: CiliumPulled().probe(env))
    finally:
        env.close()
    assert (seen.state, seen.detail) == (State.WORKING, "waiting for Talos on every machine")
