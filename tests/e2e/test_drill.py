"""A backup of a lab of real API servers, opened by another real etcd and API server: what was written comes back."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from kubectl import Kubectl

sys.path.append(str(Path(__file__).parents[1] / "cli"))
from real_lab import RealLab

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def saved(lab: RealLab, programs: Path) -> RealLab:
    """A lab with a backup, an object written before it, and one written after."""
    workload = Kubectl(programs / "kubectl", lab.state / "kubeconfig", lab.folder)
    workload("create", "configmap", "written-before", "--from-literal", "key=value")
    lab.run("backup", "save", "--lab", "--quiet")
    workload("create", "configmap", "written-after", "--from-literal", "key=value")
    return lab


def test_everything_that_was_written_before_comes_back(saved: RealLab) -> None:
    saved.run("lab", "status", "--reset-counters")
    found = saved.data("backup", "drill", "--lab", "--expect", "ConfigMap/default/written-before")["drill"]
    assert found["problems"] == []
    assert found["counts"]["Node"] == 3
    assert found["counts"]["Secret"] > 0
    assert set(found["fingerprints"]) == {"Kubernetes", "etcd", "aggregation", "Talos"}
    assert set(saved.data("lab", "status")["writes"].values()) == {0}, "the cluster was not touched"
    assert not (saved.state / "drill").exists()
    assert not (saved.state / "opened").exists()


def test_what_was_written_after_is_told_to_be_absent(saved: RealLab) -> None:
    words = ("backup", "drill", "--lab", "--expect", "ConfigMap/default/written-after")
    found = saved.data(*words, code=1)["drill"]
    assert found["problems"] == ["ConfigMap/default/written-after did not come back"]


def test_a_damaged_backup_is_refused(saved: RealLab) -> None:
    (backup,) = (saved.state / "backups").iterdir()
    snapshot = backup / "etcd.snapshot"
    whole = snapshot.read_bytes()
    try:
        snapshot.write_bytes(whole[:5000] + bytes([whole[5000] ^ 1]) + whole[5001:])
        _, err = saved.run("backup", "drill", "--lab", code=2)
        assert "`etcd.snapshot` in the backup is not what was saved" in err
    finally:
        snapshot.write_bytes(whole)
