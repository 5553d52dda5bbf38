"""A cluster made against a whole lab in virtual time: the calls and the modelled seconds of each command."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab_world import LabWorld

from tallship.engine import Flow, Outcome, Run, Seen, Step, look
from tallship.env import Env, Site
from tallship.flows import UP
from tallship.manifests import image
from tallship.ops import cost, node_list, status
from tallship.spec import parse_spec


class Silence:
    """Hears a run and says nothing."""

    def started(self, step: Step[Any]) -> None:
        """A step begins."""

    def saw(self, step: Step[Any], seen: Seen) -> None:
        """A probe answered."""

    def acting(self, step: Step[Any], seen: Seen) -> None:
        """A change is made."""

    def ended(self, step: Step[Any], outcome: Outcome) -> None:
        """A step ended."""


@dataclass(frozen=True)
class Made:
    """What a command took: modelled seconds in all and by step, and the calls to Hetzner by route."""

    seconds: float
    steps: dict[str, float]
    calls: Counter[str]


class Voyage:
    """One lab and one cluster file; every command has a new Env, as a new process has."""

    def __init__(self, world: LabWorld, replicas: int, with_image: bool) -> None:
        reading = parse_spec(f"name: k8s\ncontrol_plane:\n  replicas: {replicas}\n")
        if reading.spec is None:
            raise RuntimeError(f"the cluster file is wrong: {reading}")
        self._spec, self._world = reading.spec, world
        self._folder = world.folder / "client"
        self._folder.mkdir(mode=0o700)
        if with_image:
            self._put_image()

    def up(self, flow: Flow[Env] = UP) -> Made:
        """Run a flow as `up` does, with the look at the nodes that ends it."""

        def work(env: Env) -> list[Outcome]:
            outcomes = Run(env, self._world.clock, Silence()).make(flow)
            node_list.list_nodes(env)
            return outcomes

        return self._made(work)

    def plan(self) -> Made:
        """Look at every step and ask for prices, as `plan` does."""

        def work(env: Env) -> list[Outcome]:
            outcomes = look(UP, env, self._world.clock)
            cost.monthly(env)
            return outcomes

        return self._made(work)

    def status(self) -> Made:
        """Look at the cluster as `status` does."""

        def work(env: Env) -> list[Outcome]:
            status.look(env)
            return []

        return self._made(work)

    def _made(self, work: Callable[[Env], list[Outcome]]) -> Made:
        clock = self._world.clock
        with closing(self._env()) as env:
            began = clock.now()
            outcomes = self._world.run(lambda: work(env))
            steps = {each.name: each.seconds for each in outcomes}
            return Made(clock.now() - began, steps, Counter(env.calls().get("hetzner", {})))

    def _env(self) -> Env:
        places = self._world.endpoints
        site = Site(
            self._world.token,
            hetzner_endpoint=places["hetzner"],
            hetzner_ca=self._world.ca_file,
            path=f"{self._world.bin_folder}{os.pathsep}{os.environ['PATH']}",
            factory_url=places["factory"],
            address_url=places["address"],
            ssh_port=2222,
            is_lab=True,
        )
        return Env(self._spec, site, self._folder, clock=self._world.clock)

    def _put_image(self) -> None:
        hetzner, labels = self._world.lab.hetzner, image.labels(self._spec)
        content = {"talos": self._spec.talos.version}
        self._world.do(lambda: hetzner.add_snapshot("Talos", labels, architecture="x86", disk_gb=10, content=content))


@contextmanager
def voyage(replicas: int = 3, *, with_image: bool = True) -> Iterator[Voyage]:
    """Give a new lab whose project is empty, or has the Talos image and nothing else."""
    with tempfile.TemporaryDirectory(prefix="tallship-bench-") as folder, LabWorld(Path(folder)) as world:
        yield Voyage(world, replicas, with_image)
