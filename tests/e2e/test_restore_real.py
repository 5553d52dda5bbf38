"""A lost etcd is restored with the real etcd's own snapshot; and etcd's own program takes what the lab writes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from kubectl import SECONDS, Kubectl
from waiting import wait_until

sys.path.append(str(Path(__file__).parents[1] / "cli"))
from real_lab import RealLab

from tallship.adapters import talos_recovery
from tallship.cli.lab import site_of_lab
from tallship.cli.options import Options
from tallship.engine import Run
from tallship.env import Env
from tallship.lab import bbolt
from tallship.lab.kube import registry
from tallship.lab.talos.recovery import with_hash
from tallship.manifests import restore as documents
from tallship.ops import restore
from tallship.ops.restore_nodes import list_planes
from tallship.report.plain import Silent
from tallship.spec import load_spec
from tallship.talosproto import machine_pb2
from tallship.talosproto.machine_grpc import MachineServiceStub

NODES = 3


@pytest.fixture
def env(lab: RealLab, monkeypatch: pytest.MonkeyPatch) -> Iterator[Env]:
    """What a step may use, as a command of this lab would have it."""
    for name in ("HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(name, lab.environment[name])
    file = lab.folder / "tallship.yaml"
    site, clock = site_of_lab(Options(file=file, lab=True, quiet=True), lab.state)
    with closing(Env(load_spec(file), site, lab.state, clock, lab.folder)) as made:
        yield made


@pytest.fixture
def workload(lab: RealLab, programs: Path, tmp_path: Path) -> Kubectl:
    return Kubectl(programs / "kubectl", lab.state / "kubeconfig", tmp_path)


def take(env: Env, file: Path) -> None:
    found: list[bytes] = []
    request = machine_pb2.EtcdSnapshotRequest()
    node = list_planes(env)[0].node
    env.talos.follow(node, "EtcdSnapshot", MachineServiceStub, request, lambda each: found.append(each.bytes), 60)
    file.write_bytes(b"".join(found))


def etcdutl(programs: Path, *words: str) -> str:
    command = [str(programs / "etcdutl"), "snapshot", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=True)
    return str(done.stdout)


def test_etcd_takes_what_the_lab_writes(programs: Path, tmp_path: Path) -> None:
    pairs = [
        registry.pair(f"/registry/configmaps/default/{each}".encode(), each, b"x" * each) for each in range(2, 6000)
    ]
    own = {
        b"meta": [(b"consistent_index", (7).to_bytes(8)), (b"term", (2).to_bytes(8))],
        b"members": [],
        b"cluster": [],
    }
    file = tmp_path / "etcd.snapshot"
    file.write_bytes(with_hash(bbolt.write({**own, registry.BUCKET: pairs})))
    told = json.loads(etcdutl(programs, "status", str(file), "-w", "json"))
    assert (told["revision"], told["totalKey"]) == (5999, len(pairs) + len(own[b"meta"]))
    etcdutl(programs, "restore", str(file), "--data-dir", str(tmp_path / "data"))
    restored = bbolt.read((tmp_path / "data/member/snap/db").read_bytes())
    assert restored[registry.BUCKET] == pairs


def test_real_objects_come_back_and_later_ones_are_gone(
    lab: RealLab, env: Env, workload: Kubectl, tmp_path: Path, programs: Path
) -> None:
    workload("create", "configmap", "before", "--from-literal=told=yes")
    file = tmp_path / "etcd.snapshot"
    take(env, file)
    facts = documents.verified(file.read_bytes()).facts
    assert facts.nodes == NODES
    assert facts.revision == json.loads(etcdutl(programs, "status", str(file), "-w", "json"))["revision"]
    workload("create", "configmap", "after", "--from-literal=told=yes")
    planes = list_planes(env)
    for plane in planes[:2]:
        talos_recovery.wipe(env.talos, plane.node)
    wait_until(lambda: not workload.answers())
    Run(env, env.clock, Silent()).make(restore.flow(file))
    names = {each["metadata"]["name"] for each in workload.get("configmaps")["items"]}
    assert ("before" in names, "after" in names) == (True, False)
    lab.run("up", "--lab", "--quiet")
    lab.run("lab", "status", "--reset-counters")
    lab.run("up", "--lab", "--quiet")
    assert set(lab.data("lab", "status")["writes"].values()) == {0}
