"""The programs that a rescue system has and this machine may lack."""

from __future__ import annotations

import lzma
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tallship.lab import rescue

PROGRAMS = Path(rescue.__file__).parent / "rescue_programs"


def run(name: str, *words: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-I", str(PROGRAMS / f"{name}.py"), *words]
    return subprocess.run(command, capture_output=True, timeout=20, check=False)


@pytest.fixture
def packed(tmp_path: Path) -> str:
    (tmp_path / "image.raw.xz").write_bytes(lzma.compress(b"x" * 5000))
    return str(tmp_path / "image.raw.xz")


def test_xz_unpacks_to_stdout(packed: str) -> None:
    assert run("xz", "-dc", packed).stdout == b"x" * 5000


def test_xz_unpacks_what_comes_through_a_pipe(packed: str) -> None:
    command = [sys.executable, "-I", str(PROGRAMS / "xz.py"), "-dc"]
    done = subprocess.run(command, input=Path(packed).read_bytes(), capture_output=True, timeout=20, check=False)
    assert (done.returncode, done.stdout) == (0, b"x" * 5000)


def test_xz_refuses_a_file_that_is_cut_off(packed: str) -> None:
    whole = Path(packed).read_bytes()
    Path(packed).write_bytes(whole[: len(whole) // 2])
    assert run("xz", "-dc", packed).returncode == 1


def test_curl_fails_when_nobody_answers(tmp_path: Path) -> None:
    done = run("curl", "-fsSL", "--connect-timeout", "20", "-o", str(tmp_path / "file"), "https://127.0.0.1:1/x")
    assert done.returncode == 7
    assert b"refused" in done.stderr


def test_curl_writes_to_stdout_and_tells_a_download_that_broke_off() -> None:
    for promised, code in ((4, 0), (9, 18)):
        with one_answer(f"HTTP/1.1 200 OK\r\nContent-Length: {promised}\r\n\r\nwhat") as url:
            done = run("curl", "-fsSL", "-A", "builder", url)
        assert (done.returncode, done.stdout) == (code, b"what")


def test_curl_tells_a_refusal() -> None:
    with one_answer("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n") as url:
        assert run("curl", "-fsSL", url).returncode == 22


@contextmanager
def one_answer(text: str) -> Iterator[str]:
    """Give a URL that answers once, with this text."""

    def answer() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(text.encode())

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(20)
        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/image"
        thread.join(20)
