"""Upgrades on real API servers: by new servers, and in place."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from kubectl import Kubectl

sys.path.append(str(Path(__file__).parents[1] / "cli"))
from real_lab import RealLab

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def workload(lab: RealLab, programs: Path, tmp_path: Path) -> Kubectl:
    return Kubectl(programs / "kubectl", lab.state / "kubeconfig", tmp_path)


def nodes(kubectl: Kubectl) -> dict[str, tuple[str, str]]:
    """Return each node's uid, with its versions of Kubernetes and Talos."""
    found = {}
    for each in kubectl.get("nodes")["items"]:
        info = each["status"]["nodeInfo"]
        found[each["metadata"]["uid"]] = (info["kubeletVersion"], info["osImage"])
    return found


def test_every_server_is_replaced_by_one_of_the_new_version(lab: RealLab, workload: Kubectl) -> None:
    before = set(nodes(workload))
    lab.run("upgrade", "--kubernetes", "v1.32.3", "--lab", "--yes", "--quiet")
    after = nodes(workload)
    assert set(after.values()) == {("v1.32.3", "Talos (v1.12.2)")}
    assert len(after) == 3
    assert not before & set(after)
    status = lab.data("status", "--lab")
    assert (status["problems"], status["etcd"]["members"]) == ([], 3)


def test_talos_is_upgraded_in_place_and_up_changes_nothing_more(lab: RealLab, workload: Kubectl) -> None:
    before = set(nodes(workload))
    lab.run("upgrade", "--talos", "v1.12.3", "--in-place", "--lab", "--yes", "--quiet")
    after = nodes(workload)
    assert set(after.values()) == {("v1.32.3", "Talos (v1.12.3)")}
    assert set(after) == before
    lab.run("lab", "status", "--reset-counters")
    lab.run("up", "--lab", "--quiet")
    assert set(lab.data("lab", "status")["writes"].values()) == {0}
    assert lab.data("diagnose", "--lab")["findings"] == []
