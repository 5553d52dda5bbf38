"""Every document that is rendered, as the expected files have them, and ways to spoil them."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

Document = dict[str, Any]

ROOT = Path(__file__).parents[2]
FOLDERS = {"guide": "examples/k8s/manifests", "every-option": "tests/golden/every-option/manifests"}
BESIDE = {"guide": "tests/golden/k8s/beside.yaml", "every-option": "tests/golden/every-option/beside.yaml"}
CRDS = ROOT.parent / "shared/contracts/crds"
PROVIDERS = ("capi-core", "caph", "cabpt", "cacppt")

WRONG: tuple[Any, ...] = ("words", 7, True, None, {"unknown": 1}, ["unknown"])
"""What stands in the place of each value in turn: one of each type."""


def rendered(name: str) -> list[Document]:
    """Return the documents of the guide's cluster, or of the one that uses every option."""
    found: list[Document] = []
    for file in sorted((ROOT / FOLDERS[name]).glob("*.yaml")):
        found += [each for each in yaml.safe_load_all(file.read_text()) if "apiVersion" in each]
    return found + list(yaml.safe_load((ROOT / BESIDE[name]).read_text())["secrets"])


def providers_definitions() -> list[Document]:
    """Return the CustomResourceDefinitions that Cluster API and its providers ship; empty where they are not here."""
    files = [file for provider in PROVIDERS for file in sorted((CRDS / provider).glob("*.yaml"))]
    return [yaml.load(file.read_text(), yaml.CSafeLoader) for file in files]


def spoiled(document: Document) -> Iterator[tuple[str, Document]]:
    """Yield the document with one mistake each: a value of another type or gone, a section with a field more."""
    for path, value in _places(document, ()):
        if path[:1] != ("spec",) and path[:1] != ("data",):
            continue
        where = ".".join(str(each) for each in path)
        for wrong in WRONG:
            if wrong != value:
                yield f"{where}={wrong!r}", _changed(document, path, wrong)
        yield f"{where} gone", _changed(document, path)
        if isinstance(value, dict):
            yield f"{where}.unknown=1", _changed(document, (*path, "unknown"), 1)


def _places(value: Any, path: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], Any]]:
    if path:
        yield path, value
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in children:
        yield from _places(each, (*path, key))


_GONE = object()


def _changed(document: Document, path: tuple[Any, ...], value: Any = _GONE) -> Document:
    made = copy.deepcopy(document)
    parent: Any = made
    for key in path[:-1]:
        parent = parent[key]
    if value is _GONE:
        del parent[path[-1]]
    else:
        parent[path[-1]] = value
    return made
