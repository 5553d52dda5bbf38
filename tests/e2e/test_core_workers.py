"""The real manager of Cluster API's core makes a pool of workers with the other stand-ins, as its stand-in does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import core_components
import pytest
import worked_pool
from kubectl import Kubectl
from test_core_manager import HOST, RealLab, manager
from waiting import wait_until

from tallship.lab import daemon
from tallship.localplane.processes import free_port

POOL = f"--selector=cluster.x-k8s.io/deployment-name={worked_pool.POOL}"
APP = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "app", "namespace": "default"},
    "spec": {
        "replicas": 1,
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


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[RealLab]:
    made = RealLab(tmp_path)
    made.seconds = 300.0
    try:
        yield made
    finally:
        daemon.stop(made.state / "lab")


def apply(kubectl: Kubectl, *documents: dict[str, Any]) -> None:
    kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": documents}))


def replicas(kubectl: Kubectl) -> tuple[int, ...]:
    """Return how many there are, are ready and are up to date; nothing while the change has not been seen."""
    found = kubectl.get("machinedeployment", worked_pool.POOL)
    status = found.get("status", {})
    if status.get("observedGeneration") != found["metadata"]["generation"]:
        return ()
    return tuple(status.get(key, 0) for key in ("replicas", "readyReplicas", "updatedReplicas"))


def objects(kubectl: Kubectl) -> dict[str, list[dict[str, Any]]]:
    """Return what the pool is made of, by kind."""
    found = {kind: kubectl.get(kind, POOL)["items"] for kind in worked_pool.recorded() if kind != "MachineDeployment"}
    return {"MachineDeployment": [kubectl.get("machinedeployment", worked_pool.POOL)], **found}


def names(kubectl: Kubectl) -> set[str]:
    return {each["metadata"]["name"] for each in kubectl.get("machines", POOL)["items"]}


def places(workload: Kubectl) -> set[str]:
    """Return the nodes of the application's running Pods."""
    pods = workload.get("pods", "--selector=app=app")["items"]
    return {each["spec"]["nodeName"] for each in pods if each.get("status", {}).get("phase") == "Running"}


@pytest.mark.timeout(300)
def test_real_core_manager_makes_rolls_and_deletes_a_pool_of_workers(programs: Path, lab: RealLab) -> None:
    lab.run("lab", "up", "--kubernetes", "real", "--programs", str(programs), "--without", "capi", "--speed", "20")
    lab.run("up", "--lab", "--quiet", "--until", "capi-init")
    certificates, port = lab.folder / "capi", free_port(HOST)
    core_components.write(lab.folder / "core-components.yaml")
    lab.run("lab", "provider", "core-components.yaml", "--port", str(port), "--to", str(certificates))
    kubectl = Kubectl(programs / "kubectl", lab.state / "management.kubeconfig", lab.home)
    kubectl("apply", "--server-side", "--force-conflicts", "-f", str(certificates / "objects.yaml"))

    with manager(programs, lab, certificates, port) as log:
        lab.run("up", "--lab", "--quiet")
        image = kubectl.get("hcloudmachinetemplates")["items"][0]["spec"]["template"]["spec"]["imageName"]
        apply(kubectl, *worked_pool.documents(2, image=image))
        wait_until(lambda: replicas(kubectl) == (2, 2, 2))
        assert worked_pool.facts(objects(kubectl)) == worked_pool.recorded()

        kubectl("scale", "machinedeployment", worked_pool.POOL, "--replicas=1")
        wait_until(lambda: replicas(kubectl) == (1, 1, 1))
        workload = Kubectl(programs / "kubectl", lab.state / "kubeconfig", lab.home)
        apply(workload, APP)
        wait_until(lambda: places(workload) == names(kubectl))
        before = names(kubectl)
        apply(kubectl, *worked_pool.documents(1, image=image, template="k8s-workers-2", server_type="cx43"))
        wait_until(lambda: replicas(kubectl) == (2, 2, 1))  # one more first
        wait_until(lambda: replicas(kubectl) == (1, 1, 1))
        assert not before & names(kubectl)
        wait_until(lambda: places(workload) == names(kubectl))  # the drain has moved it

        kubectl("delete", "machinedeployment", worked_pool.POOL, "--timeout=60s")
        assert names(kubectl) == set()
        assert "panic" not in log.read_text()
