"""The real clusterctl moves what the lab made, between two real API servers; the lab's stand-in does the same."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

import pytest
from kubectl import Kubectl, Refused

sys.path.append(str(Path(__file__).parents[1] / "functional"))
from lab_world import LabWorld
from ship import Ship

from tallship.adapters.programs import Programs
from tallship.lab.clock import ScaledClock
from tallship.lab.kube.schemas import crds
from tallship.lab.kubeclient import KubeClient
from tallship.lab.programs.components import CLUSTERCTL_LABEL, PROVIDERS
from tallship.lab.programs.conversation import Output, ProgramRequest, WriteFile
from tallship.lab.programs.move import KINDS, Move
from tallship.localplane import plane
from tallship.localplane.plane import LocalPlane, Settings
from tallship.ops import exports

Document = dict[str, Any]
Answer = TypeVar("Answer")

OF_THE_SERVER = ("uid", "resourceVersion", "generation", "creationTimestamp", "managedFields")
KUBERNETES_OWN = ("kube-root-ca.crt",)
LOOKS = 100


class Side:
    """One real API server that knows Cluster API's kinds."""

    def __init__(self, made: LocalPlane, programs: Path, home: Path) -> None:
        self.kubeconfig = made.kubeconfig
        self.kubectl = Kubectl(programs / "kubectl", made.kubeconfig, home)
        definitions = [each for provider in PROVIDERS for each in crds(provider.group)]
        for each in definitions:
            each["metadata"].setdefault("labels", {})[CLUSTERCTL_LABEL] = ""
        listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": definitions})
        self.kubectl("create", "-f", "-", stdin=listed)
        self.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
        for kind in KINDS:
            self._wait_served(kind)

    def _wait_served(self, kind: str) -> None:
        """Return when objects of a new kind can be listed: its storage is initialized a moment after it is served."""
        for _ in range(LOOKS - 1):
            try:
                self.kubectl("get", kind)
            except Refused:
                continue
            return
        self.kubectl("get", kind)

    def ask(self, question: Callable[[KubeClient], Awaitable[Answer]]) -> Answer:
        """Return what the stand-ins' client is answered."""

        async def ask() -> Answer:
            client = KubeClient.from_kubeconfig(self.kubeconfig.read_text(), "tallship-test")
            try:
                return await question(client)
            finally:
                await client.close()

        return asyncio.run(ask())

    def objects(self) -> dict[str, Document]:
        """Return every object that a move could take along, by kind and name, without what each server makes anew."""

        async def ask(client: KubeClient) -> list[Document]:
            return [each for kind in KINDS for each in await client.list(kind, "default")]

        found = [each for each in self.ask(ask) if each["metadata"]["name"] not in KUBERNETES_OWN]
        names = {each["metadata"]["uid"]: name_of(each) for each in found}
        return {name_of(each): comparable(each, names) for each in found}

    def set_status(self, documents: list[Document]) -> None:
        """Give the objects the status that controllers would have written."""

        async def ask(client: KubeClient) -> None:
            for each in documents:
                if each.get("status") and each["kind"] in ("Cluster", "Machine"):
                    await client.patch(each, {"status": each["status"]}, subresource="status")

        self.ask(ask)


def name_of(item: Document) -> str:
    return f"{item['kind']}/{item['metadata']['name']}"


def comparable(item: Document, names: dict[str, str]) -> Document:
    metadata = {key: value for key, value in item["metadata"].items() if key not in OF_THE_SERVER}
    if "ownerReferences" in metadata:
        owners = [{**each, "uid": names[each["uid"]]} for each in metadata["ownerReferences"]]
        metadata["ownerReferences"] = sorted(owners, key=lambda each: str(each["uid"]))  # clusterctl's order varies
    return {**{key: value for key, value in item.items() if key != "status"}, "metadata": metadata}


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What the lab's clusterctl wrote of the lab's cluster."""
    with LabWorld(tmp_path_factory.mktemp("lab")) as world:
        ship = Ship(world)
        ship.make()
        with closing(ship.env()) as env:
            yield world.run(lambda: exports.make(env))


@pytest.fixture(scope="module")
def sides(programs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Side, Side]]:
    """Two real API servers."""
    folders = [tmp_path_factory.mktemp("plane") for _ in range(2)]
    try:
        one, other = (plane.start(folder, Settings(programs)) for folder in folders)
        yield Side(one, programs, folders[0]), Side(other, programs, folders[1])
    finally:
        for folder in folders:
            plane.stop(folder)


def documents(folder: Path) -> dict[str, Document]:
    return {file.name: json.loads(file.read_text()) for file in folder.iterdir()}


def stand_in(side: Side, begin: Callable[[Move, KubeClient], AsyncIterator[Output]]) -> list[Output]:
    """Let the lab's clusterctl work on a real API server."""

    async def work(client: KubeClient) -> list[Output]:
        move = Move(ProgramRequest(("move",)), ScaledClock(1000), "default")
        return [output async for output in begin(move, client)]

    return side.ask(work)


def test_the_real_clusterctl_and_the_stand_in_do_the_same(
    programs: Path, exported: Path, sides: tuple[Side, Side], tmp_path: Path
) -> None:
    one, other = sides
    ours = Programs(str(programs), tmp_path / "home")
    saved = documents(exported)

    # the real clusterctl reads what the stand-in wrote
    restore = ["move", "--from-directory", exported, "--to-kubeconfig", one.kubeconfig, "--namespace", "default"]
    home = {"HOME": str(tmp_path), "CLUSTERCTL_DISABLE_VERSIONCHECK": "true"}
    subprocess.run([programs / "clusterctl", *restore], env=home, check=True, capture_output=True, timeout=120)
    before = one.objects()
    assert set(before) == {name_of(each) for each in saved.values()}
    one.set_status(list(saved.values()))

    # both save the same documents
    real, made = tmp_path / "real", {}
    real.mkdir()
    ours.clusterctl_export(one.kubeconfig, real)
    for output in stand_in(one, lambda move, client: move.to_directory(client, "/made")):
        if isinstance(output, WriteFile):
            made[Path(output.path).name] = json.loads(output.text)
    names = {each["metadata"]["uid"]: name_of(each) for each in made.values()}
    assert {file: comparable(each, names) for file, each in made.items()} == {
        file: comparable(each, names) for file, each in documents(real).items()
    }
    assert one.objects() == before

    # both move the same objects
    ours.clusterctl_move(one.kubeconfig, other.kubeconfig)
    assert (one.objects(), other.objects()) == ({}, before)
    other.set_status(list(saved.values()))

    async def back(move: Move, client: KubeClient) -> AsyncIterator[Output]:
        target = KubeClient.from_kubeconfig(one.kubeconfig.read_text(), "tallship-test")
        try:
            async for output in move.to_cluster(client, target):
                yield output
        finally:
            await target.close()

    stand_in(other, back)
    assert (other.objects(), one.objects()) == ({}, before)
