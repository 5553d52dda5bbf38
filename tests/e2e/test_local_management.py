"""`management: local`: etcd, API server and managers as plain processes, without Docker."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import core_components
import pytest
from kubectl import Kubectl
from waiting import wait_until

sys.path.append(str(Path(__file__).parents[1] / "cli"))
from real_lab import RealLab

from tallship.lab import daemon
from tallship.localplane import plane

MANAGERS = ("cluster-api", "caph", "cabpt", "cacppt")
OWNED = "cluster,machine,hetznercluster,hcloudmachine,taloscontrolplane,talosconfig"
NODES = 3


@pytest.fixture(scope="module")
def lab(programs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealLab]:
    """A whole cluster that a local plane manages: the core's manager is the real one, the others are stand-ins."""
    made = RealLab(tmp_path_factory.mktemp("lab"))
    made.seconds = 300.0
    (made.folder / "tallship.yaml").write_text("name: k8s\nmanagement: local\n")
    folder = made.folder / "programs"
    folder.mkdir()
    for file in programs.iterdir():
        (folder / file.name).symlink_to(file)
    core_components.write(folder / "core-components.yaml")
    try:
        made.run("lab", "up", "--kubernetes", "real", "--programs", str(folder))
        made.run("up", "--lab", "--quiet")
        yield made
    finally:
        plane.stop(made.state / "plane")
        daemon.stop(made.state / "lab")


@pytest.fixture
def management(lab: RealLab, programs: Path, tmp_path: Path) -> Kubectl:
    return Kubectl(programs / "kubectl", lab.state / "management.kubeconfig", tmp_path)


def versions(kubectl: Kubectl) -> dict[str, Any]:
    return {f"{each['kind']}/{each['metadata']['name']}": each["metadata"]["uid"] for each in owned(kubectl)}


def owned(kubectl: Kubectl) -> list[Any]:
    found: list[Any] = kubectl.get(OWNED)["items"]
    return found


def pids(lab: RealLab) -> dict[str, int]:
    facts = json.loads((lab.state / "plane" / "running.json").read_text())["programs"]
    return {name: each["pid"] for name, each in facts.items() if each["state"] == "ready"}


def test_real_core_and_the_stand_ins_made_the_cluster(lab: RealLab, management: Kubectl) -> None:
    assert set(MANAGERS) <= set(pids(lab))
    command = Path(f"/proc/{pids(lab)['cluster-api']}/cmdline").read_bytes()
    assert b"standin" not in command
    wait_until(lambda: [each["status"]["phase"] for each in management.get("machines")["items"]] == ["Running"] * NODES)
    assert lab.data("status", "--lab")["problems"] == []


def test_second_up_writes_nothing(lab: RealLab, management: Kubectl) -> None:
    def stamps() -> list[tuple[str, int]]:
        return [(each["metadata"]["name"], each["metadata"]["generation"]) for each in owned(management)]

    before = stamps()
    lab.run("lab", "status", "--reset-counters")
    lab.run("up", "--lab", "--quiet")
    assert set(lab.data("lab", "status")["writes"].values()) == {0}
    assert stamps() == before


def test_whole_plane_that_is_killed_comes_back_with_everything(lab: RealLab, management: Kubectl) -> None:
    before = versions(management)
    os.kill(json.loads((lab.state / "plane" / "running.json").read_text())["pid"], signal.SIGKILL)
    wait_until(lambda: not management.answers())
    lab.run("up", "--lab", "--quiet", "--only", "kind-create")
    lab.run("up", "--lab", "--quiet", "--only", "capi-init")
    assert versions(management) == before
    assert set(MANAGERS) <= set(pids(lab))


def test_secrets_are_in_no_command_line_and_no_open_file(lab: RealLab) -> None:
    token = lab.handle.token
    for number in pids(lab).values():
        assert token.encode() not in Path(f"/proc/{number}/cmdline").read_bytes()
        assert token.encode() not in Path(f"/proc/{number}/environ").read_bytes()
    folder = lab.state / "plane"
    assert [each for each in folder.rglob("*") if not each.is_symlink() and each.stat().st_mode & 0o077] == []


def test_pivot_leaves_the_plane_and_clean_deletes_it(lab: RealLab, management: Kubectl, programs: Path) -> None:
    before, inventory = set(versions(management)), lab.inventory()
    _, err = lab.run("clean", "--lab", "--yes", code=1)
    assert "the local plane still manages k8s" in err
    lab.run("pivot", "--lab", "--yes", "--quiet")
    workload = Kubectl(programs / "kubectl", lab.state / "kubeconfig", lab.home)
    assert (owned(management), set(versions(workload))) == ([], before)
    running = pids(lab)
    lab.run("clean", "--lab", "--yes")
    assert not (lab.state / "plane").exists()
    assert not [number for number in running.values() if Path(f"/proc/{number}").exists()]
    lab.run("up", "--lab", "--quiet")
    assert lab.inventory() == inventory
