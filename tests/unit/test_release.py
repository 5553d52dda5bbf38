"""What a release is installed with."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]


def test_the_runtime_lock_holds_what_is_needed_and_nothing_of_development() -> None:
    command = [sys.executable, str(ROOT / "release/runtime_lock.py")]
    text = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    found = set(re.findall(r"^([\w.-]+)", text, flags=re.MULTILINE))
    direct = {canonicalize_name(re.split(r"[ >=<\[]", each)[0]) for each in project["project"]["dependencies"]}
    assert direct <= found
    assert {"pyyaml", "pydantic-core", "idna"} <= found
    assert not {"pytest", "mypy", "ruff", "hypothesis", "grpcio-tools"} & found
    entries = re.split(r"^(?=\S)", text, flags=re.MULTILINE)[1:]
    assert len(entries) == len(found)
    assert all("--hash=sha256:" in each for each in entries)
    assert all(each in (ROOT / "requirements.lock").read_text(encoding="utf-8") for each in entries)
