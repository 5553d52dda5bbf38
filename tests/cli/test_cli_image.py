"""`tallship image` against a real lab: signals, kills, and what a person reads."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator

import pytest
from real_lab import SECONDS, SPEED, RealLab, ended

from tallship.lab import daemon

NAME = "talos-amd64-v1.12.2"


@pytest.fixture
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealLab]:
    """A lab with nothing in it."""
    made = RealLab(tmp_path_factory.mktemp("lab"))
    try:
        made.run("lab", "up", "--speed", SPEED)
        yield made
    finally:
        daemon.stop(made.state / "lab")


def until(lab: RealLab, noun: str, count: int) -> None:
    """Wait until the project holds so many."""
    deadline = time.monotonic() + SECONDS
    while lab.inventory()[noun] != count:
        assert time.monotonic() < deadline


def test_a_snapshot_is_built_listed_replaced_and_pruned(lab: RealLab) -> None:
    out, err = lab.run("image", "build", "--lab", "--architecture", "amd64", "--architecture", "arm64")
    assert NAME in out
    assert "talos-arm64-v1.12.2" in out
    assert "% of" in err
    assert "next: tallship image list --lab" in err
    assert lab.data("image", "build", "--lab", "--quiet")["changed"] is False
    images = lab.data("image", "list", "--lab")["images"]
    assert [each["name"] for each in images if each["architecture"] == "amd64"] == [NAME]
    assert all(each["state"] == "ready" and each["size_gb"] and not each["clusters"] for each in images)
    assert lab.data("image", "build", "--lab", "--rebuild", "--quiet")["changed"] is True
    out, _ = lab.run("image", "prune", "--lab", "--dry-run")
    assert "nothing was deleted" in out
    _, err = lab.run("image", "prune", "--lab", code=2)
    assert "agree with `--yes`" in err
    assert lab.data("image", "prune", "--lab", "--yes", "--keep", "0")["deleted"]
    out, _ = lab.run("image", "list", "--lab")
    assert out.count("ready") == 1
    out, _ = lab.run("image", "prune", "--lab", "--yes", "--keep", "0")
    assert "there is nothing to delete" in out


@pytest.mark.long
def test_another_version_is_another_snapshot(lab: RealLab) -> None:
    lab.run("image", "build", "--lab", "--quiet", "--set", "talos.version=v1.12.1")
    images = lab.data("image", "list", "--lab")["images"]
    assert [each["talos"] for each in images] == ["v1.12.1"]


def test_fewer_than_none_cannot_be_kept(lab: RealLab) -> None:
    _, err = lab.run("image", "prune", "--lab", "--keep", "-1", code=2)
    assert "cannot be kept" in err


def test_ctrl_c_leaves_nothing(lab: RealLab) -> None:
    process = lab.start("image", "build", "--lab")
    until(lab, "builders", 1)
    process.send_signal(signal.SIGINT)
    _, err = ended(process, 130)
    assert "hint:" in err
    assert +lab.inventory() == {}


@pytest.mark.long
def test_what_a_killed_build_left_is_found_by_prune_and_by_the_next_build(lab: RealLab) -> None:
    for words in (("image", "prune", "--yes"), ("image", "build")):
        process = lab.start("image", "build", "--lab")
        until(lab, "builders", 1)
        process.kill()
        process.communicate(timeout=SECONDS)
        left = lab.data("image", "list", "--lab")["left_behind"]
        assert len(left) == 2
        lab.run(*words, "--lab", "--quiet")
        assert lab.inventory()["builders"] == lab.inventory()["keys"] == 0
    assert lab.inventory()["images"] == 1
