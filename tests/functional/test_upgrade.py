"""`tallship upgrade` by roll-out: allowed only when safe, one server at a time, gone on with after a kill."""

from __future__ import annotations

import re
from contextlib import closing

import pytest
from ship import Ship

from tallship.engine import Flow, Run
from tallship.env import Env
from tallship.errors import ManyErrors, StepFailed, TallshipError, TimedOut
from tallship.flows import UP, change
from tallship.manifests import conditions, image
from tallship.ops.kinds import MACHINE
from tallship.ops.node_list import list_nodes
from tallship.ops.upgrade import FileSays
from tallship.spec import load_spec
from tallship.spec.load import load_spec_with


def steer(ship: Ship, **changes: str) -> Flow[Env]:
    """Let the ship's file want other versions, and return the flow that makes it so."""
    path = ship.folder / "tallship.yaml"
    if not path.exists():
        path.write_text("name: k8s  # ours\n")
    dotted = {key.replace("_", ".", 1): value for key, value in changes.items()}
    ship.spec = load_spec_with(path, dotted)
    written = {tuple(key.split(".")): value for key, value in dotted.items()}
    return change(FileSays(path, written))


def sail(ship: Ship, flow: Flow[Env], timeout: float | None = None) -> None:
    with closing(ship.env()) as env:
        env.replace = True
        ship.world.run(lambda: Run(env, ship.world.clock, ship.recorder, timeout).make(flow))


def versions(ship: Ship) -> set[tuple[str, str, bool]]:
    with closing(ship.env()) as env:
        return {(each.kubernetes, each.talos, each.ready) for each in ship.world.run(lambda: list_nodes(env))}


def machine_names(ship: Ship) -> set[str]:
    with closing(ship.env()) as env:
        return {each["metadata"]["name"] for each in ship.world.run(lambda: env.home.list(*MACHINE, "default"))}


def test_every_server_is_replaced_and_the_file_says_so(done: Ship) -> None:
    before = done.inventory()
    sail(done, steer(done, kubernetes_version="v1.32.3"))
    assert versions(done) == {("v1.32.3", "v1.12.2", True)}
    counted = {int(each) for each in re.findall(r"etcd has (\d) members", "\n".join(done.recorder.heard))}
    assert counted == {3, 4}, "one more before one less, three times"
    assert (done.folder / "tallship.yaml").read_text() == "name: k8s  # ours\nkubernetes:\n  version: v1.32.3\n"
    assert done.inventory() == before
    done.world.reset_counters()
    done.make(UP)
    assert set(done.world.writes.values()) == {0}


def test_both_versions_together_are_one_roll_out(done: Ship) -> None:
    flow = steer(done, kubernetes_version="v1.33.1", talos_version="v1.12.3")
    labels, content = image.labels(done.spec), {"talos": "v1.12.3"}
    world = done.world
    world.do(lambda: world.lab.hetzner.add_snapshot("new", labels, architecture="x86", disk_gb=10, content=content))
    sail(done, flow)
    assert versions(done) == {("v1.33.1", "v1.12.3", True)}
    assert load_spec(done.folder / "tallship.yaml").talos.version == "v1.12.3"
    made = set(re.findall(r"(k8s-control-plane-\w+) \(\w+\) is being made", "\n".join(done.recorder.heard)))
    assert made == machine_names(done), "no other server was ever made"


def test_an_upgrade_that_was_stopped_goes_on(done: Ship) -> None:
    flow = steer(done, kubernetes_version="v1.32.3")
    before = machine_names(done)
    with pytest.raises(TimedOut):
        sail(done, flow, timeout=60)
    assert len(before & machine_names(done)) == 3, "the first new server is being made"
    sail(done, flow)
    assert versions(done) == {("v1.32.3", "v1.12.2", True)}
    assert not before & machine_names(done)


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ({"kubernetes_version": "v1.34.1"}, "skips a minor version"),
        ({"kubernetes_version": "v1.31.9"}, "cannot go back"),
        ({"talos_version": "v1.11.5"}, "cannot go back"),
    ],
)
def test_a_step_that_no_cluster_can_take_is_refused(done: Ship, wanted: dict[str, str], says: str) -> None:
    assert refusal(done, wanted).startswith(says) or says in refusal(done, wanted)


def refusal(ship: Ship, wanted: dict[str, str]) -> str:
    """Return why a change is refused; nothing was changed by it."""
    before = machine_names(ship)
    ship.world.reset_counters()
    with pytest.raises(TallshipError) as caught:
        sail(ship, steer(ship, **wanted))
    assert isinstance(caught.value, StepFailed | ManyErrors)
    assert set(ship.world.writes.values()) == {0}
    assert machine_names(ship) == before
    assert (ship.folder / "tallship.yaml").read_text() == "name: k8s  # ours\n"
    return str(caught.value)


def test_nothing_is_replaced_while_a_member_of_etcd_is_sick(done: Ship) -> None:
    done.world.fault("etcd-member-unhealthy", {"machine": sorted(nodes(done))[0]}, times=0)
    assert "etcd has no member to spare" in refusal(done, {"kubernetes_version": "v1.32.3"})


def test_nothing_is_replaced_by_what_is_sold_out(done: Ship) -> None:
    done.world.fault("no-capacity", {"server_type": "cx33"}, times=0, listed=True)
    assert "`cx33` is sold out in nbg1 now" in refusal(done, {"kubernetes_version": "v1.32.3"})


def test_a_pool_of_a_type_that_is_sold_out_is_told_before_the_control_plane_is_replaced(done: Ship) -> None:
    done.world.fault("no-capacity", {"server_type": "cpx32"}, times=0, listed=True)
    path, text = done.folder / "tallship.yaml", "name: k8s\nworkers: [{name: big, server_type: cpx32}]\n"
    path.write_text(text)
    with pytest.raises(StepFailed, match="`cpx32` is sold out in nbg1 now") as caught:
        sail(done, steer(done, kubernetes_version="v1.32.3"))
    assert "pool `big`" in caught.value.hint
    assert path.read_text() == text


def nodes(ship: Ship) -> set[str]:
    with closing(ship.env()) as env:
        return {conditions.name(each) for each in ship.world.run(lambda: env.workload.list("v1", "Node"))}
