"""The end of a cluster: nothing of it is left at Hetzner, and nothing of anybody else's is touched."""

from __future__ import annotations

from contextlib import closing

import pytest
from ship import Ship

from tallship.env import Env
from tallship.errors import TallshipError, Unreachable
from tallship.flows import PIVOT, destroy
from tallship.ops.destroy import CCM_LABEL, leftovers


@pytest.fixture
def ship(done: Ship) -> Ship:
    """A cluster that is done, in a project that holds more."""
    with closing(done.env()) as env:
        done.world.run(lambda: strangers(env))
    return done


def strangers(env: Env) -> None:
    """Make what is not the cluster's."""
    env.hetzner._ask("POST", "/networks", json={"name": "other", "ip_range": "10.99.0.0/16"})
    env.hetzner._ask("POST", "/firewalls", json={"name": "other", "rules": []})
    body = {"name": "other", "load_balancer_type": "lb11", "location": "nbg1", "labels": {CCM_LABEL: "x"}}
    env.hetzner._ask("POST", "/load_balancers", json=body)


def left(ship: Ship) -> list[str]:
    """Return everything that the project holds but snapshots."""
    paths = ("servers", "load_balancers", "networks", "firewalls", "placement_groups", "ssh_keys")
    with closing(ship.env()) as env:
        return ship.world.run(
            lambda: [f"{path} {each['name']}" for path in paths for each in env.hetzner.list_documents(path)]
        )


OTHERS = ["load_balancers other", "networks other", "firewalls other"]


def is_gone(ship: Ship) -> None:
    assert left(ship) == OTHERS
    with closing(ship.env()) as env:
        assert not env.kubeconfig.exists()
        assert not env.talosconfig.exists()
        assert ship.world.run(env.programs.kind_clusters) == []
        assert len(ship.world.run(lambda: env.hetzner.list_images("caph-image-name"))) == 1
    ship.world.reset_counters()
    assert [each.acted for each in ship.make(destroy()) if each.acted] == []
    assert set(ship.world.writes.values()) == {0}


def test_nothing_of_the_cluster_is_left(ship: Ship) -> None:
    ship.make(destroy())
    is_gone(ship)


def test_a_cluster_that_manages_itself_goes_by_label(ship: Ship) -> None:
    ship.make(PIVOT)
    outcomes = ship.make(destroy())
    assert any("pause the Cluster" in acted for each in outcomes for acted in each.acted)
    is_gone(ship)


def test_without_a_management_cluster_it_goes_by_label_when_the_person_says_so(ship: Ship) -> None:
    ship.world.ask(ship.world.lab.management.halt("k8s-mgmt"))
    with pytest.raises(Unreachable, match="does not answer") as caught:
        ship.make(destroy())
    assert "--by-label" in caught.value.hint
    assert "servers" in " ".join(left(ship))
    ship.make(destroy(by_label=True))
    is_gone(ship)


def test_load_balancers_of_services_go_with_their_network(ship: Ship) -> None:
    with closing(ship.env()) as env:
        (network,) = ship.world.run(lambda: env.hetzner.list_resources("networks", "caph-cluster-k8s=owned"))
        body = {
            "name": "of-a-service",
            "load_balancer_type": "lb11",
            "location": "nbg1",
            "labels": {CCM_LABEL: "y"},
            "network": network.id,
        }
        ship.world.run(lambda: env.hetzner._ask("POST", "/load_balancers", json=body))
        names = [each.name for each in ship.world.run(lambda: leftovers(env))]
    assert "of-a-service" in names
    assert "other" not in names


@pytest.mark.parametrize("step", ["destroy-cluster", "destroy-sweep"])
def test_interrupted_it_goes_on(ship: Ship, step: str) -> None:
    route = {"destroy-cluster": "DELETE clusters", "destroy-sweep": "DELETE /firewalls/{id}"}[step]
    ship.world.fault("server-error", {"route": route}, 0)
    with pytest.raises(TallshipError) as caught:
        ship.make(destroy())
    assert caught.value.hint
    ship.world.do(ship.world.lab.faults.clear)
    ship.make(destroy())
    is_gone(ship)
