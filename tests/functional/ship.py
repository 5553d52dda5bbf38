"""One cluster file in a whole lab: what the functional tests sail."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab_world import LabWorld

from tallship.adapters.hetzner import Hetzner
from tallship.engine import Flow, Outcome, Run, Seen, Step, look
from tallship.env import Env, Site
from tallship.flows import UP
from tallship.lab import network
from tallship.manifests import image
from tallship.ops.cluster import find_control_plane
from tallship.spec import parse_spec

WHOLE = {"server": 3, "network": 1, "load balancer": 1, "image": 1, "builder": 0, "key": 0}


@dataclass
class Recorder:
    """Remembers everything a run says."""

    heard: list[str] = field(default_factory=list)

    def started(self, step: Step[Any]) -> None:
        self.heard.append(step.name)

    def saw(self, step: Step[Any], seen: Seen) -> None:
        self.heard.append(f"{step.name}: {seen}")

    def acting(self, step: Step[Any], seen: Seen) -> None:
        self.heard.append(f"{step.name}: {seen.change}")

    def ended(self, step: Step[Any], outcome: Outcome) -> None:
        self.heard.append(f"{step.name}: {outcome}")


class Ship:
    """One cluster file, its state folder and the lab; every run has a new Env, as a new process has."""

    def __init__(self, world: LabWorld, *, with_image: bool = True) -> None:
        reading = parse_spec("name: k8s\n")
        assert reading.spec is not None
        self.spec = reading.spec
        self.world = world
        self.folder = world.folder / "client"
        self.folder.mkdir(mode=0o700, exist_ok=True)
        self.recorder = Recorder()
        if with_image:
            labels, content = image.labels(self.spec), {"talos": self.spec.talos.version}
            world.do(
                lambda: world.lab.hetzner.add_snapshot("Talos", labels, architecture="x86", disk_gb=10, content=content)
            )

    def env(self) -> Env:
        site = Site(
            self.world.token,
            hetzner_endpoint=self.world.endpoints["hetzner"],
            hetzner_ca=self.world.ca_file,
            path=f"{self.world.bin_folder}{os.pathsep}{os.environ['PATH']}",
            factory_url=self.world.endpoints["factory"],
            address_url=self.world.endpoints["address"],
            ssh_port=2222,
            is_lab=True,
        )
        return Env(self.spec, site, self.folder, self.world.clock)

    def make(self, flow: Flow[Env] = UP) -> list[Outcome]:
        with closing(self.env()) as env:
            run = Run(env, self.world.clock, self.recorder, stop=threading.Event())
            return self.world.run(lambda: run.make(flow))

    def look(self) -> dict[str, Outcome]:
        with closing(self.env()) as env:
            return {each.name: each for each in self.world.run(lambda: look(UP, env, self.world.clock))}

    def inventory(self) -> dict[str, int]:
        """Count what Hetzner holds."""
        with closing(self.env()) as env:
            return self._count(env.hetzner)

    def _count(self, hetzner: Hetzner) -> dict[str, int]:
        owned = [each.rsplit(" ", 1)[0] for each in hetzner.list_owned(self.spec.names.owned_by_caph)]
        found = {noun: owned.count(noun) for noun in sorted(set(owned))}
        found["image"] = len(hetzner.list_images(image.selector(self.spec), "x86"))
        found["builder"] = len(hetzner.list_servers("tallship-role=image-builder"))
        found["key"] = len(hetzner.list_ssh_keys("managed-by=tallship"))
        return found


class Kept:
    """A cluster that was made once: each test that changes one begins with a copy of it.

    A copy stands in the same folder and the same network of 127.0.0.0/8, because both are written in its files: one
    copy at a time.
    """

    def __init__(self, folder: Path, *flows: Flow[Env]) -> None:
        self._folder = folder / "lab"
        self._original = folder / "kept"
        self._folder.mkdir()
        with LabWorld(self._folder, on_disk=True) as world:
            ship = Ship(world)
            for flow in flows:
                ship.make(flow)
            self._past = world.past
        network.take(None, self._past.network)
        shutil.move(self._folder, self._original)

    def give_back(self) -> None:
        """Free the network; no copy can be made any more."""
        network.give_back(self._past.network)

    @contextmanager
    def copy(self) -> Iterator[Ship]:
        """Give a copy, as if its lab had been stopped and started at the moment when the cluster was done."""
        shutil.rmtree(self._folder, ignore_errors=True)
        shutil.copytree(self._original, self._folder)
        with LabWorld(self._folder, on_disk=True, past=self._past) as world:
            ship = Ship(world, with_image=False)
            with closing(ship.env()) as env:
                world.wait(lambda: _is_seen_ready(env), 120)
            yield ship


def _is_seen_ready(env: Env) -> bool:
    """True when the controllers of a lab that was started again have seen the cluster as it is."""
    if not env.workload.is_up():
        return False
    found = find_control_plane(env)
    return found is not None and found["status"].get("readyReplicas") == env.spec.control_plane.replicas
