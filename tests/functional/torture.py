"""Runs that are killed: what each voyage is, how it is killed, and what must be the same afterwards."""

from __future__ import annotations

import logging
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from lab_world import LabWorld
from ship import Kept, Recorder, Ship
from test_scale import KEYS
from test_upgrade import steer

from tallship.adapters.calls import LOG
from tallship.engine import Flow, Outcome, Run, Seen, Step, select
from tallship.env import Env
from tallship.flows import PIVOT, UP, change, destroy, upgrade_in_place
from tallship.manifests import image
from tallship.ops import backup
from tallship.ops.node_list import list_nodes
from tallship.ops.scale import counted
from tallship.ops.sides import moved_objects
from tallship.ops.upgrade import FileSays
from tallship.spec.load import load_spec_with

NOUNS = ("servers", "networks", "load_balancers", "firewalls", "placement_groups", "ssh_keys", "volumes", "images")
NEW_TALOS = "v1.12.3"


class Killed(BaseException):
    """The process ends here."""


class Killer(logging.Handler):
    """Hears of every call of the client before it is made; a client that is dead makes none any more.

    So whatever a run would still do on its way out stays undone, as after SIGKILL.
    """

    def __init__(self, after: int | None = None, asks: bool = False) -> None:
        super().__init__()
        self.after = after
        """The number of calls that are still made; None: all."""
        self.asks = asks
        """True to ask the run to stop at its next wait, as Ctrl-C does."""
        self.stop = threading.Event()
        self.calls = 0
        self.is_dead = False

    def emit(self, record: logging.LogRecord) -> None:
        self.calls += 1
        is_due = self.after is not None and self.calls > self.after
        if is_due and self.asks:
            self.stop.set()
        elif is_due or self.is_dead:
            self.kill()

    def kill(self) -> None:
        self.is_dead = True
        raise Killed


@dataclass
class Boundaries(Recorder):
    """Kills a run at the first boundary of a step at which none was killed before."""

    killer: Killer = field(default_factory=Killer)
    seen: set[str] = field(default_factory=set)

    def started(self, step: Step[Any]) -> None:
        self._at(f"{step.name} begins")

    def acting(self, step: Step[Any], seen: Seen) -> None:
        self._at(f"{step.name} acts: {re.sub(r'[0-9]+', 'N', seen.change)}")

    def ended(self, step: Step[Any], outcome: Outcome) -> None:
        self._at(f"{step.name} ends")

    def _at(self, boundary: str) -> None:
        if self.killer.is_dead:  # in another lane
            self.killer.kill()
        if boundary not in self.seen:
            self.seen.add(boundary)
            self.killer.kill()


@contextmanager
def told(killer: Killer) -> Iterator[None]:
    """Tell the killer of each call."""
    LOG.addHandler(killer)
    before, LOG.propagate = LOG.propagate, False
    LOG.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        LOG.removeHandler(killer)
        LOG.setLevel(logging.NOTSET)
        LOG.propagate = before


@dataclass(frozen=True)
class Voyage:
    """One command: from which state it begins, and what it runs."""

    name: str
    begins: str
    """`nothing`: an empty project; `done`: a finished cluster."""
    flow: Callable[[Ship, Env], Flow[Env]]
    prepare: Callable[[Ship], None] = lambda _ship: None
    is_repeated: bool = True
    """False when another run makes another thing, as a backup does."""

    def sail(self, ship: Ship, killer: Killer, recorder: Recorder | None = None) -> None:
        """Run it once, as a process of its own. Raises Killed, or Interrupted."""
        with told(killer), closing(ship.env()) as env:
            env.stop = killer.stop
            env.agreed = env.replace = True

            def make() -> None:
                run = Run(env, ship.world.clock, recorder or ship.recorder, stop=env.stop)
                run.make(self.flow(ship, env))

            ship.world.run(make)


def _scale(ship: Ship, env: Env) -> Flow[Env]:
    path = ship.folder / "tallship.yaml"
    ship.spec = env.spec = load_spec_with(path, {".".join(KEYS): "5"})
    return change(FileSays(path, {KEYS: 5}), counted(env))


