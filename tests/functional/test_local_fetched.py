"""`management: local`: what is to be fetched is told before, and what is missing of a given folder."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from release_world import StillClock

from tallship.engine import State
from tallship.env import Env, Site
from tallship.errors import SetupError
from tallship.ops.bootstrap import LocalCluster
from tallship.spec import parse_spec


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def env(tmp_path: Path, programs: str = "", site: Site | None = None) -> Env:
    spec = parse_spec(f"name: k8s\nmanagement: local\nprograms: {{{programs}}}").spec
    assert spec is not None
    folder = tmp_path / "state"
    folder.mkdir(exist_ok=True)
    return Env(spec, site or Site("token"), folder, StillClock(), tmp_path, stop=threading.Event())


def test_plan_names_what_will_be_fetched(tmp_path: Path) -> None:
    seen = LocalCluster(env(tmp_path)).probe()
    assert seen.state is State.MISSING
    assert seen.change.startswith("create the local plane, with etcd v3.5.21, kube-apiserver v1.32.2")
    assert "cacppt v0.5.12, core-components.yaml v1.10.10" in seen.change


def test_given_folder_is_asked_for_every_file(tmp_path: Path) -> None:
    (tmp_path / "programs").mkdir()
    with pytest.raises(SetupError, match=r"missing: etcd, kube-apiserver.*, control-plane-components\.yaml"):
        LocalCluster(env(tmp_path, "path: programs")).probe()


def test_lab_without_real_api_servers_says_what_it_needs(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="need a lab of real API servers"):
        LocalCluster(env(tmp_path, site=Site("token", is_lab=True))).probe()
