"""The management clusters of the lab: made, stopped, started, deleted, as kind's containers are."""

from __future__ import annotations

from pathlib import Path

import pytest
from lab_world import LabWorld

from tallship.adapters.kube import Kube
from tallship.errors import Unreachable

IMAGE = "kindest/node:v1.32.8"
DEPLOYMENT = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web", "namespace": "default"},
    "spec": {
        "replicas": 2,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "web", "image": "registry.example/web:v1"}]},
        },
    },
}


def connect(world: LabWorld, name: str = "mgmt") -> Kube:
    path = world.folder / f"{name}.kubeconfig"
    path.write_text(world.do(lambda: world.lab.management.kubeconfig(name)))
    return Kube(path)


def test_new_cluster_has_one_ready_node_and_runs_deployments(world: LabWorld) -> None:
    world.ask(world.lab.management.create("mgmt", IMAGE))
    kube = connect(world)
    node = kube.list("v1", "Node")[0]
    assert node["metadata"]["name"] == "mgmt-control-plane"
    assert node["status"]["nodeInfo"]["kubeletVersion"] == "v1.32.8"
    kube.apply(DEPLOYMENT)

    def is_available() -> bool:
        found = kube.find("apps/v1", "Deployment", "web", "default") or {}
        return found.get("status", {}).get("availableReplicas") == 2

    assert world.wait(is_available, 30) > 5  # its image is pulled first
    assert {pod["status"]["phase"] for pod in kube.list("v1", "Pod")} == {"Running"}
    kube.close()


def test_stopped_cluster_answers_again_after_its_start(world: LabWorld) -> None:
    world.ask(world.lab.management.create("mgmt", IMAGE))
    kube = connect(world)
    world.ask(world.lab.management.halt("mgmt"))
    with pytest.raises(Unreachable):
        kube.list("v1", "Node")
    assert world.do(world.lab.management.names) == ["mgmt"]
    world.ask(world.lab.management.start("mgmt"))
    assert len(kube.list("v1", "Node")) == 1
    kube.close()


def test_deleted_cluster_takes_everything_with_it(world: LabWorld) -> None:
    world.ask(world.lab.management.create("mgmt", IMAGE))
    kube = connect(world)
    kube.apply(DEPLOYMENT)
    kube.close()
    world.ask(world.lab.management.delete("mgmt"))
    world.ask(world.lab.management.create("mgmt", IMAGE))
    kube = connect(world)
    assert kube.list("apps/v1", "Deployment") == []
    kube.close()


def test_two_clusters_do_not_see_each_other(world: LabWorld) -> None:
    for name in ("one", "two"):
        world.ask(world.lab.management.create(name, IMAGE))
    one, two = connect(world, "one"), connect(world, "two")
    assert one.server != two.server
    assert [node["metadata"]["name"] for node in two.list("v1", "Node")] == ["two-control-plane"]
    one.close()
    two.close()


def test_running_cluster_comes_back_with_the_lab_and_a_stopped_one_stays_stopped(tmp_path: Path) -> None:
    with LabWorld(tmp_path, on_disk=True) as world:
        for name in ("runs", "stopped"):
            world.ask(world.lab.management.create(name, IMAGE))
        world.ask(world.lab.management.halt("stopped"))
        runs, stopped = connect(world, "runs"), connect(world, "stopped")
        world.kill()
        assert runs.is_up()
        assert not stopped.is_up()
        runs.close()
        stopped.close()
