"""Steps that wait for their whole time: how each is made to, and how often whom is asked meanwhile."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from lab_world import ClientClock, LabWorld
from lost_etcd import machines, take, wipe
from ship import Kept, Recorder, Ship
from test_upgrade import steer

from tallship.adapters.calls import LOG
from tallship.engine import Flow, Outcome, Run, Step, select
from tallship.env import Env
from tallship.errors import TallshipError
from tallship.flows import PIVOT, UP, destroy
from tallship.lab.hetzner import packet_filter
from tallship.manifests import image
from tallship.ops import restore
from tallship.ops.image_builder import BUILDER_ROLE, OWNER
from tallship.ops.upgrade_in_place import InPlaceAllowed, TalosUpgradedInPlace
from tallship.spec import parse_spec

CAPH = "cluster-api-provider-hetzner"
ASKED = ("Hetzner", "Kubernetes", "Talos")
MINUTE = 60.0
POOL = "workers: [{name: general, replicas: 1}]\n"


class Meter(logging.Handler):
    """Hears of each call of the adapters, and keeps when it was made."""

    def __init__(self, clock: ClientClock) -> None:
        super().__init__()
        self._clock = clock
        self._made: list[tuple[float, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        outside, _ = record.args  # type: ignore[misc]
        self._made.append((self._clock.now(), str(outside)))

    def worst_minute(self, whom: str, begin: float, end: float) -> int:
        """Return the most calls of any minute of that time."""
        at = [when for when, outside in self._made if outside == whom and begin <= when <= end]
        return max((sum(first <= when < first + MINUTE for when in at) for first in at), default=0)

    def in_all(self, whom: str, begin: float, end: float) -> int:
        """Return the calls of that time."""
        return sum(outside == whom and begin <= when <= end for when, outside in self._made)


@contextmanager
def metered(clock: ClientClock) -> Iterator[Meter]:
    """Listen to the calls of all adapters."""
    meter = Meter(clock)
    LOG.addHandler(meter)
    before, LOG.propagate = LOG.propagate, False
    LOG.setLevel(logging.DEBUG)
    try:
        yield meter
    finally:
        LOG.removeHandler(meter)
        LOG.setLevel(logging.NOTSET)
        LOG.propagate = before


@dataclass
class Timed(Recorder):
    """Remembers when each step began and ended, too."""

    clock: ClientClock | None = None
    began: dict[str, float] = field(default_factory=dict)
    ended_at: dict[str, float] = field(default_factory=dict)

    def started(self, step: Step[Any]) -> None:
        super().started(step)
        assert self.clock is not None
        self.began[step.name] = self.clock.now()

    def ended(self, step: Step[Any], outcome: Outcome) -> None:
        super().ended(step, outcome)
        assert self.clock is not None
        self.ended_at[step.name] = self.clock.now()


Prepare = Callable[[Ship, pytest.MonkeyPatch], object]
"""Makes the wait one in vain."""


@dataclass(frozen=True)
class Wait:
    """A step that waits in vain."""

    step: str
    why: str
    begins: str
    """`nothing`, `image`: a project that has the image alone, or `done`: a finished cluster."""
    flow: Callable[[Ship, Env], Flow[Env]]
    prepare: Prepare
    says: str
    """What a person reads meanwhile, and in the verdict."""
    lanes: int = 1
    """How many such waits there are side by side."""


@dataclass(frozen=True)
class Waited:
    """What came of it."""

    seconds: float
    worst: dict[str, int]
    """The most calls of a minute, by whom they asked."""
    hourly: dict[str, int]
    error: TallshipError
    heard: list[str]


def only(name: str, flow: Flow[Env] = UP) -> Callable[[Ship, Env], Flow[Env]]:
    return lambda _ship, _env: select(flow, only=name)


def until(name: str) -> Callable[[Ship, Env], Flow[Env]]:
    return lambda _ship, _env: select(UP, last=name)


def fault(name: str, **match: str) -> Prepare:
    return lambda ship, _patch: ship.world.fault(name, match, times=0)


def by(deed: Callable[[Env], object]) -> Prepare:
    """Return what does something as a client."""

    def prepare(ship: Ship, _patch: pytest.MonkeyPatch) -> None:
        with closing(ship.env()) as env:
            ship.world.run(lambda: deed(env))

    return prepare


def another_builder(env: Env) -> None:
    labels = {image.ROLE: BUILDER_ROLE, image.BUILT_FOR: image.name(env.spec), OWNER: "other"}
    env.hetzner.create_server("builder-elsewhere", "cx23", "fsn1", "debian-12", labels, [])


def two_snapshots(ship: Ship, _patch: pytest.MonkeyPatch) -> None:
    spec = parse_spec("name: k8s\nworkers: [{name: arm, server_type: cax21}]\n").spec
    assert spec is not None
    ship.spec = spec
    ship.world.fault("action-stuck", {"command": "create_image"}, times=0)


def unfinished_init(env: Env) -> None:
    kind = ("clusterctl.cluster.x-k8s.io/v1alpha3", "Provider")
    (caph,) = (each for each in env.home.list(*kind) if "hetzner" in each["metadata"]["name"])
    env.home.delete(*kind, caph["metadata"]["name"], caph["metadata"]["namespace"])
    env.home.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "cert-manager-test"}})


def no_firewall_for_new_servers(ship: Ship, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(packet_filter, "FIREWALL_LAG", 1e6)
    with closing(ship.env()) as env:
        env.hetzner.create_server("late", "cx23", "nbg1", "debian-12", {ship.spec.names.owner_label: "owned"}, [])


def one_sick_member(ship: Ship, _patch: pytest.MonkeyPatch) -> None:
    ship.world.fault("etcd-member-unhealthy", {"machine": machines(ship)[0].hostname}, times=0)


def upgrade(ship: Ship, env: Env) -> Flow[Env]:
    flow, env.replace = steer(ship, kubernetes_version="v1.32.3"), True
    env.spec = ship.spec
    return flow


def in_place(ship: Ship, env: Env) -> Flow[Env]:
    steer(ship, talos_version="v1.12.3")
    env.spec = ship.spec
    step = TalosUpgradedInPlace()
    return (InPlaceAllowed(step), step)


def with_pool(ship: Ship, env: Env) -> Flow[Env]:
    spec = parse_spec(f"name: k8s\n{POOL}").spec
    assert spec is not None
    ship.spec = env.spec = spec
    return UP


def cordon(env: Env) -> None:
    for each in env.workload.list("v1", "Node"):
        env.workload.patch("v1", "Node", each["metadata"]["name"], "", {"spec": {"unschedulable": True}})


def service(env: Env) -> None:
    metadata = {"name": "web", "namespace": "default", "finalizers": ["example.com/stays"]}
    spec = {"type": "LoadBalancer", "ports": [{"port": 80}], "selector": {"a": "b"}}
    env.workload.apply({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec})


def restored(ship: Ship, _env: Env) -> Flow[Env]:
    return restore.flow(ship.world.folder / "etcd.snapshot")


def id_of(env: Env, name: str) -> int:
    return next(each.id for each in env.hetzner.list_servers(env.spec.names.owned_by_caph) if each.name == name)


def one_off(ship: Ship, patch: pytest.MonkeyPatch) -> None:
    take(ship)
    wipe(ship, 0, 1)
    by(lambda env: env.hetzner.power_off(id_of(env, machines(ship)[0].hostname)))(ship, patch)
    ship.world.wait(lambda: not machines(ship)[0].serves_talos, 30)


def wiped_and(name: str) -> Prepare:
    def prepare(ship: Ship, _patch: pytest.MonkeyPatch) -> None:
        take(ship)
        wipe(ship, 0, 1)
        ship.world.fault(name, {}, times=0)

    return prepare


def end(_ship: Ship, _env: Env) -> Flow[Env]:
    return destroy()


DARK, STUCK = fault("machine-never-boots"), fault("action-stuck", command="create_image")
WAITS = (
    Wait("image", "another run builds it", "nothing", only("image"), by(another_builder), "another run builds it"),
    Wait("image", "the snapshot never ends", "nothing", only("image"), STUCK, "make the snapshot"),
    Wait("image", "two never end", "nothing", until("image-workers"), two_snapshots, "make the snapshot", lanes=2),
    Wait(
        "capi-init", "a namespace stays", "done", only("capi-init"), by(unfinished_init), "namespace cert-manager-test"
    ),
    Wait("apply", "no load balancer", "image", until("apply"), fault("quota", route="POST /load_balancers"), "address"),
    Wait("wait-cp", "no machine boots", "image", until("wait-cp"), DARK, "3 Provisioned"),
    Wait("workers", "no group", "done", with_pool, fault("quota", route="POST /placement_groups"), "placement group"),
    Wait("wait-workers", "no worker boots", "done", with_pool, DARK, "0 of 1 workers are ready"),
    Wait("roll-out", "no new server boots", "done", upgrade, DARK, "is being made"),
    Wait("wait-nodes", "a member of etcd is sick", "done", only("wait-nodes"), one_sick_member, "not healthy"),
    Wait(
        "firewall-apply",
        "it comes nowhere",
        "done",
        only("firewall-apply"),
        no_firewall_for_new_servers,
        "pending on late",
    ),
    Wait("upgrade-in-place", "a node stays away", "done", in_place, DARK, "does not answer"),
    Wait(
        "pivot-checks", "no node takes Pods", "done", only("pivot-checks", PIVOT), by(cordon), "no node takes new Pods"
    ),
    Wait("destroy-services", "a Service stays", "done", end, by(service), "default/web"),
    Wait(
        "destroy-cluster",
        "servers stay",
        "done",
        end,
        fault("locked", route="DELETE /servers/{id}", agent=CAPH),
        "3 servers",
    ),
    Wait(
        *("destroy-sweep", "the firewall is in use", "done", end),
        fault("locked", route="DELETE /firewalls/{id}"),
        "left: firewall k8s",
    ),
    Wait("restore-checks", "a server is off", "done", restored, one_off, "does not answer"),
    Wait(
        "restore-reset", "no machine comes back", "done", restored, wiped_and("machine-never-boots"), "does not answer"
    ),
    Wait("restore-nodes", "a kubelet is gone", "done", restored, wiped_and("kubelet-fails"), "said nothing yet"),
)


@contextmanager
def begun(wait: Wait, kept: Kept, folder: Path) -> Iterator[Ship]:
    """Give a ship where the wait begins."""
    with ExitStack() as stack:
        if wait.begins == "done":
            yield stack.enter_context(kept.copy())
        else:
            yield Ship(stack.enter_context(LabWorld(folder)), with_image=wait.begins == "image")


def wait_in_vain(wait: Wait, ship: Ship) -> Waited:
    """Run until the step is late."""
    clock = ship.world.clock
    recorder = Timed(clock=clock)
    with metered(clock) as meter, closing(ship.env()) as env:
        flow = wait.flow(ship, env)
        with pytest.raises(TallshipError) as caught:
            ship.world.run(lambda: Run(env, clock, recorder).make(flow))
    assert clock.now() > recorder.began[wait.step], repr(caught.value)
    begin, late = recorder.began[wait.step], recorder.ended_at[wait.step]
    hours = (late - begin) / 3600
    return Waited(
        late - begin,
        {whom: meter.worst_minute(whom, begin, late) for whom in ASKED},
        {whom: round(meter.in_all(whom, begin, late) / hours) for whom in ASKED},
        caught.value,
        recorder.heard,
    )