def _upgrade(ship: Ship, env: Env) -> Flow[Env]:
    flow = steer(ship, kubernetes_version="v1.32.3")
    env.spec = ship.spec
    return flow


def _in_place(ship: Ship, env: Env) -> Flow[Env]:
    *_, file = [step for step in steer(ship, talos_version=NEW_TALOS) if isinstance(step, FileSays)]
    env.spec = ship.spec
    return upgrade_in_place(file)


def _write_file(ship: Ship) -> None:
    (ship.folder / "tallship.yaml").write_text("name: k8s\n")


def _add_image(ship: Ship) -> None:
    _write_file(ship)
    spec = load_spec_with(ship.folder / "tallship.yaml", {"talos.version": NEW_TALOS})
    labels, hetzner = image.labels(spec), ship.world.lab.hetzner
    content = {"talos": NEW_TALOS}
    ship.world.do(lambda: hetzner.add_snapshot("new", labels, architecture="x86", disk_gb=10, content=content))


VOYAGES = {
    each.name: each
    for each in (
        Voyage("image build", "nothing", lambda _ship, _env: select(UP, only="image")),
        Voyage("up", "nothing", lambda _ship, _env: UP),
        Voyage("pivot", "done", lambda _ship, _env: PIVOT),
        Voyage("upgrade", "done", _upgrade, _write_file),
        Voyage("upgrade --in-place", "done", _in_place, _add_image),
        Voyage("scale", "done", _scale, _write_file),
        Voyage(
            "backup save", "done", lambda _ship, _env: (backup.BackupSaved("name: k8s\n", False),), is_repeated=False
        ),
        Voyage("destroy", "done", lambda _ship, _env: destroy()),
    )
}


@contextmanager
def begun(voyage: Voyage, kept: Kept, folder: Path) -> Iterator[Ship]:
    """Give a ship where the voyage begins."""
    if voyage.begins == "done":
        with kept.copy() as ship:
            voyage.prepare(ship)
            yield ship
    else:
        folder.mkdir()
        with LabWorld(folder) as world:
            yield Ship(world, with_image=False)


def state(ship: Ship) -> dict[str, Any]:
    """Return what must be equal after a run that was killed and one that was not: names without what is random."""
    with closing(ship.env()) as env:
        return ship.world.run(lambda: {**_at_hetzner(env), **_in_the_cluster(env), **_here(ship)})


def _at_hetzner(env: Env) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for noun in NOUNS:
        listed = env.hetzner.list_documents(noun)
        found[noun] = Counter(_plain(each.get("name") or each.get("description") or "") for each in listed)
    return found


def _in_the_cluster(env: Env) -> dict[str, Any]:
    if not env.kubeconfig.exists():
        return {}
    nodes = Counter((each.role, each.ready, each.kubernetes, each.talos, bool(each.etcd)) for each in list_nodes(env))
    sides = {"inside": env.workload} | ({"outside": env.management} if env.management_kubeconfig.exists() else {})
    objects = {where: Counter(each["kind"] for each in moved_objects(kube)) for where, kube in sides.items()}
    paused = [each for kube in sides.values() for each in moved_objects(kube) if each["spec"].get("paused")]
    return {"nodes": nodes, "objects": objects, "paused": paused}


def _here(ship: Ship) -> dict[str, Any]:
    """Return the names of the files of this machine that bear no date, after a look that each can be read."""
    names = set()
    for path in ship.folder.rglob("*"):
        if (path.is_file() and path.suffix in (".yaml", ".json")) or path.name.endswith("config"):
            assert yaml.safe_load(path.read_text()) is not None, f"{path} is empty"
        names.add(_plain(str(path.relative_to(ship.folder))))
    return {"files": sorted(each for each in names if not re.match(r"(exports|backups)/.", each))}


def _plain(name: str) -> str:
    """Return a name without what is drawn by lot: Cluster API ends its names with five letters."""
    return re.sub(r"-[bcdfghjklmnpqrstvwxz2456789]{5}$", "-*", re.sub(r"[0-9a-f]{8,}|[0-9]{8}-[0-9]{6}", "#", name))
