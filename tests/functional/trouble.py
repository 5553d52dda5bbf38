"""What a run that meets trouble must keep: a good verdict, nothing doubled, nothing deleted, and a way on."""

from __future__ import annotations

from contextlib import closing

import pytest
from ship import WHOLE, Ship

from tallship.engine import Flow
from tallship.env import Env
from tallship.errors import ManyErrors, TallshipError
from tallship.flows import UP
from tallship.manifests import conditions


class Trouble:
    """A ship and what has been made so far; nothing of it may be gone or doubled later."""

    def __init__(self, ship: Ship) -> None:
        self.ship = ship
        self._kept: set[str] = set()

    def verdicts(self, flow: Flow[Env] = UP) -> list[TallshipError]:
        """Run into the trouble, which is over then; return the errors, each with a hint and without the token."""
        with pytest.raises(TallshipError) as caught:
            self.ship.make(flow)
        error = caught.value
        found = error.errors if isinstance(error, ManyErrors) else [error]
        for each in found:
            text = f"{each.message}\n{each.detail}\n{each.hint}"
            assert each.message and each.hint, f"{each!r} has no hint"
            assert self.ship.world.token not in text
            assert "Traceback" not in text
        self.ship.world.do(self.ship.world.lab.faults.clear)
        self.keeps()
        return found

    def verdict(self, flow: Flow[Env] = UP) -> TallshipError:
        """Run into the trouble and return the one error."""
        (found,) = self.verdicts(flow)
        return found

    def keeps(self) -> None:
        """Look that everything of the cluster that was there is there."""
        now = self._things()
        assert self._kept <= now, f"deleted: {self._kept - now}"
        self._kept = now

    def is_whole(self) -> None:
        """Look that the cluster is whole, each thing is there once, and nothing was deleted."""
        self.keeps()
        assert self.ship.inventory() == WHOLE
        with closing(self.ship.env()) as env:
            nodes = self.ship.world.run(lambda: env.workload.list("v1", "Node"))
        assert [conditions.node_ready(node) for node in nodes] == [True] * 3

    def _things(self) -> set[str]:
        """Return the cluster's servers, networks, load balancers, firewalls, groups and images, by id."""
        with closing(self.ship.env()) as env:
            return self.ship.world.run(lambda: things(env))


def things(env: Env) -> set[str]:
    """Return what the project holds, but for builders and keys, which come and go with an image."""
    nouns = ("servers", "networks", "load_balancers", "firewalls", "placement_groups", "images")
    return {
        f"{noun} {each['id']}"
        for noun in nouns
        for each in env.hetzner.list_documents(noun)
        if (each.get("labels") or {}).get("tallship-role") != "image-builder"
    }
