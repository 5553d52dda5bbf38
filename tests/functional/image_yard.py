"""Where images are built in tests: one cluster file, its state folder, and what is left in the project."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
from lab_world import LabWorld
from ship import Recorder

from tallship.adapters.hetzner_resources import Image
from tallship.engine import Flow, Lanes, Outcome, Run, Seen, State, Step
from tallship.env import Env, Site
from tallship.errors import TallshipError
from tallship.manifests import image
from tallship.ops.image import ImageExists
from tallship.spec import Spec, parse_spec

ONE: Flow[Env] = (ImageExists(),)
NAME = "talos-amd64-v1.12.2"


class Yard:
    """One machine's state folder; every run has a new Env, as a new process has."""

    def __init__(self, world: LabWorld, text: str = "name: k8s\n", folder: str = "client") -> None:
        self.world = world
        self.spec = spec(text)
        self.folder = world.folder / folder
        self.folder.mkdir(mode=0o700, exist_ok=True)
        self.recorder = Recorder()
        self.said: list[str] = []
        self.stop = threading.Event()
        self.when_said: Callable[[str], None] = lambda _text: None

    def env(self) -> Env:
        """Return a new process' Env."""
        ends = self.world.endpoints
        site = Site(
            self.world.token,
            hetzner_endpoint=ends["hetzner"],
            hetzner_ca=self.world.ca_file,
            factory_url=ends["factory"],
            ssh_port=2222,
            is_lab=True,
        )
        return Env(self.spec, site, self.folder, self.world.clock, stop=self.stop, tell=self._tell)

    def make(self, flow: Flow[Env] = ONE) -> list[Outcome]:
        """Run a flow."""
        with closing(self.env()) as env:
            run = Run(env, self.world.clock, self.recorder, stop=self.stop)
            return self.world.run(lambda: run.make(flow))

    def verdict(self, flow: Flow[Env] = ONE) -> TallshipError:
        """Run into trouble; return the error, which has a hint and does not tell the token."""
        with pytest.raises(TallshipError) as caught:
            self.make(flow)
        error = caught.value
        text = f"{error.message}\n{error.detail}\n{error.hint}"
        assert error.hint
        assert self.world.token not in text
        assert "Traceback" not in text
        return error

    def probe(self, step: Step[Env] | None = None) -> Seen:
        """Look once."""
        found: Seen = self.ask(lambda env: (step or ImageExists()).probe(env))
        return found

    def ask(self, question: Callable[[Env], Any]) -> Any:
        """Return what client code answers."""
        with closing(self.env()) as env:
            return self.world.run(lambda: question(env))

    def images(self) -> list[Image]:
        """Return every snapshot of Talos."""
        found: list[Image] = self.ask(lambda env: env.hetzner.list_images("os=talos"))
        return found

    def named(self) -> list[int]:
        """Return the ids of the snapshots that CAPH finds by the spec's name."""
        found: list[Image] = self.ask(lambda env: env.hetzner.list_images(image.selector(self.spec)))
        return [each.id for each in found]

    def content(self, image_id: int) -> dict[str, Any]:
        """Return what is on a snapshot's disk."""
        kept: dict[str, Any] = self.world.do(lambda: self.world.lab.hetzner.project.get("image", image_id)["content"])
        return kept

    def is_clean(self) -> None:
        """Look that no builder, no key and no half snapshot is left."""
        left = self.ask(lambda env: (env.hetzner.list_servers(), env.hetzner.list_ssh_keys("managed-by")))
        assert left == ([], [])
        assert [each.status for each in self.images() if each.status != "available"] == []

    def snapshot(self, of: Spec | None = None, /, **labels: str) -> int:
        """Put a snapshot into the project as if it had been built there; return its id."""
        of = of or self.spec
        made: dict[str, Any] = self.world.do(
            lambda: self.world.lab.hetzner.add_snapshot(
                "Talos",
                {**image.labels(of), **labels},
                architecture=image.hetzner_architecture(of),
                disk_gb=40,
                content={"talos": of.talos.version},
            )
        )
        return int(made["id"])

    def _tell(self, _step: Step[Any], text: str) -> None:
        self.said.append(text)
        self.when_said(text)


def spec(text: str) -> Spec:
    """Return the spec of a good file."""
    found = parse_spec(text).spec
    assert found is not None
    return found


def lanes(*steps: Step[Env]) -> Flow[Env]:
    """Return a flow of steps side by side."""
    return (Lanes(tuple((step,) for step in steps)),)


READY = State.READY
