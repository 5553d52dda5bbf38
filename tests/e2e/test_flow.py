"""The whole life of a cluster on real API servers, with the real clusterctl and the real helm."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from kubectl import SECONDS, Kubectl
from waiting import wait_until

sys.path.append(str(Path(__file__).parents[1] / "cli"))
from real_lab import RealLab, ended

from tallship.lab import daemon

MOVED = ("cluster", "machine", "hetznercluster", "hcloudmachine", "taloscontrolplane", "talosconfig")
NODES = 3


@pytest.fixture
def management(lab: RealLab, programs: Path, tmp_path: Path) -> Kubectl:
    return Kubectl(programs / "kubectl", lab.state / "management.kubeconfig", tmp_path)


@pytest.fixture
def workload(lab: RealLab, programs: Path, tmp_path: Path) -> Kubectl:
    return Kubectl(programs / "kubectl", lab.state / "kubeconfig", tmp_path)


def processes(*words: str) -> list[int]:
    """Return the processes that have all these words in their command lines."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            line = (folder / "cmdline").read_bytes().decode()
        except OSError:
            continue  # it has ended
        if all(word in line for word in words):
            found.append(int(folder.name))
    return found


def writes(lab: RealLab) -> dict[str, int]:
    found: dict[str, int] = lab.data("lab", "status")["writes"]
    return found


def moved(kubectl: Kubectl) -> list[str]:
    """Return what a move takes along, by kind and name."""
    return sorted(f"{each['kind']}/{each['metadata']['name']}" for each in kubectl.get(",".join(MOVED))["items"])


def test_nodes_are_ready_on_a_real_api_server(workload: Kubectl) -> None:
    assert json.loads(workload("version", "-o", "json"))["serverVersion"]["gitVersion"] == "v1.32.2"
    ready = [
        condition["status"]
        for node in workload.get("nodes")["items"]
        for condition in node["status"]["conditions"]
        if condition["type"] == "Ready"
    ]
    assert ready == ["True"] * NODES
    assert [node["spec"].get("taints") for node in workload.get("nodes")["items"]] == [None] * NODES


def test_real_clusterctl_has_installed_the_providers(management: Kubectl) -> None:
    found = {each["metadata"]["name"]: each["version"] for each in management.get("providers", "-A")["items"]}
    assert found == {
        "cluster-api": "v1.10.10",
        "infrastructure-hetzner": "v1.0.7",
        "bootstrap-talos": "v0.6.11",
        "control-plane-talos": "v0.5.12",
    }


def test_real_helm_knows_the_releases(lab: RealLab, programs: Path) -> None:
    command = [programs / "helm", "list", "-n", "kube-system", "-o", "json", "--kubeconfig", lab.state / "kubeconfig"]
    done = subprocess.run(command, env=lab.environment, capture_output=True, text=True, timeout=SECONDS)
    assert {each["name"]: each["status"] for each in json.loads(done.stdout)} == {
        "cilium": "deployed",
        "hccm": "deployed",
        "talos-cloud-controller-manager": "deployed",
    }


def test_second_up_changes_nothing(lab: RealLab) -> None:
    lab.run("lab", "status", "--reset-counters")
    lab.run("up", "--lab", "--quiet")
    assert set(writes(lab).values()) == {0}


def test_status_and_plan_see_it_whole(lab: RealLab) -> None:
    status = lab.data("status", "--lab")
    assert [node["ready"] for node in status["nodes"]] == [True] * NODES
    assert (status["phase"], status["problems"]) == ("Provisioned", [])
    out, _ = lab.run("plan", "--lab")
    assert "nothing" in out


def test_api_server_that_is_killed_comes_back_with_everything(lab: RealLab, workload: Kubectl) -> None:
    before = moved_nodes(workload)
    folder = lab.state / "lab" / daemon.API_SERVERS / "workload-k8s"
    facts = json.loads((folder / "running.json").read_text())["programs"]
    for name in ("kube-apiserver", "etcd"):
        os.kill(facts[name]["pid"], signal.SIGKILL)
    wait_until(lambda: "kube-apiserver" in (folder / "running.json").read_text())
    lab.run("up", "--lab", "--quiet")
    assert moved_nodes(workload) == before


def moved_nodes(kubectl: Kubectl) -> list[str]:
    return sorted(node["metadata"]["uid"] for node in kubectl.get("nodes")["items"])


def test_pivot_whose_clusterctl_is_killed_goes_on(lab: RealLab, management: Kubectl, workload: Kubectl) -> None:
    before, inventory = moved(management), lab.inventory()
    pivoting = lab.start("pivot", "--lab", "--yes")
    move = ("clusterctl", "--to-kubeconfig", str(lab.state))
    wait_until(lambda: processes(*move) or pivoting.poll() is not None)
    for each in processes(*move):
        os.kill(each, signal.SIGKILL)
    _, err = ended(pivoting, 1, lab.seconds)
    assert "`clusterctl move` was killed" in err
    lab.run("pivot", "--lab", "--yes", "--quiet")
    assert (moved(management), moved(workload)) == ([], before)
    assert lab.inventory() == inventory


def test_clean_leaves_a_cluster_that_manages_itself(lab: RealLab, workload: Kubectl) -> None:
    before = moved(workload)
    lab.run("clean", "--lab", "--yes")
    lab.run("up", "--lab", "--quiet")
    lab.run("lab", "status", "--reset-counters")
    lab.run("up", "--lab", "--quiet")
    assert set(writes(lab).values()) == {0}
    assert moved(workload) == before
    assert lab.data("status", "--lab")["problems"] == []


def test_lab_that_was_stopped_goes_on(lab: RealLab, workload: Kubectl) -> None:
    before = moved(workload)
    lab.run("lab", "down")
    assert processes("kube-apiserver", str(lab.state)) == []
    lab.run("lab", "up")  # as it was
    assert lab.handle.programs is not None
    wait_until(lambda: workload.answers())
    lab.run("up", "--lab", "--quiet")
    assert moved(workload) == before
