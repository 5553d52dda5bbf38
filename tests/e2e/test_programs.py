"""The programs that were built are the ones that `programs/*/go.mod` pins."""

from __future__ import annotations

import subprocess
from pathlib import Path

import build_programs
import pytest
from build_programs import RealProgram

ASKED = {
    "etcd": ["--version"],
    "kube-apiserver": ["--version"],
    "kube-controller-manager": ["--version"],
    "kubectl": ["version", "--client"],
    "clusterctl": ["version", "-o", "short"],
    "helm": ["version", "--short"],
}


SAYING = [each for each in build_programs.PROGRAMS if each.name in ASKED]  # Cluster API's says it in its log only


@pytest.mark.parametrize("program", SAYING, ids=lambda program: program.name)
def test_program_says_its_version(program: RealProgram, programs: Path, tmp_path: Path) -> None:
    environment = {"HOME": str(tmp_path), "CLUSTERCTL_DISABLE_VERSIONCHECK": "true"}
    asked: list[str | Path] = [programs / program.name, *ASKED[program.name]]
    done = subprocess.run(asked, capture_output=True, text=True, timeout=60, check=True, env=environment)
    assert build_programs.version(program).lstrip("v") in done.stdout + done.stderr
