"""Cluster API core's components out of its Go module: what its release has in one file, without what runs in a pod."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import yaml

Document = dict[str, Any]
MODULE = "sigs.k8s.io/cluster-api"
CONTRACT = {"cluster.x-k8s.io/v1beta1": "v1beta1"}
"""The label that tells other controllers which version of a kind speaks which contract."""


def write(file: Path) -> None:
    """Write the definitions, with their conversion, and the webhooks."""
    config = _folder() / "config"
    definitions = {each["metadata"]["name"]: each for each in _documents(config / "crd" / "bases")}
    for patch in _documents(config / "crd" / "patches"):
        definitions[patch["metadata"]["name"]]["spec"]["conversion"] = patch["spec"]["conversion"]
    for each in definitions.values():
        each["metadata"].setdefault("labels", {}).update(CONTRACT)
    hooks = yaml.load_all((config / "webhook" / "manifests.yaml").read_text(), yaml.CSafeLoader)
    file.write_text(yaml.dump_all([*definitions.values(), *hooks], Dumper=yaml.CSafeDumper))


def _folder() -> Path:
    """Return where the module's source is."""
    programs = Path(__file__).parent / "programs" / "cluster-api"
    command = ["go", "list", "-m", "-f", "{{.Dir}}", MODULE]
    return Path(subprocess.run(command, cwd=programs, capture_output=True, text=True, check=True).stdout.strip())


def _documents(folder: Path) -> list[Document]:
    return [yaml.load(each.read_text(), yaml.CSafeLoader) for each in sorted(folder.glob("*.yaml"))]
