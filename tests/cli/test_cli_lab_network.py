"""A lab in a network namespace: who reaches what from where, and that nothing of it is left."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from command_line import CommandLine
from real_lab import SPEED, RealLab

from tallship.lab import daemon, namespace


def _may_make_one() -> bool:
    if sys.platform != "linux" or os.geteuid() != 0:
        return False
    command = [sys.executable, "-c", "from tallship.lab import namespace; namespace.make()"]
    return subprocess.run(command, capture_output=True, timeout=20, check=False).returncode == 0


needs_namespace = pytest.mark.skipif(not _may_make_one(), reason="no root on Linux that may make a network namespace")
SECONDS = 30.0


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealLab]:
    """A lab in a namespace, with a whole cluster."""
    made = RealLab(tmp_path_factory.mktemp("lab"))
    try:
        made.run("lab", "up", "--speed", SPEED, "--network", "namespace")
        made.run("up", "--lab", "--quiet")
        yield made
    finally:
        daemon.stop(made.state / "lab")


def dial(address: str, port: int) -> str:
    """Return a command that tells from where it was connected, or fails."""
    connect = f"socket.create_connection(('{address}', {port}), 5)"
    return f'{sys.executable} -c "import socket; print({connect}.getsockname()[0])"'


def shell(lab: RealLab, script: str) -> subprocess.CompletedProcess[str]:
    """Run a script of a person who has taken what `lab env` prints."""
    whole = f'eval "$(tallship lab env)"\n{script}'
    return subprocess.run(
        ["sh", "-ec", whole],
        cwd=lab.folder,
        env=lab.environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def private_addresses(lab: RealLab) -> list[str]:
    """Return the private address of each machine."""
    nodes = lab.data("status", "--lab")["nodes"]
    return [each for node in nodes for each in node["addresses"] if each.startswith("10.")]


@needs_namespace
def test_machines_answer_on_their_private_addresses_inside_only(lab: RealLab) -> None:
    private = private_addresses(lab)
    assert len(private) == 3
    dialled = [f"$IN_LAB {dial(address, port)}" for address in private for port in (50000, 6443)]
    inside = shell(lab, "\n".join(dialled))
    assert (inside.stdout.splitlines(), inside.stderr) == (["10.0.0.1"] * 6, "")
    assert shell(lab, dial(private[0], 50000)).returncode != 0
    assert shell(lab, dial(f"{lab.handle.network}.1", 8443)).returncode != 0


@needs_namespace
def test_foreign_program_inside_reaches_hetzner_by_the_proxy(lab: RealLab) -> None:
    bearer = 'Authorization: Bearer $(cat "$HCLOUD_TOKEN_FILE")'
    asked = shell(lab, f'$IN_LAB curl --fail -sS -H "{bearer}" https://api.hetzner.cloud/v1/servers')
    assert '"k8s-control-plane' in asked.stdout, asked.stderr


@needs_namespace
def test_certificate_of_a_machine_holds_its_private_address(lab: RealLab) -> None:
    address = private_addresses(lab)[0]
    (context,) = yaml.safe_load((lab.state / "talosconfig").read_text())["contexts"].values()
    (lab.folder / "talos-ca.pem").write_bytes(base64.b64decode(context["ca"]))
    program = f"""
import socket, ssl
trust = ssl.create_default_context(cafile="talos-ca.pem")
trust.wrap_socket(socket.create_connection(("{address}", 50000), 5), server_hostname="{address}").close()
"""
    (lab.folder / "handshake.py").write_text(program)
    done = shell(lab, f"$IN_LAB {sys.executable} handshake.py")
    assert done.returncode == 0, done.stderr


@needs_namespace
def test_ports_of_machines_are_never_given_to_a_client(lab: RealLab) -> None:
    name = "/proc/sys/net/ipv4/ip_local_reserved_ports"
    outside = Path(name).read_text()
    assert shell(lab, f"$IN_LAB cat {name}").stdout.strip() == "6443,50000"
    assert Path(name).read_text() == outside


@needs_namespace
def test_second_run_inside_changes_nothing(lab: RealLab) -> None:
    lab.run("lab", "status", "--reset-counters")
    lab.run("up", "--lab", "--quiet")
    assert set(lab.data("lab", "status")["writes"].values()) == {0}


@needs_namespace
def test_lab_that_runs_is_found_again(lab: RealLab) -> None:
    assert lab.data("lab", "up")["in_namespace"]
    out, _ = lab.run("lab", "up", "--network", "namespace")
    assert "in a network namespace of its own" in out


@needs_namespace
def test_nothing_is_left_after_down(tmp_path: Path) -> None:
    made = RealLab(tmp_path)
    made.run("lab", "up", "--network", "namespace")
    inside = inside_of(made.handle.pid)
    assert str(made.handle.pid) in inside
    assert str(os.getpid()) not in inside
    assert made.data("lab", "down")["stopped"]
    assert not [each for each in inside if network_of(Path("/proc") / each)]
    assert made.run("lab", "status", code=2)[1].startswith("error: no lab runs for this file")


def inside_of(pid: int) -> list[str]:
    """Return the processes that are in the network namespace of a process."""
    wanted = network_of(Path(f"/proc/{pid}"))
    return [each.name for each in Path("/proc").iterdir() if each.name.isdigit() and network_of(each) == wanted]


def network_of(process: Path) -> str:
    """Return what names the network namespace of a process; nothing when the process is gone."""
    try:
        return str((process / "ns" / "net").readlink())
    except OSError:
        return ""


@needs_namespace
def test_lab_that_runs_outside_is_not_moved(tmp_path: Path) -> None:
    made = RealLab(tmp_path)
    try:
        made.run("lab", "up")
        _, err = made.run("lab", "up", "--network", "namespace", code=2)
        assert "without a network namespace" in err
        assert "hint: `tallship lab down` first" in err
        made.run("lab", "status")
    finally:
        daemon.stop(made.state / "lab")


@pytest.mark.parametrize(("platform", "user", "word"), [("darwin", 0, "only Linux"), ("linux", 1000, "only root")])
def test_namespace_is_refused_where_there_can_be_none(
    tallship: CommandLine, monkeypatch: pytest.MonkeyPatch, platform: str, user: int, word: str
) -> None:
    tallship.write("name: k8s\n")
    monkeypatch.setattr(namespace, "sys", SimpleNamespace(platform=platform))
    monkeypatch.setattr(namespace, "os", SimpleNamespace(geteuid=lambda: user))
    shown = tallship("lab", "up", "--network", "namespace")
    assert shown.code == 2
    assert word in shown.err
    assert "leave out `--network namespace`" in shown.err
