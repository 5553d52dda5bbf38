"""Worker servers in a whole lab: they join a finished cluster, Pods move between them, and they move with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
import worked_pool
from ship import Kept, Ship

from tallship.adapters.kube import Kube
from tallship.env import Env
from tallship.errors import Unreachable
from tallship.flows import PIVOT
from tallship.manifests import image

CORE = "cluster.x-k8s.io/v1beta1"
DEPLOYMENT = (CORE, "MachineDeployment", worked_pool.POOL, "default")
APP = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "app", "namespace": "default"},
    "spec": {
        "replicas": 2,
        "selector": {"matchLabels": {"app": "app"}},
        "template": {
            "metadata": {"labels": {"app": "app"}},
            "spec": {
                "nodeSelector": {"example.com/pool": "workers"},
                "containers": [{"name": "app", "image": "docker.io/library/nginx:1"}],
            },
        },
    },
}


class Fleet:
    """The pool of a ship's cluster."""

    def __init__(self, ship: Ship, env: Env) -> None:
        self.ship = ship
        self.env = env

    def apply(self, replicas: int, **changes: Any) -> None:
        label = image.labels(self.ship.spec)["caph-image-name"]
        for document in worked_pool.documents(replicas, image=label, **changes):
            self.ship.world.run(lambda document=document: self.env.home.apply(document))

    def scale(self, replicas: int) -> None:
        self.ship.world.run(lambda: self.env.home.patch(*DEPLOYMENT, {"spec": {"replicas": replicas}}))

    def wait(self, true: Callable[[], bool], seconds: float = 400) -> float:
        """Let time pass until something is true of the cluster; a server that was just killed does not answer yet."""

        def look() -> bool:
            try:
                return true()
            except Unreachable:
                return False

        return self.ship.world.wait(look, seconds, 5)

    def is_ready(self, replicas: int) -> bool:
        found = self.env.home.find(*DEPLOYMENT)
        assert found is not None
        status = found.get("status", {})
        if status.get("observedGeneration") != found["metadata"]["generation"]:
            return False
        counts = [status.get(f"{each}Replicas") for each in ("ready", "available", "updated")]
        return counts == [replicas] * 3 and status["replicas"] == replicas

    def nodes(self) -> dict[str, dict[str, Any]]:
        """Return the workers' Nodes by name."""
        return {
            each["metadata"]["name"]: each
            for each in self._list(self.env.workload, "v1", "Node")
            if "node-role.kubernetes.io/control-plane" not in each["metadata"]["labels"]
        }

    def places(self) -> list[str]:
        """Return the nodes of the ready Pods of the application."""
        pods = self._list(self.env.workload, "v1", "Pod", "default")
        return sorted(each["spec"].get("nodeName", "") for each in pods if _is_true(each, "Ready"))

    def machines(self) -> list[dict[str, Any]]:
        return self._list(self.env.home, CORE, "Machine", "default")

    def _list(self, kube: Kube, *what: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.ship.world.run(lambda: list(kube.list(*what)))
        return found


@pytest.fixture(scope="module")
def fleet(kept: Kept) -> Iterator[Fleet]:
    """A cluster with a pool of two workers; the lab was killed while their servers started, and while Talos did."""
    with kept.copy() as ship, closing(ship.env()) as env:
        made = Fleet(ship, env)
        made.apply(2)
        for _ in range(3):
            ship.world.run(lambda: ship.world.clock.sleep(20))
            ship.world.kill()
        made.wait(lambda: made.is_ready(2))
        yield made


def _is_true(item: dict[str, Any], condition: str) -> bool:
    found = item.get("status", {}).get("conditions", [])
    return any(each["type"] == condition and each["status"] == "True" for each in found)


def test_killed_lab_makes_two_workers_and_no_more(fleet: Fleet) -> None:
    nodes, servers = fleet.nodes(), {each["name"]: each for each in fleet.ship.world.lab.hetzner.servers()}
    assert len(nodes) == 2 and len(servers) == 5
    for name, node in nodes.items():
        assert _is_true(node, "Ready") and not node["spec"].get("taints")
        assert node["spec"]["providerID"] == f"hcloud://{servers[name]['id']}"
        assert node["metadata"]["labels"]["example.com/pool"] == "workers"
    workers = [each for each in fleet.machines() if each["metadata"]["name"] in nodes]
    assert [each["status"]["phase"] for each in workers] == ["Running"] * 2


def test_pods_of_a_node_that_goes_are_started_on_another(fleet: Fleet) -> None:
    fleet.ship.world.run(lambda: fleet.env.workload.apply(APP))
    fleet.wait(lambda: len(set(fleet.places())) == 2)
    fleet.scale(1)
    fleet.wait(lambda: any("DrainingSucceeded" in _kinds(each) for each in fleet.machines()), 30)
    (leaving,) = (each for each in fleet.machines() if "deletionTimestamp" in each["metadata"])
    assert "Drain not completed yet" in _message(leaving, "DrainingSucceeded")
    (node,) = (each for each in fleet.nodes().values() if each["spec"].get("unschedulable"))
    assert node["metadata"]["name"] == leaving["metadata"]["name"]
    fleet.wait(lambda: fleet.is_ready(1))
    (left,) = fleet.nodes()
    fleet.wait(lambda: fleet.places() == [left] * 2, 60)
    fleet.scale(2)
    fleet.wait(lambda: fleet.is_ready(2))


@pytest.mark.long
def test_pool_moves_with_the_cluster(fleet: Fleet) -> None:
    before = set(fleet.nodes())
    fleet.ship.make(PIVOT)
    with closing(fleet.ship.env()) as env:
        moved = Fleet(fleet.ship, env)
        moved.wait(lambda: moved.is_ready(2), 120)
        assert set(moved.nodes()) == before
        moved.scale(3)
        moved.wait(lambda: moved.is_ready(3))


def _kinds(item: dict[str, Any]) -> set[str]:
    return {each["type"] for each in item["status"].get("conditions", [])}


def _message(item: dict[str, Any], kind: str) -> str:
    return next(str(each.get("message", "")) for each in item["status"]["conditions"] if each["type"] == kind)
