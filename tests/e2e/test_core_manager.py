"""The real manager of Cluster API's core takes the place of its stand-in, over the wire, against the same lab."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import core_components
import pytest
from kubectl import Kubectl, Refused
from waiting import wait_until

sys.path.append(str(Path(__file__).parents[1] / "cli"))
from real_lab import RealLab

from tallship.lab import daemon
from tallship.localplane.processes import free_port

HOST = "127.0.0.1"
NODES = 3
SECONDS = 20.0


@contextmanager
def manager(programs: Path, lab: RealLab, certificates: Path, webhooks: int) -> Iterator[Path]:
    """Run the real manager against the lab's management cluster; yields its log."""
    health, log = free_port(HOST), lab.folder / "manager.log"
    arguments = {
        "kubeconfig": lab.state / "management.kubeconfig",
        "leader-elect": "false",
        "webhook-port": webhooks,
        "webhook-cert-dir": certificates,
        "health-addr": f"{HOST}:{health}",
        "diagnostics-address": "0",
    }
    command = [str(programs / "cluster-api"), *(f"--{name}={value}" for name, value in arguments.items())]
    with log.open("w") as told, subprocess.Popen(command, env=lab.environment, stdout=told, stderr=told) as process:
        try:
            yield log
        finally:
            process.terminate()
            process.wait(SECONDS)


def phases(kubectl: Kubectl) -> list[str]:
    return [each["status"]["phase"] for each in kubectl.get("machines")["items"]]


def healthy(kubectl: Kubectl) -> list[int]:
    return [each["status"]["currentHealthy"] for each in kubectl.get("machinehealthchecks")["items"]]


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[RealLab]:
    made = RealLab(tmp_path)
    made.seconds = 300.0
    try:
        yield made
    finally:
        daemon.stop(made.state / "lab")


def test_real_core_manager_makes_a_cluster_with_the_other_stand_ins(programs: Path, lab: RealLab) -> None:
    lab.run("lab", "up", "--kubernetes", "real", "--programs", str(programs), "--without", "capi")
    lab.run("up", "--lab", "--quiet", "--until", "capi-init")
    certificates, port = lab.folder / "capi", free_port(HOST)
    core_components.write(lab.folder / "core-components.yaml")
    lab.run("lab", "provider", "core-components.yaml", "--port", str(port), "--to", str(certificates))
    kubectl = Kubectl(programs / "kubectl", lab.state / "management.kubeconfig", lab.home)
    kubectl("apply", "--server-side", "--force-conflicts", "-f", str(certificates / "objects.yaml"))

    with manager(programs, lab, certificates, port) as log:
        lab.run("up", "--lab", "--quiet")
        wait_until(lambda: phases(kubectl) == ["Running"] * NODES)
        wait_until(lambda: healthy(kubectl) == [NODES])
        with pytest.raises(Refused, match="field is immutable"):  # its own webhook, by URL
            name = kubectl.get("machines")["items"][0]["metadata"]["name"]
            kubectl("patch", "machine", name, "--type=merge", '--patch={"spec":{"clusterName":"other"}}')
        lab.run("lab", "status", "--reset-counters")
        lab.run("up", "--lab", "--quiet")
        assert set(lab.data("lab", "status")["writes"].values()) == {0}
        assert "panic" not in log.read_text()
