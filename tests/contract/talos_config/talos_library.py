"""Talos' own library v1.12.0: a small Go program of ours is built with it once, and run once for all cases."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs
import pytest
import yaml
from filelock import FileLock
from talos_config_cases import Case
from talos_config_refusals import CASES, SEQUENCES

from tallship.lab.talos.config import keys, secrets

SOURCES = ("go.mod", "go.sum", "fields.go", "main.go")
CLUSTER: dict[str, Any] = {
    "clusterName": "k8s",
    "kubernetesVersion": "1.32.2",
    "podSubnets": ["10.10.0.0/18"],
    "serviceSubnets": ["10.10.96.0/20"],
    "dnsDomain": "cluster.local",
}


@dataclass(frozen=True)
class Talos:
    """What the library says: of our keys, with keys of its own, of its fields, and of each case."""

    bundle: dict[str, Any]
    keys: dict[str, Any]
    fields: dict[str, Any]
    results: dict[str, dict[str, Any]]


def ask(folder: Path) -> Talos:
    """Return what the library says to all cases. Skips where Go is missing or its modules cannot be fetched."""
    program = _program(folder)
    bundle = secrets.new_bundle()
    text = yaml.safe_dump(bundle)
    cases = CASES | SEQUENCES
    kinds = [kind for kind in keys.table()["kinds"] if kind]
    question = {"kinds": kinds, "cases": [_question(each, text) for each in cases.values()]}
    said = subprocess.run([program], input=json.dumps(question).encode(), capture_output=True, check=True, timeout=60)
    answer = json.loads(said.stdout)
    return Talos(bundle, answer["keys"], answer["fields"], dict(zip(cases, answer["results"], strict=True)))


def _question(case: Case, bundle: str) -> dict[str, Any]:
    mine = {"talosVersion": case.talos_version, "kind": case.kind, "endpoint": case.endpoint}
    return {**CLUSTER, **mine, "config": case.config, "patches": case.patches, "bundle": bundle}


def _program(folder: Path) -> Path:
    """Return the built program; it stays in the user's cache until its sources change."""
    go = shutil.which("go")
    if go is None:
        pytest.skip("go is not installed")
    key = hashlib.sha256(b"".join((folder / name).read_bytes() for name in SOURCES)).hexdigest()[:16]
    cache = platformdirs.user_cache_path("tallship-tests", ensure_exists=True)
    program = cache / f"talosconfig-{key}"
    with FileLock(cache / "talosconfig.lock", timeout=600):
        if not program.exists():
            _build(go, folder, program)
    return program


def _build(go: str, folder: Path, program: Path) -> None:
    environment = {**os.environ, "GOFLAGS": "-mod=readonly -buildvcs=false -trimpath"}
    listed = subprocess.run([go, "list", "-deps", "."], cwd=folder, env=environment, capture_output=True, timeout=300)
    if listed.returncode:
        pytest.skip(f"Talos' library cannot be fetched: {listed.stderr.decode().strip().splitlines()[-1]}")
    unfinished = program.with_suffix(".new")
    built = subprocess.run(
        [go, "build", "-o", unfinished, "."], cwd=folder, env=environment, capture_output=True, timeout=600
    )
    assert built.returncode == 0, built.stderr.decode()
    for old in program.parent.glob("talosconfig-*"):
        if old != unfinished:
            old.unlink()
    unfinished.replace(program)
