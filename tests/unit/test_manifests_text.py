"""YAML text, and the rendered Makefile."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tallship.manifests import makefile
from tallship.manifests.yaml_text import Annotated, dump, dump_all
from tallship.spec import parse_spec
from tallship.spec.document import read

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=12
)


@given(VALUES)
def test_what_is_written_is_read_back(value: Any) -> None:
    assert yaml.safe_load(dump({"value": value})) == {"value": value}


@given(st.dictionaries(st.text(min_size=1), VALUES, max_size=4).filter(lambda value: "<<" not in value))
def test_readers_of_yaml_1_2_read_the_same(value: dict[str, Any]) -> None:
    assert read(dump(value, {(): "why"})).data == read(dump(value)).data


@pytest.mark.parametrize(
    "text", ["yes", "NO", "on", "y", "~", "1.10", "0x1", "0o7", "12:30", "1e3", "", " a", "- a", "a: b", "#", ".inf"]
)
def test_text_that_could_be_taken_for_something_else_is_quoted(text: str) -> None:
    assert dump({"a": text}) == f'a: "{text}"\n'


def test_comments_stand_above_what_they_are_about() -> None:
    document = {"a": {"b": [1, {"c": "x\ny\n"}]}, "d": {}}
    comments = {(): "top", ("a", "b"): "list\nof two", ("a", "b", 1): "item", ("a", "b", 1, "c"): "text"}
    assert dump(document, comments) == (
        "# top\na:\n  # list\n  # of two\n  b:\n    - 1\n    # item\n    # text\n"
        "    - c: |\n        x\n        y\nd: {}\n"
    )
    assert dump_all([Annotated({"a": 1}), Annotated({"b": 2}, {(): "why"})]) == "a: 1\n---\n# why\nb: 2\n"


def rendered(extra: str = "") -> str:
    spec = parse_spec(f"name: k8s\n{extra}").spec
    assert spec is not None
    return makefile.text(spec)


GUIDE_TARGETS = [
    *("image", "bootstrap", "kind-create", "capi-init", "secret", "apply", "wait-cp", "kubeconfig", "talosconfig"),
    *("cilium", "hcloud-ccm", "talos-ccm", "wait-nodes", "firewall", "firewall-apply", "pivot", "clean", "status"),
]


def recipe(tmp_path: Path, text: str, target: str, *variables: str) -> str:
    (tmp_path / "Makefile").write_text(text)
    command = ["make", "--dry-run", "--no-print-directory", "EGRESS=198.51.100.4/32", target, *variables]
    return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout


needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="make is not here")


@needs_make
@pytest.mark.parametrize("target", GUIDE_TARGETS)
def test_every_target_of_the_guide_is_a_recipe_that_a_shell_can_read(tmp_path: Path, target: str) -> None:
    shell = recipe(tmp_path, rendered(), target)
    assert shell.strip()
    subprocess.run(["bash", "-n"], input=shell, text=True, check=True, capture_output=True)


@needs_make
def test_variables_pass_through_to_packer(tmp_path: Path) -> None:
    assert "-var talos_version=v1.12.4" in recipe(tmp_path, rendered(), "image", "TALOS_VERSION=v1.12.4")


@needs_make
def test_the_address_is_filled_in(tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    (tmp_path / "manifests").mkdir()
    plane = '# CONTROL PLANE: x\nsan: "${LOAD_BALANCER_IP}"\n'
    (tmp_path / "manifests/cluster.yaml").write_text(f'host: "${{LOAD_BALANCER_IP}}"\n---\n{plane}')
    (programs / "kubectl").write_text(
        '#!/bin/sh\ncd "$(dirname "$0")"\ncase "$*" in\n'
        '*" apply "*) cat >> applied; echo === >> applied;;\n*" wait "*) touch ready;;\n'
        '*" get "*) [ -e ready ] && printf 203.0.113.10;;\nesac\n'
    )
    (programs / "kubectl").chmod(0o755)
    (tmp_path / "Makefile").write_text(rendered())
    path = f"{programs}:/usr/bin:/bin"
    subprocess.run(["make", "apply"], cwd=tmp_path, env={"PATH": path}, check=True, capture_output=True)
    first, second, _ = (programs / "applied").read_text().split("===\n")
    assert first == 'host: ""\n---\n'
    assert second == 'host: "203.0.113.10"\n---\n# CONTROL PLANE: x\nsan: "203.0.113.10"\n'


@needs_make
def test_a_management_cluster_one_has_is_neither_made_nor_deleted(tmp_path: Path) -> None:
    text = rendered("management: {mode: kubeconfig, kubeconfig: '~/a $b', context: ops}")
    shell = recipe(tmp_path, text, "bootstrap")
    assert "kind create" not in shell
    assert "clean:" not in text
    assert "'/a $b' --context ops" in shell


@needs_make
@pytest.mark.parametrize("target", ["secret", "hcloud-ccm"])
def test_the_token_is_no_argument_of_a_program(tmp_path: Path, target: str) -> None:
    for line in recipe(tmp_path, rendered(), target).splitlines():
        assert "HCLOUD_TOKEN" not in line or line.startswith("printf '%s' ")
