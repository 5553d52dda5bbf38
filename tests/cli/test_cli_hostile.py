"""Files that nobody means well, given to whole processes: an exit code of 2, one hint, and little memory."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import yaml
from identities import kubeconfig
from measured import MOST_MB, Measured, tallship

from tallship.cli.folder import folder_name
from tallship.cli.options import Options
from tallship.spec import load_spec

MIB = 1024 * 1024
ALIASES = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
MERGES = "a0: &a0 {x: 1}\n" + "".join(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 12))
FILES = {
    "10 MB": (b"name: k8s\n" + b"# filler\n" * (10 * MIB // 9), ":1: the file is larger than 1 MiB"),
    "a MiB of keys": (b"name: k8s\n" + b"k: v\n" * (MIB // 5 - 10), ": the file is too long"),
    "a MiB of text": (b"name: |\n" + b"  aaaa\n" * (MIB // 7 - 10), ":1: name: "),
    "a MiB of brackets": (b"[" * (MIB - 10), ":1: this is nested too deeply"),
    "aliases": (ALIASES.encode(), ": its aliases stand for more than is read"),
    "a patch of aliases": (
        f"name: k8s\ntalos:\n  patches:\n  - {json.dumps(MERGES)}\n".encode(),
        "this patch cannot be",
    ),
    "no text": (b"name: k8s\nversion: \xff\n", ":2: this is not UTF-8 text"),
    "zero": (b"name: k8s\0\n", ": character 10 is not allowed"),
}


def environment(folder: Path) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "HOME": str(folder), "XDG_STATE_HOME": str(folder / "state")}


def is_refused(done: Measured) -> str:
    """Return what a process says that takes little, and ends as one does whose file is wrong."""
    assert (done.code, done.out) == (2, ""), done.err
    assert done.peak_mb <= MOST_MB
    assert "Traceback" not in done.err
    assert len(done.err) < 100_000
    return done.err


@pytest.mark.parametrize("name", FILES)
def test_a_cluster_file_that_nobody_wrote_is_refused(name: str, tmp_path: Path) -> None:
    content, told = FILES[name]
    (tmp_path / "tallship.yaml").write_bytes(content)
    assert told in is_refused(tallship(tmp_path, environment(tmp_path), "validate"))


def test_ten_megabytes_are_not_merged_into(tmp_path: Path) -> None:
    file = tmp_path / "tallship.yaml"
    file.write_text("name: k8s\n")
    state = tmp_path / "state/tallship" / folder_name(Options(file=file), load_spec(file))
    state.mkdir(parents=True, mode=0o700)
    (state / "kubeconfig").write_text(yaml.safe_dump(kubeconfig()))
    usual = tmp_path / "usual"
    usual.write_text("users:\n" + "- {name: a}\n" * MIB)
    surroundings = environment(tmp_path) | {"KUBECONFIG": str(usual)}
    told = is_refused(tallship(tmp_path, surroundings, "kubeconfig", "--merge"))
    assert "larger than 1 MiB" in told
    assert "hint: repair it" in told
    usual.write_bytes(b"\xff\x00")
    assert "not UTF-8" in is_refused(tallship(tmp_path, surroundings, "kubeconfig", "--merge"))
    (state / "kubeconfig").write_text("a: [")
    usual.unlink()
    assert "is not a kubeconfig" in is_refused(tallship(tmp_path, surroundings, "kubeconfig", "--merge"))


def test_a_management_cluster_without_verified_tls_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text(yaml.safe_dump(kubeconfig({"insecure-skip-tls-verify": True})))
    (tmp_path / "tallship.yaml").write_text("name: k8s\nmanagement: {mode: kubeconfig, kubeconfig: mine}\n")
    surroundings = environment(tmp_path) | {"HCLOUD_TOKEN": "x" * 64, "HCLOUD_ENDPOINT": "http://127.0.0.1:9"}
    done = tallship(tmp_path, surroundings, "plan")
    assert done.code == 2, done.err
    assert "switches the verification of certificates off" in done.err
    assert "certificate-authority-data" in done.err
