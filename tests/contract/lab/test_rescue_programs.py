"""The programs that a rescue system has and this machine may lack."""

from __future__ import annotations

import lzma
import subprocess
import sys
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


def test_xz_tells_sizes_to_scripts(packed: str) -> None:
    words = run("xz", "--robot", "-l", packed).stdout.split()
    assert words[0] == b"totals"
    assert (int(words[3]), int(words[4])) == (Path(packed).stat().st_size, 5000)


def test_xz_refuses_a_file_that_is_cut_off(packed: str) -> None:
    whole = Path(packed).read_bytes()
    Path(packed).write_bytes(whole[: len(whole) // 2])
    assert run("xz", "-dc", packed).returncode == 1


def test_curl_fails_when_nobody_answers(tmp_path: Path) -> None:
    done = run("curl", "-fsSL", "--retry", "3", "-A", "builder", "-o", str(tmp_path / "file"), "https://127.0.0.1:1/x")
    assert done.returncode == 22
    assert b"refused" in done.stderr
