"""What an adapter lets through is read by every rule; a look at a world of odd answers ends in what can be shown."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from typing import Any

import pytest
from hostile import odd
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from ship import Kept, Ship
from twisted import BOUNDED, Twisted, at_all_sockets, at_random

from tallship.adapters import hetzner_shapes, kube_shapes
from tallship.adapters.hetzner_resources import Firewall, Image, LoadBalancer, Resource, Server
from tallship.adapters.shapes import Misfit, fitted
from tallship.engine import look
from tallship.env import Env
from tallship.errors import TallshipError
from tallship.flows import UP
from tallship.manifests import (
    access,
    changes,
    claims,
    cluster,
    conditions,
    deadlock,
    diagnosis,
    firewall,
    in_place,
    pivot,
    roll,
    rollout,
    worker_rollout,
    workers,
)
from tallship.manifests.firewall_exposure import exposure
from tallship.manifests.picture import Picture, of_cluster
from tallship.manifests.redaction import redacted
from tallship.ops import bill, firewall_view, image_stock, node_list, status
from tallship.ops.picture import gather
from tallship.report.console import TidyConsole
from tallship.report.tables import nodes_table
from tallship.spec import Spec, parse_spec

Document = dict[str, Any]
Sea = dict[str, dict[str, list[Document]]]
"""Objects by kind in `management` and `workload`, resources by collection in `hetzner`."""
POOL = "name: k8s\nworkers:\n  - {name: w, server_type: cx33, replicas: 2}\n"


@pytest.fixture(scope="module")
def twisted() -> Iterator[Twisted]:
    with at_all_sockets() as made:
        yield made


@pytest.fixture(scope="module")
def ship(kept: Kept, twisted: Twisted) -> Iterator[Ship]:
    with kept.copy() as made:
        made.world.fault("slow", {"agent": "nobody"}, times=0)  # some servers ask what goes wrong while a fault is set
        yield made


def spec() -> Spec:
    found = parse_spec(POOL).spec
    assert found is not None
    return found


@pytest.fixture(scope="module")
def true(ship: Ship) -> Sea:
    """One object of each kind, as the lab has them, and a pool's."""
    with closing(ship.env()) as env:
        picture = ship.world.run(lambda: gather(env))
    sea: Sea = {
        side: {kind: [dict(each) for each in found[:1]] for kind, found in objects.items()}
        for side, objects in (
            ("management", picture.management),
            ("workload", picture.workload),
            ("hetzner", picture.hetzner),
        )
    }
    helms = [
        each for each in picture.workload["Secret"] if (each["metadata"].get("labels") or {}).get("owner") == "helm"
    ]
    sea["workload"]["Secret"] = [dict(each) for each in helms[:1]]
    state = {"replicas": 2, "readyReplicas": 2, "updatedReplicas": 2, "observedGeneration": 1}
    for each in workers.documents(spec()):
        stored = {**each, "metadata": {**each["metadata"], "generation": 1}, "status": state}
        sea["management"].setdefault(each["kind"], []).append(stored)
    return sea


def fit(side: str, kind: str, document: Any) -> Document:
    """Return a document as an adapter hands it on. Raises Misfit."""
    if side == "hetzner":
        found: Document = fitted(document, hetzner_shapes.COLLECTIONS[kind])
        return found
    return {**fitted(document, kube_shapes.of(kind)), "apiVersion": "a/v1", "kind": kind}


def _rules(sea: Sea, today: Any) -> None:
    management = {kind: of_cluster(found, "k8s") for kind, found in sea["management"].items()}
    picture = Picture(spec(), today, management, sea["workload"], hetzner=sea["hetzner"], members=[])
    json.dumps([each.as_data() for each in diagnosis.diagnose(picture)])
    servers = [Server.read(each) for each in sea["hetzner"]["servers"]]
    for hosts in (sea["workload"]["Node"], [dict(each) for each in picture.hosts]):
        nodes = node_list.describe(hosts, servers, node_list.EtcdView(), today)
        json.dumps([each.as_data() for each in nodes])
        TidyConsole(file=io.StringIO(), width=80).print(nodes_table(nodes))
    json.dumps(redacted(sea, ["a secret text"]))


def _kubernetes(sea: Sea, _today: Any) -> None:
    for each in (each for side in ("management", "workload") for found in sea[side].values() for each in found):
        conditions.why_not_ready(each)
        pivot.names([each])
        in_place.mark_of(each)
        in_place.unmarking(each)
        worker_rollout.pool_of(each)
    for node in sea["workload"]["Node"]:
        conditions.why_node_waits(node)
        conditions.talos_version(node)
        in_place.kubelet_version(node)
    for pod in sea["workload"]["Pod"]:
        in_place.to_evict([pod], "a")
        claims.users([pod], [("a", "b")])
    try:
        conditions.newest_release(sea["workload"]["Secret"])
    except TallshipError as error:
        assert error.hint


