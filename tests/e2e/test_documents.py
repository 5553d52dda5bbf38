"""Every rendered document, on real API servers and the lab's: admitted, stored once, refused for the same mistakes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from api_lab import ApiLab
from documents import FOLDERS, PROVIDERS, Document, providers_definitions, rendered, spoiled
from wire import Refused, Wire

from tallship.lab.kube.schemas import crds
from tallship.localplane import plane
from tallship.localplane.plane import Settings

DOCUMENTS = [
    pytest.param(document, id=f"{name}-{document['kind']}-{document['metadata']['name']}")
    for name in FOLDERS
    for document in rendered(name)
]
WEBHOOK = "admission webhook "


@dataclass(frozen=True)
class Verdict:
    """What a server says to a document: `code` 0 when it is admitted."""

    code: int = 0
    reason: str = ""
    fields: frozenset[str] = frozenset()
    message: str = ""

    @property
    def is_by_webhook(self) -> bool:
        """True when the lab's stand-ins of the providers' webhooks said it; the real server has none here."""
        return self.message.startswith(WEBHOOK)

    def comparable(self) -> tuple[Any, ...]:
        """Return what must be equal: all but the wording, and the wording too where there is nothing else."""
        said = self.message if self.code and not self.reason else ""
        return (self.code, self.reason, self.fields, said)


def verdict(ask: Callable[[], Any]) -> Verdict:
    try:
        ask()
    except Refused as refused:
        status = refused.status
        causes = {each.get("field", "") for each in status.get("details", {}).get("causes", [])}
        # `.spec.replicas`: the scale subresource complains a second time of what its field has already been refused for
        fields = frozenset(each for each in causes if not each.startswith("."))
        return Verdict(status["code"], status.get("reason", ""), fields, status["message"])
    return Verdict()


def started(programs: Path, folder: Path, definitions: list[Document]) -> Iterator[Wire]:
    """A plane of its own with these definitions; stopped afterwards."""
    try:
        wire = Wire(plane.start(folder, Settings(programs)).kubeconfig)
        wire.define(definitions)
        yield wire
        wire.close()
    finally:
        plane.stop(folder)


@pytest.fixture(scope="module")
def made(programs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    """A real API server with the definitions that the lab makes of its compact facts."""
    yield from started(programs, tmp_path_factory.mktemp("made"), crds())


@pytest.fixture(scope="module")
def shipped(programs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    """A real API server with the definitions that the providers ship."""
    definitions = providers_definitions()
    if not definitions:
        pytest.skip(f"the definitions of {', '.join(PROVIDERS)} are not here")
    yield from started(programs, tmp_path_factory.mktemp("shipped"), definitions)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    """The lab's API server."""
    server = ApiLab(tmp_path_factory.mktemp("lab"))
    wire = Wire(server.kubeconfig())
    wire.define(crds())
    yield wire
    wire.close()
    server.close()


@pytest.mark.parametrize("where", ["made", "shipped", "lab"])
@pytest.mark.parametrize("document", DOCUMENTS)
def test_document_is_admitted_and_the_second_apply_writes_nothing(
    document: Document, where: str, request: pytest.FixtureRequest
) -> None:
    wire: Wire = request.getfixturevalue(where)
    first, second = wire.apply(document), wire.apply(document)
    assert second["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_definitions_of_the_lab_refuse_what_the_shipped_ones_refuse(
    document: Document, made: Wire, shipped: Wire
) -> None:
    for wire in (made, shipped):
        wire.apply(document)
    for mistake, bad in spoiled(document):
        for ask in (applied, created):
            assert ask(made, bad) == ask(shipped, bad), mistake


@pytest.mark.parametrize("document", DOCUMENTS)
def test_lab_refuses_what_a_real_server_refuses(document: Document, made: Wire, lab: Wire) -> None:
    for wire in (made, lab):
        wire.apply(document)
    for mistake, bad in spoiled(document):
        for ask in (applied, created):
            mine, theirs = ask(lab, bad), ask(made, bad)
            if mine.code and (mine.is_by_webhook or lacks(document, bad, "spec")) and theirs.code in (0, mine.code):
                continue  # of the webhooks one writes the spec that is not there; then its fields are missing
            if document["kind"] == "MachineDeployment" and is_written_out(document, bad, mine, theirs):
                continue
            assert mine.comparable() == theirs.comparable(), f"{mistake}: {mine.message} / {theirs.message}"


def is_written_out(document: Document, bad: Document, mine: Verdict, theirs: Verdict) -> bool:
    """True when the webhook of a MachineDeployment has written what is not there: a selector, or an empty machine."""
    machine = lacks(document, bad, "spec", "template") or lacks(document, bad, "spec", "template", "spec")
    return lacks(document, bad, "spec", "selector") or (machine and mine.code in (theirs.code, 422))


def lacks(document: Document, bad: Document, *path: str) -> bool:
    """True when something of the document is not in the bad one."""
    there: Any = document
    found: Any = bad
    for key in path:
        there, found = there.get(key, {}), found.get(key) if isinstance(found, dict) else None
    return bool(there) and found is None


def applied(wire: Wire, document: Document) -> Verdict:
    return verdict(lambda: wire.apply(document, dryRun="All", force="true"))


def created(wire: Wire, document: Document) -> Verdict:
    other = {**document, "metadata": {**document["metadata"], "name": "another"}}
    return verdict(lambda: wire.create(other, dryRun="All"))
