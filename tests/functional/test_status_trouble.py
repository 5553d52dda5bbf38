"""`tallship status` in trouble, and of a project with much in it."""

from __future__ import annotations

from contextlib import closing

from lab_world import LabWorld
from ship import Ship

from tallship.ops.node_list import list_nodes
from tallship.ops.status import Status, look


def status(ship: Ship) -> Status:
    with closing(ship.env()) as env:
        return ship.world.run(lambda: look(env))


def test_a_hundred_servers_more_cost_two_pages_more(done: Ship) -> None:
    with closing(done.env()) as env:
        labels = {done.spec.names.owner_label: "owned"}
        done.world.run(lambda: look(env))
        before = sum(env.calls()["hetzner"].values())
        for number in range(100):
            env.hetzner.create_server(f"more-{number}", "cx23", "nbg1", "debian-12", labels, [])
        made = sum(env.calls()["hetzner"].values())
        done.world.run(lambda: look(env))
        assert sum(env.calls()["hetzner"].values()) - made == before + 2


def test_hetzner_in_trouble_hides_no_node(done: Ship) -> None:
    done.world.fault("server-error", {"api": "hetzner", "agent": "tallship"}, times=0)
    found = status(done)
    assert [(each.ready, each.server_type) for each in found.nodes] == [(True, "")] * 3
    assert found.phase == "Provisioned"
    assert found.unseen
    assert {each.name for each in found.addons} == {"cilium", "hcloud-ccm", "talos-ccm"}


def test_kubernetes_in_trouble_hides_no_cost_and_no_firewall(done: Ship) -> None:
    done.world.fault("reset", {"api": "kubernetes", "agent": "tallship"}, times=0)
    found = status(done)
    assert found.cost is not None
    assert found.firewall is not None
    assert any("no answer from" in each.what for each in found.unseen)


def test_talos_in_trouble_hides_no_node(done: Ship) -> None:
    done.world.fault("server-error", {"api": "talos"}, times=0)
    found = status(done)
    assert [each.ready for each in found.nodes] == [True, True, True]
    assert any(each.what.startswith("etcd: ") for each in found.unseen)


def test_an_empty_project_has_no_cluster_and_says_what_makes_one(world: LabWorld) -> None:
    found = status(Ship(world))
    assert found.phase == "absent"
    assert [(each.what, each.hint) for each in found.problems] == [
        ("there is no cluster `k8s`", "`tallship up` makes it")
    ]


def test_a_member_that_is_sick_and_a_server_that_gets_nothing_are_problems(done: Ship) -> None:
    with closing(done.env()) as env:
        name = min(each.name for each in done.world.run(lambda: list_nodes(env)))
    done.world.fault("etcd-member-unhealthy", {"machine": name}, times=0)
    found = status(done)
    assert any("not healthy" in each.what for each in found.problems)
    assert found.etcd["healthy"] is False