def _cluster_api(sea: Sea, _today: Any) -> None:
    its = sea["management"]
    machines, servers, nodes = its["Machine"], its["HCloudMachine"], sea["workload"]["Node"]
    conditions.machines(machines, servers)
    access.node_addresses(machines)
    deadlock.stuck_machine(machines, [], {})
    for live in its["Cluster"]:
        pivot.why_not_yet(live, its["TalosControlPlane"][0], machines, None, its["MachineDeployment"])
        changes.of_document(live, cluster.infrastructure(spec())[0])
    for live in its["HetznerCluster"]:
        wanted = cluster.infrastructure(spec())[1]
        pivot.why_idle(live, its["TalosControlPlane"][0], machines)
        conditions.load_balancer_address(live)
        conditions.network_id(live)
        worker_rollout.with_groups_in_use(conditions.with_live_endpoint(wanted, live), live, servers)
        worker_rollout.lacking_groups(live, ["a"])
        worker_rollout.excess_groups(live)
        changes.of_document(live, wanted)
    for live in its["TalosControlPlane"]:
        wanted = cluster.control_plane(spec(), "203.0.113.1")
        roll.look(live, machines, servers, its["TalosConfig"])
        rollout.replaces_machines(live, wanted)
        conditions.with_stored_patches(live, wanted)
        changes.of_control_plane(live, wanted)
        in_place.comeback(live, its["HCloudMachineTemplate"], nodes)


def _pools(sea: Sea, _today: Any) -> None:
    its = sea["management"]
    deployments, configs = its["MachineDeployment"], its["TalosConfigTemplate"]
    wanted = workers.documents(spec(), deployments, configs)
    templates = {conditions.name(each): each for each in (*wanted, *its["HCloudMachineTemplate"], *configs)}
    for live in deployments:
        for each in (each for each in wanted if each["kind"] == "MachineDeployment"):
            worker_rollout.replaces_servers(live, each)
            worker_rollout.differs_in_talos_alone(live, each, templates)
        worker_rollout.has_outdated(live, [*its["HCloudMachine"], *its["TalosConfig"]])
        in_place.comeback(live, its["HCloudMachineTemplate"], sea["workload"]["Node"])
    list(worker_rollout.waiting(deployments, its["Machine"], sea["workload"]["Node"]))
    worker_rollout.unused(its["HCloudMachineTemplate"], [*deployments, *its["MachineSet"]])


def _hetzner(sea: Sea, today: Any) -> None:
    its = sea["hetzner"]
    for each in its["firewalls"]:
        found = Firewall.read(each)
        exposure(spec(), found.rules, ["203.0.113.1/32"])
        firewall.allowed(found.rules, today)
        firewall.differences(found.rules, firewall.rules(spec()))
        firewall.admits(found.rules, 6443, "203.0.113.1")
        list(firewall.excesses(found.rules))
    for reader, kind in ((LoadBalancer.read, "load_balancers"), (Image.read, "images")):
        list(map(reader, its[kind]))
    for path, found in its.items():
        assert all(Resource.read(path, each).noun for each in found)


READERS: tuple[Callable[[Sea, Any], None], ...] = (_rules, _kubernetes, _cluster_api, _pools, _hetzner)


def read_with_one_odd(true: Sea, today: Any, examples: int) -> None:
    """Let each kind be odd in some places, many times; whatever fits its shape is read by everything."""

    def is_read(side: str, kind: str, other: Any) -> None:
        try:
            one = fit(side, kind, other)
        except Misfit as misfit:
            assert str(misfit).isprintable()
            return
        sea = {**true, side: {**true[side], kind: [one]}}
        for reader in READERS:
            reader(sea, today)

    def are_read(side: str, kind: str, document: Document) -> None:
        @settings(BOUNDED, max_examples=examples)
        @given(odd(document))
        def odd_documents(other: Any) -> None:
            is_read(side, kind, other)

        odd_documents()

    for side, kinds in true.items():
        for kind, objects in kinds.items():
            if objects:
                are_read(side, kind, objects[0])


def test_what_fits_its_shape_is_read_by_every_rule(true: Sea, ship: Ship) -> None:
    for reader in READERS:
        reader(true, ship.world.clock.today())
    read_with_one_odd(true, ship.world.clock.today(), 12)


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_what_fits_its_shape_is_read_by_every_rule_many_times(true: Sea, ship: Ship) -> None:
    read_with_one_odd(true, ship.world.clock.today(), 400)


def _status(env: Env) -> None:
    found = status.look(env)
    json.dumps(found.as_data(), default=str)
    Console(file=io.StringIO()).print(nodes_table(found.nodes))


def _diagnosis(env: Env) -> None:
    picture = gather(env)
    json.dumps([[each.as_data() for each in diagnosis.diagnose(picture)], picture.unseen])


def _plan(env: Env) -> None:
    json.dumps([[each.detail, each.change, each.hint] for each in look(UP, env, env.clock)])


LOOKS: dict[str, Callable[[Env], object]] = {
    "status": _status,
    "diagnose": _diagnosis,
    "plan": _plan,
    "firewall show": firewall_view.view,
    "image prune": image_stock.verdicts,
    "destroy": bill.whole_project,
}


def looked_at_oddly(ship: Ship, twisted: Twisted, name: str, seed: int) -> None:
    with closing(ship.env()) as env, twisted.by(at_random(seed)):
        try:
            ship.world.run(partial(LOOKS[name], env))
        except TallshipError as error:
            assert error.message and error.hint


@pytest.mark.parametrize("name", LOOKS)
def test_a_look_at_an_odd_world_ends(name: str, ship: Ship, twisted: Twisted) -> None:
    for seed in range(6):
        looked_at_oddly(ship, twisted, name, seed)


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", LOOKS)
def test_a_look_at_an_odd_world_ends_many_times(name: str, ship: Ship, twisted: Twisted) -> None:
    @settings(BOUNDED, max_examples=150)
    @given(st.integers(0, 2**32))
    def many(seed: int) -> None:
        looked_at_oddly(ship, twisted, name, seed)

    many()
