"""A local plane's life: started, found, killed in parts and as a whole, stopped."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import stat
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from tallship.errors import ProgramError, SetupError
from tallship.localplane import certificates, kubernetes, plane
from tallship.localplane.child import State
from tallship.localplane.plane import LocalPlane, Settings
from tallship.localplane.processes import is_running, started_at
from tallship.localplane.program import Probe, Program

WAIT_SECONDS = 20.0


def wait_until(claim: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not claim():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.02)


def processes(found: LocalPlane) -> dict[int, str]:
    """Return number and start time of every process of a plane."""
    mine = {found.pid: found.started}
    return mine | {each.pid: each.started for each in found.programs().values()}


def ports(folder: Path) -> dict[str, int]:
    return dict(json.loads((folder / "plane.json").read_text())["ports"])


def server_certificate(address: str, port: int, authority: str, name: str) -> dict[str, object]:
    context = ssl.create_default_context(cadata=authority)
    with socket.create_connection((address, port), 5) as plain, context.wrap_socket(plain, server_hostname=name) as tls:
        found = tls.getpeercert()
    assert found is not None
    return dict(found)


def test_programs_are_ready_and_known_when_start_returns(running: LocalPlane) -> None:
    assert {name: each.state for name, each in running.programs().items()} == dict.fromkeys(
        kubernetes.NAMES, State.READY
    )
    assert plane.find(running.folder) == running


def test_programs_start_in_order_and_end_in_the_other(running: LocalPlane, settings: Settings) -> None:
    running.stop()
    etcd, server, controllers = kubernetes.NAMES
    expected = [f"{name} starts" for name in (etcd, server, controllers)]
    expected += [f"{name} ends" for name in (controllers, server, etcd)]
    assert (settings.programs / "life").read_text().splitlines() == expected


def test_nothing_is_left_running_after_stop(running: LocalPlane) -> None:
    before = processes(running)
    assert plane.stop(running.folder)
    assert not any(is_running(pid, started) for pid, started in before.items())
    assert plane.find(running.folder) is None
    assert not plane.stop(running.folder)


def test_only_the_owner_can_read_anything(running: LocalPlane) -> None:
    running.serving_pair("webhooks")
    open_to_others = [
        str(each) for each in running.folder.rglob("*") if each.is_file() and stat.S_IMODE(each.stat().st_mode) & 0o077
    ]
    assert open_to_others == []
    folders = [running.folder, *(each for each in running.folder.rglob("*") if each.is_dir())]
    assert {stat.S_IMODE(each.stat().st_mode) for each in folders} == {0o700}


def test_second_start_finds_what_runs(running: LocalPlane, settings: Settings) -> None:
    before = processes(running)
    again = plane.start(running.folder, settings)
    assert processes(again) == before


def test_two_starts_at_once_make_one_plane(folder: Path, settings: Settings) -> None:
    found: list[LocalPlane] = []
    threads = [threading.Thread(target=lambda: found.append(plane.start(folder, settings))) for _ in range(2)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(WAIT_SECONDS)
    assert len({each.pid for each in found}) == 1


def test_other_settings_start_it_anew_with_the_same_authority(running: LocalPlane, settings: Settings) -> None:
    authority = running.authority
    again = plane.start(running.folder, replace(settings, hosts=("10.0.0.1", "api.example.com")))
    assert again.pid != running.pid
    assert again.authority == authority
    port = ports(again.folder)[kubernetes.API_SERVER]
    names = server_certificate("127.0.0.1", port, authority, "api.example.com")["subjectAltName"]
    assert ("IP Address", "10.0.0.1") in names  # type: ignore[operator]


@pytest.mark.parametrize("name", kubernetes.NAMES)
def test_killed_program_comes_back_alone(running: LocalPlane, name: str) -> None:
    before = running.programs()
    os.kill(before[name].pid, signal.SIGKILL)
    wait_until(lambda: running.programs()[name].restarts == 1 and running.programs()[name].state is State.READY)
    after = running.programs()
    assert after[name].last_end == "signal 9"
    assert {each: after[each].pid for each in after if each != name} == {
        each: before[each].pid for each in before if each != name
    }


def test_programs_do_not_outlive_a_killed_supervisor(running: LocalPlane) -> None:
    before = processes(running)
    os.kill(running.pid, signal.SIGKILL)
    wait_until(lambda: not any(is_running(pid, started) for pid, started in before.items()))
    assert plane.find(running.folder) is None


def test_plane_comes_back_where_it_was(running: LocalPlane, settings: Settings) -> None:
    authority, kept = running.authority, ports(running.folder)
    os.kill(running.pid, signal.SIGKILL)
    wait_until(lambda: not running.is_alive)
    again = plane.start(running.folder, settings)
    assert (again.authority, ports(again.folder)) == (authority, kept)


@pytest.mark.parametrize("seconds", [0.0, 0.1, 0.2, 0.4])
def test_start_that_is_killed_halfway_can_be_repeated(folder: Path, settings: Settings, seconds: float) -> None:
    killer = threading.Thread(target=kill_supervisor, args=(folder, seconds))
    killer.start()
    try:
        plane.start(folder, settings)
    except ProgramError as error:
        assert "supervisor" in error.message
    killer.join(WAIT_SECONDS)
    again = plane.start(folder, settings)
    assert all(each.state is State.READY for each in again.programs().values())


def kill_supervisor(folder: Path, seconds: float) -> None:
    wait_until(lambda: plane.find(folder) is not None)
    time.sleep(seconds)
    if found := plane.find(folder):
        os.kill(found.pid, signal.SIGKILL)


def test_port_that_somebody_else_took_is_exchanged(running: LocalPlane, settings: Settings) -> None:
    running.stop()
    before = ports(running.folder)
    with socket.create_server(("127.0.0.1", before[kubernetes.API_SERVER])):
        again = plane.start(running.folder, settings)
    after = ports(again.folder)
    assert after.pop(kubernetes.API_SERVER) != before.pop(kubernetes.API_SERVER)
    assert after == before
    server = yaml.safe_load(again.kubeconfig.read_text())["clusters"][0]["cluster"]["server"]
    assert server == f"https://127.0.0.1:{ports(again.folder)[kubernetes.API_SERVER]}"


def test_chosen_address_and_port_are_used(folder: Path, settings: Settings) -> None:
    address = f"127.82.{10 + os.getpid() % 240}.1"
    found = plane.start(folder, replace(settings, address=address, port=6443))
    assert server_certificate(address, 6443, found.authority, address)
    found.stop()
    with socket.create_server((address, 6443)), pytest.raises(SetupError, match="port 6443"):
        plane.start(folder, replace(settings, address=address, port=6443))


def test_given_authority_signs_the_server(folder: Path, settings: Settings) -> None:
    given = certificates.authority("a cluster's own")
    found = plane.start(folder, replace(settings, authority=given))
    assert found.authority == given.certificate
    server_certificate("127.0.0.1", ports(folder)[kubernetes.API_SERVER], given.certificate, "localhost")
    assert given.key not in (folder / "plane.json").read_text()


def test_missing_program_is_named(folder: Path, settings: Settings) -> None:
    (settings.programs / kubernetes.ETCD).unlink()
    with pytest.raises(SetupError, match="`etcd`"):
        plane.start(folder, settings)


def test_program_that_only_fails_is_told_with_its_log(folder: Path, settings: Settings) -> None:
    program = settings.programs / kubernetes.API_SERVER
    program.write_text("#!/bin/sh\necho cannot do this >&2\nexit 7\n")
    with pytest.raises(ProgramError, match=r"`kube-apiserver` does not become ready \(exit code 7\)") as caught:
        plane.start(folder, settings)
    assert "cannot do this" in caught.value.detail
    assert plane.find(folder) is None


def manager(name: str = "one", *arguments: str, **more: object) -> Program:
    return replace(Program(name, ("/bin/sleep", "1000"), after=(kubernetes.API_SERVER,)), **more)  # type: ignore[arg-type]


def test_added_program_runs_and_comes_back_with_the_plane(running: LocalPlane, settings: Settings) -> None:
    running.add(manager())
    assert running.programs()["one"].state is State.READY
    running.stop()
    again = plane.start(running.folder, settings)
    wait_until(lambda: again.programs()["one"].state is State.READY)


def test_program_described_otherwise_is_replaced(running: LocalPlane) -> None:
    running.add(manager())
    before = running.programs()["one"]
    running.add(manager(environment={"X": "1"}))
    after = running.programs()["one"]
    assert not is_running(before.pid, before.started)
    assert b"X=1" in Path(f"/proc/{after.pid}/environ").read_bytes()


def test_same_program_added_again_goes_on(running: LocalPlane) -> None:
    running.add(manager())
    before = running.programs()
    running.add(manager())
    assert running.programs() == before


def test_removed_program_is_gone(running: LocalPlane) -> None:
    running.add(manager())
    before = running.programs()["one"]
    running.remove("one")
    assert not is_running(before.pid, before.started)
    assert "one" not in running.programs()


def test_added_program_that_fails_is_told_and_stays(running: LocalPlane) -> None:
    with pytest.raises(ProgramError, match="`one` does not become ready"):
        running.add(manager(argv=("/nowhere/manager",)))
    assert "No such file" in running.programs()["one"].last_end
    running.remove("one")


def test_program_that_does_not_get_ready_in_time_is_started_again(running: LocalPlane, settings: Settings) -> None:
    port = running.port("sick")
    silent = manager(probe=Probe(f"http://127.0.0.1:{port}/"), ready_seconds=0.1)
    with pytest.raises(ProgramError, match=r"not ready after 0 s"):
        running.add(silent)


def test_programs_know_nothing_of_our_environment(
    folder: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HCLOUD_TOKEN", "SECRET")
    found = plane.start(folder, settings)
    for pid in processes(found):
        assert b"SECRET" not in Path(f"/proc/{pid}/environ").read_bytes()


def test_port_is_kept_under_its_name(running: LocalPlane, settings: Settings) -> None:
    port = running.port("webhooks")
    assert running.port("webhooks") == port
    assert running.port("health") != port
    running.stop()
    assert plane.start(running.folder, settings).port("webhooks") == port


def test_serving_pair_is_trusted_by_who_trusts_the_plane(running: LocalPlane) -> None:
    pair = running.serving_pair("webhooks")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pair / "tls.crt", pair / "tls.key")
    with socket.create_server(("127.0.0.1", running.port("webhooks"))) as server:
        serving = threading.Thread(target=serve_once, args=(server, context))
        serving.start()
        server_certificate("127.0.0.1", running.port("webhooks"), running.authority, "127.0.0.1")
        serving.join(WAIT_SECONDS)


def serve_once(server: socket.socket, context: ssl.SSLContext) -> None:
    connection, _ = server.accept()
    with connection, context.wrap_socket(connection, server_side=True) as tls:
        tls.recv(1)


def test_number_of_a_process_that_is_another_by_now_is_not_taken_for_it() -> None:
    mine = started_at(os.getpid())
    assert is_running(os.getpid(), mine)
    assert not is_running(os.getpid(), mine + "1")
    assert not is_running(os.getpid(), "")
    assert started_at(2**22 + 1) == ""
