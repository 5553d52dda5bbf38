"""Server-side apply: the lab's API server and a real one give the same answers to the same cases, owners included."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import test_kube_apply
from api_lab import ApiLab
from clients import ApiError, Cluster, Document

from tallship.localplane.plane import LocalPlane

CASES: dict[str, Callable[[Cluster], None]] = {
    name: case for name, case in inspect.getmembers(test_kube_apply, inspect.isfunction) if name.startswith("test_")
}
GIVEN = ("uid", "creationTimestamp")
"""Differ by nature."""

_numbers = itertools.count()


class Recorded(Cluster):
    """A cluster that notes every answer to a write."""

    def __init__(self, kubeconfig: Path, namespace: str) -> None:
        self.answers: list[Document] = []
        self._versions: dict[str, int] = {}
        super().__init__(kubeconfig, namespace)

    def apply(self, document: Document, manager: str, force: bool = False) -> Document:
        return self._noted(lambda: super(Recorded, self).apply(document, manager, force))

    def patch(self, api_version: str, kind: str, name: str, change: Any, manager: str) -> Document:
        return self._noted(lambda: super(Recorded, self).patch(api_version, kind, name, change, manager))

    def _noted(self, ask: Callable[[], Document]) -> Document:
        try:
            found = ask()
        except ApiError as error:
            self.answers.append(error.status.to_dict())
            raise
        self.answers.append(self._comparable(found))
        return found

    def _comparable(self, document: Document) -> Document:
        """Return the document without what differs by nature: time, identity, and how versions are counted."""
        metadata = {key: value for key, value in document["metadata"].items() if key not in GIVEN}
        count = self._versions.setdefault(metadata["resourceVersion"], len(self._versions))
        metadata["resourceVersion"] = count
        owners = [
            {key: value for key, value in each.items() if key != "time"} for each in metadata.get("managedFields", [])
        ]
        metadata["managedFields"] = sorted(owners, key=lambda each: (each["operation"], each["manager"]))
        return {**document, "metadata": metadata}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiLab]:
    made = ApiLab(tmp_path_factory.mktemp("lab"))
    yield made
    made.close()


def answers(case: Callable[[Cluster], None], kubeconfig: Path, namespace: str) -> list[Document]:
    cluster = Recorded(kubeconfig, namespace)
    try:
        case(cluster)
    finally:
        cluster.close()
    return cluster.answers[1:]  # the first is that of the namespace


def shared(mine: Any, theirs: Any) -> Any:
    """Return of `theirs` what `mine` speaks of: a real server fills in defaults that the lab's kinds do not have."""
    if isinstance(mine, dict) and isinstance(theirs, dict):
        return {key: shared(value, theirs.get(key)) for key, value in mine.items()}
    if isinstance(mine, list) and isinstance(theirs, list) and len(mine) == len(theirs):
        return [shared(*each) for each in zip(mine, theirs, strict=True)]
    return theirs


@pytest.mark.parametrize("name", CASES)
def test_lab_answers_as_a_real_server_does(name: str, lab: ApiLab, real: LocalPlane) -> None:
    namespace = f"apply-{next(_numbers)}"
    mine = answers(CASES[name], lab.kubeconfig(), namespace)
    theirs = answers(CASES[name], real.kubeconfig, namespace)
    assert len(mine) == len(theirs) > 0
    for one, other in zip(mine, theirs, strict=True):
        assert one.get("metadata") == other.get("metadata")
        assert one == shared(one, other)
