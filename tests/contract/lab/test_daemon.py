"""The lab as a process: started, found, asked, killed, started again."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tallship.errors import SetupError
from tallship.lab import daemon
from tallship.lab.daemon import LabHandle

SPEED = 100.0


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabHandle]:
    """A lab that the tests of this file share; a test that ends it leaves another one in the same folder."""
    folder = tmp_path_factory.mktemp("lab")
    yield daemon.start(folder, daemon.Wanted(SPEED))
    daemon.stop(folder)


def test_second_start_finds_the_first_lab(lab: LabHandle) -> None:
    assert daemon.start(lab.folder, daemon.Wanted(SPEED)) == daemon.find(lab.folder)


def test_folder_holds_what_others_need_and_keeps_secrets_private(lab: LabHandle) -> None:
    for name in ("token", "secret", "store.sqlite"):
        assert (lab.folder / name).stat().st_mode & 0o077 == 0
    assert {path.name for path in lab.bin_folder.iterdir()} >= {"kind", "clusterctl", "helm"}
    assert "BEGIN CERTIFICATE" in lab.ca_file.read_text()


def test_hetzner_api_takes_the_token_of_the_folder(lab: LabHandle) -> None:
    assert _ask_hetzner(lab, lab.token) == 200
    assert _ask_hetzner(lab, "x" * 64) == 401


def test_status_tells_writes_endpoints_and_faults(lab: LabHandle) -> None:
    lab.add_fault("slow", {"route": "GET /servers"}, {"seconds": 1}, times=0)
    status = lab.status()
    assert status["writes"] == {"hetzner": 0, "kubernetes": 0, "talos": 0}
    assert status["endpoints"]["hetzner"] == lab.hetzner_endpoint
    assert [fault["name"] for fault in status["faults"]] == ["slow"]
    assert lab.clear_faults("slow") == 1
    assert lab.reset_counters()["faults"] == []


def test_control_wants_the_secret_except_for_the_callers_address(lab: LabHandle) -> None:
    assert _get(http.client.HTTPConnection(_host(lab.control_url)), "/address") == (200, b"127.0.0.1\n")
    assert _get(http.client.HTTPConnection(_host(lab.control_url)), "/status")[0] == 401


def test_killed_lab_goes_on_where_it_was(lab: LabHandle) -> None:
    token, seconds = lab.issue_token(), lab.status()["seconds"]
    os.kill(lab.pid, signal.SIGKILL)
    os.waitpid(lab.pid, 0)
    again = daemon.start(lab.folder, daemon.Wanted(SPEED))
    assert (again.network, again.token) == (lab.network, lab.token)
    assert again.pid != lab.pid
    assert _ask_hetzner(again, token) == 200
    assert again.status()["seconds"] >= seconds


def test_stopped_lab_is_not_found(tmp_path: Path) -> None:
    handle = daemon.start(tmp_path / "lab", daemon.Wanted(SPEED))
    assert daemon.stop(tmp_path / "lab")
    assert daemon.find(tmp_path / "lab") is None
    assert not daemon.stop(tmp_path / "lab")
    assert not handle.alive


def test_network_of_a_stopped_lab_is_not_given_to_another(tmp_path: Path) -> None:
    first = daemon.start(tmp_path / "first", daemon.Wanted(SPEED)).network
    daemon.stop(tmp_path / "first")
    second = daemon.start(tmp_path / "second", daemon.Wanted(SPEED)).network
    again = daemon.start(tmp_path / "first", daemon.Wanted(SPEED)).network
    for name in ("first", "second"):
        daemon.stop(tmp_path / name)
    assert second != first
    assert again == first


def test_foreign_token_and_proxy_stay_outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HCLOUD_TOKEN", "real-token-of-a-person")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    handle = daemon.start(tmp_path / "lab", daemon.Wanted(SPEED))
    try:
        environment = Path(f"/proc/{handle.pid}/environ").read_text()
        assert "real-token" not in environment
        assert "HTTPS_PROXY" not in environment
    finally:
        daemon.stop(tmp_path / "lab")


def test_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SetupError, match="cannot write") as error:
        daemon.start(tmp_path / "file" / "lab", daemon.Wanted(SPEED))
    assert error.value.hint


def test_port_in_use_is_an_error_and_leaves_no_process(tmp_path: Path) -> None:
    folder = tmp_path / "lab"
    network = daemon.start(folder, daemon.Wanted(SPEED)).network
    daemon.stop(folder)
    with socket.create_server((f"{network}.1", 8443)), pytest.raises(SetupError, match=r"port .* in use") as error:
        daemon.start(folder, daemon.Wanted(SPEED))
    assert "8443" in error.value.detail
    assert daemon.find(folder) is None


def test_unknown_stand_in_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="no stand-in called crossplane") as error:
        daemon.start(tmp_path / "lab", daemon.Wanted(SPEED, ("crossplane",)))
    assert "caph" in error.value.hint


def _ask_hetzner(lab: LabHandle, token: str) -> int:
    context = ssl.create_default_context(cafile=lab.ca_file)
    connection = http.client.HTTPSConnection(_host(lab.hetzner_endpoint), timeout=5, context=context)
    return _get(connection, "/v1/locations", Authorization=f"Bearer {token}")[0]


def _get(connection: http.client.HTTPConnection, path: str, **headers: str) -> tuple[int, bytes]:
    with contextlib.closing(connection):
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read()


def _host(url: str) -> str:
    return urlsplit(url).netloc
