"""A local plane of the real etcd, kube-apiserver and kube-controller-manager."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from documents import CRDS, providers_definitions
from kubectl import Kubectl, Refused
from waiting import wait_until
from wire import Wire

from tallship.localplane import kubernetes, plane
from tallship.localplane.child import State
from tallship.localplane.plane import LocalPlane, Settings
from tallship.localplane.processes import is_running
from tallship.localplane.program import Probe, Program

LISTENING = "0A"  # proc(5), /proc/net/tcp


@pytest.fixture
def kubectl(real: LocalPlane, programs: Path, tmp_path: Path) -> Kubectl:
    return Kubectl(programs / "kubectl", real.kubeconfig, tmp_path)


def answers(kubectl: Kubectl, *arguments: str) -> bool:
    try:
        kubectl(*arguments)
    except Refused:
        return False
    return True


def listening(pid: int) -> Iterator[str]:
    """Yield the addresses that a process listens at, as the kernel writes them."""
    links = [str(each.readlink()) for each in Path(f"/proc/{pid}/fd").iterdir() if each.is_symlink()]
    mine = {each.removeprefix("socket:[").removesuffix("]") for each in links if each.startswith("socket:")}
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == LISTENING and fields[9] in mine:
                yield fields[1].partition(":")[0]


def test_real_plane_that_was_stopped_starts_again(programs: Path, tmp_path: Path) -> None:
    for _ in range(2):
        plane.start(tmp_path / "plane", Settings(programs))
        assert plane.find(tmp_path / "plane") is not None
        plane.stop(tmp_path / "plane")
        assert plane.find(tmp_path / "plane") is None


def test_administrator_sees_the_namespaces(kubectl: Kubectl) -> None:
    names = {each["metadata"]["name"] for each in kubectl.get("namespaces")["items"]}
    assert names >= {"default", "kube-system"}
    assert kubectl("auth", "can-i", "*", "*", "--all-namespaces").strip() == "yes"


def test_server_says_its_version(kubectl: Kubectl) -> None:
    assert json.loads(kubectl("version", "-o", "json"))["serverVersion"]["gitVersion"] == "v1.32.2"


def test_controllers_do_what_a_plane_without_nodes_needs(kubectl: Kubectl) -> None:
    kubectl("create", "namespace", "short-lived")
    wait_until(lambda: answers(kubectl, "-n", "short-lived", "get", "serviceaccount", "default"))
    wait_until(lambda: answers(kubectl, "-n", "short-lived", "get", "configmap", "kube-root-ca.crt"))
    owner = yaml.safe_load(kubectl("-n", "short-lived", "create", "configmap", "owner", "-o", "yaml"))
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}
    metadata = {"name": "owned", "namespace": "short-lived", "ownerReferences": [reference]}
    kubectl("create", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}))
    kubectl("-n", "short-lived", "delete", "configmap", "owner")
    wait_until(lambda: not answers(kubectl, "-n", "short-lived", "get", "configmap", "owned"))
    kubectl("delete", "namespace", "short-lived")
    assert not answers(kubectl, "get", "namespace", "short-lived")


def test_only_loopback_is_listened_on(real: LocalPlane) -> None:
    found = {name: set(listening(each.pid)) for name, each in real.programs().items()}
    assert {name for name, addresses in found.items() if addresses} >= set(kubernetes.NAMES)
    elsewhere = {address for addresses in found.values() for address in addresses if not address.endswith("7F")}
    assert elsewhere == set()  # 127.0.0.1 is written 0100007F


def test_nobody_without_a_certificate_reads_anything(real: LocalPlane, programs: Path, tmp_path: Path) -> None:
    config = yaml.safe_load(real.kubeconfig.read_text())
    config["users"][0]["user"] = {}
    (tmp_path / "nobody").write_text(yaml.safe_dump(config))
    with pytest.raises(Refused):
        Kubectl(programs / "kubectl", tmp_path / "nobody", tmp_path)("get", "namespaces")


def test_files_of_the_plane_are_closed_to_others(real: LocalPlane) -> None:
    open_to_others = [
        each for each in [real.folder, *real.folder.rglob("*")] if stat.S_IMODE(each.stat().st_mode) & 0o77
    ]
    assert open_to_others == []


@pytest.mark.parametrize("name", kubernetes.NAMES)
def test_killed_program_is_healed_and_nothing_is_lost(real: LocalPlane, kubectl: Kubectl, name: str) -> None:
    kubectl("create", "configmap", f"before-{name}", "--from-literal=a=1")
    before = real.programs()[name]
    os.kill(before.pid, signal.SIGKILL)
    wait_until(lambda: real.programs()[name].restarts > before.restarts)
    wait_until(lambda: all(each.state is State.READY for each in real.programs().values()))
    wait_until(lambda: answers(kubectl, "get", "--raw", "/readyz"))
    assert kubectl.get("configmap", f"before-{name}")["data"] == {"a": "1"}
    kubectl("create", "configmap", f"after-{name}")


def test_killed_supervisor_and_start_again_keeps_the_objects(programs: Path, tmp_path: Path) -> None:
    first = plane.start(tmp_path / "plane", Settings(programs))
    kubectl = Kubectl(programs / "kubectl", first.kubeconfig, tmp_path)
    kubectl("create", "configmap", "kept", "--from-literal=a=1")
    processes = {each.pid: each.started for each in first.programs().values()}
    os.kill(first.pid, signal.SIGKILL)
    wait_until(lambda: not first.is_alive)
    try:
        again = plane.start(tmp_path / "plane", Settings(programs))
        assert not any(is_running(pid, started) for pid, started in processes.items())
        assert kubectl.get("configmap", "kept")["data"] == {"a": "1"}
        processes |= {each.pid: each.started for each in again.programs().values()} | {again.pid: again.started}
    finally:
        plane.stop(tmp_path / "plane")
    assert not any(is_running(pid, started) for pid, started in processes.items())


@pytest.mark.skipif(not CRDS.exists(), reason="the definitions that Cluster API ships are not here")
def test_real_cluster_api_runs_as_a_further_program(real: LocalPlane, programs: Path) -> None:
    wire = Wire(real.kubeconfig)
    wire.define(providers_definitions())
    wire.close()
    health = real.port("cluster-api-health")
    arguments = {
        "kubeconfig": real.kubeconfig,
        "leader-elect": "false",
        "webhook-port": real.port("cluster-api-webhooks"),
        "webhook-cert-dir": real.serving_pair("cluster-api"),
        "health-addr": f"127.0.0.1:{health}",
        "diagnostics-address": f"127.0.0.1:{real.port('cluster-api-diagnostics')}",
        "insecure-diagnostics": "true",
    }
    argv = (str(programs / "cluster-api"), *(f"--{name}={value}" for name, value in arguments.items()))
    probe = Probe(f"http://127.0.0.1:{health}/readyz")
    try:
        real.add(Program("cluster-api", argv, probe=probe, after=(kubernetes.API_SERVER,)))
        assert 'version="v1.10.10"' in real.log("cluster-api").read_text()
    finally:
        real.remove("cluster-api")


def test_machine_without_a_route_runs_one_too(programs: Path, tmp_path: Path) -> None:
    program = f"""
from pathlib import Path
from tallship.errors import SetupError
from tallship.lab import namespace
from tallship.localplane import plane
try:
    namespace.make()  # a network of nothing but loopback
except SetupError:
    print("not allowed")
else:
    found = plane.start(Path({str(tmp_path / "plane")!r}), plane.Settings(Path({str(programs)!r})))
    print(*sorted({{each.state.value for each in found.programs().values()}}))
    found.stop()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    if done.stdout == "not allowed\n":
        pytest.skip("needs root that may make a network namespace")
    assert (done.stdout, done.stderr) == ("ready\n", "")
