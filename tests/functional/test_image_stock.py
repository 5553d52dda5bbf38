"""The snapshots that there are: who uses them, what goes, and what must never go."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from image_yard import NAME, Yard, spec
from lab_world import LabWorld
from ship import Kept, Ship

from tallship.adapters.hetzner import Hetzner
from tallship.env import Env
from tallship.errors import ApiError
from tallship.manifests import image
from tallship.ops import image_stock, image_uses
from tallship.ops.files import put_private
from tallship.ops.image import ImageExists
from tallship.ops.kinds import HCLOUD_MACHINE_TEMPLATE

OLDER = ("v1.12.1", "v1.12.0", "v1.11.6")


@pytest.fixture
def yard(world: LabWorld) -> Yard:
    """An empty project."""
    return Yard(world)


def old(yard: Yard, version: str, **labels: str) -> int:
    """Put a snapshot of another version into the project, a minute after what is there."""
    yard.world.run(lambda: yard.world.clock.sleep(60))
    return yard.snapshot(spec(f"name: k8s\ntalos: {{version: {version}}}\n"), **labels)


def pruned(yard: Yard, keep: int = 1) -> list[str]:
    """Prune; return what is gone."""

    def work(env: Env) -> list[str]:
        return image_stock.prune(image_stock.verdicts(env, keep))

    gone: list[str] = yard.ask(work)
    return gone


def verdicts(yard: Yard, keep: int = 1) -> dict[str, tuple[bool, str]]:
    """Return what would go, and why, by what it is."""
    found = yard.ask(lambda env: image_stock.verdicts(env, keep))
    return {each.what: (each.delete is not None, each.why) for each in found}


def test_a_snapshot_is_listed_with_what_is_known_of_it(yard: Yard) -> None:
    yard.make()
    yard.world.run(lambda: yard.world.clock.sleep(3600))
    (found,) = yard.ask(image_stock.snapshots)
    assert (found.name, found.talos, found.architecture, found.state) == (NAME, "v1.12.2", "amd64", "ready")
    assert found.schematic == image.GUIDE_SCHEMATIC[:8]
    assert found.size_gb > 0
    assert 3600 <= found.age_seconds < 4000
    assert found.clusters == ()
    assert found.as_data()["clusters"] == []


def test_the_newest_unused_ones_are_kept(yard: Yard) -> None:
    numbers = {version: old(yard, version) for version in reversed(OLDER)}
    named = yard.snapshot()
    assert verdicts(yard)[f"snapshot {named} {NAME}"] == (False, "the cluster file names it")
    assert pruned(yard) == [f"snapshot {numbers[each]} talos-amd64-{each}" for each in OLDER[1:]]
    assert [each.id for each in yard.images()] == [numbers[OLDER[0]], named]
    assert pruned(yard, keep=0) == [f"snapshot {numbers[OLDER[0]]} talos-amd64-{OLDER[0]}"]


def test_each_architecture_keeps_its_own(yard: Yard) -> None:
    text = "name: k8s\ncontrol_plane: {{server_type: cax11}}\ntalos: {{version: {}}}\n"
    for version in OLDER[:2]:
        old(yard, version)
        yard.snapshot(spec(text.format(version)))
    assert len(pruned(yard)) == 2
    assert sorted(each.architecture for each in yard.images()) == ["amd64", "arm64"]


def test_looking_deletes_nothing(yard: Yard) -> None:
    for version in OLDER:
        old(yard, version)
    yard.world.reset_counters()
    assert [goes for goes, _ in verdicts(yard, 0).values()] == [True] * 3
    assert yard.world.writes["hetzner"] == 0


def test_what_others_made_stays(yard: Yard) -> None:
    old(yard, OLDER[0], **{"managed-by": "packer"})
    assert pruned(yard, 0) == []
    assert {why for _, why in verdicts(yard, 0).values()} == {"tallship did not make it"}


def test_what_was_replaced_goes(yard: Yard) -> None:
    before = yard.snapshot()
    yard.make((ImageExists(frozenset({before})),))
    assert pruned(yard, 5) == [f"snapshot {before} {NAME}"]
    assert len(yard.named()) == 1


def test_two_of_a_name_are_shown_as_ambiguous(yard: Yard) -> None:
    yard.snapshot()
    yard.snapshot()
    assert [each.state for each in yard.ask(image_stock.snapshots)] == ["ambiguous"] * 2
    assert pruned(yard, 0) == []


def test_what_a_killed_build_left_is_pruned(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed(BaseException):
        pass

    def killed(*_arguments: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        create = Hetzner.create_image

        def last(self: Hetzner, *words: Any) -> None:
            create(self, *words)
            raise Killed

        patch.setattr(Hetzner, "create_image", last)
        for each in ("delete_server", "delete_ssh_key", "delete_image"):
            patch.setattr(Hetzner, each, killed)
        with pytest.raises(Killed):
            yard.make()
    builder = f"{NAME}-builder".replace(".", "-")
    gone = pruned(yard)
    assert {f"server {builder}", f"SSH key {builder}"} < set(gone)
    assert len(gone) == 3
    yard.is_clean()


def test_a_builder_of_a_run_elsewhere_stays_until_it_is_old(
    yard: Yard, world: LabWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Yard(world, folder="elsewhere")
    with monkeypatch.context() as patch:
        patch.setattr(Hetzner, "delete_server", lambda *_words: None)
        patch.setattr(Hetzner, "delete_ssh_key", lambda *_words: None)
        world.fault("quota", {"route": "POST /servers/{id}/actions/enable_rescue"})
        other.verdict()
    assert pruned(yard) == []
    world.run(lambda: world.clock.sleep(3600))
    assert len(pruned(yard)) == 2
    yard.is_clean()


def test_what_cannot_be_deleted_is_told_and_the_rest_goes(yard: Yard) -> None:
    first, _ = old(yard, OLDER[1]), old(yard, OLDER[0])
    yard.world.do(lambda: _protect(yard, first))
    with pytest.raises(ApiError) as caught:
        pruned(yard, 0)
    assert "is still there" in caught.value.message
    assert "deletion protection" in caught.value.hint
    assert [each.id for each in yard.images()] == [first]


def _protect(yard: Yard, number: int) -> None:
    table = yard.world.lab.hetzner.project.table("image")
    table[str(number)] = {**table[str(number)], "protection": {"delete": True}}


@pytest.fixture(scope="module")
def ship(kept: Kept) -> Iterator[Ship]:
    """A cluster that is done; its tests leave it so."""
    with kept.copy() as made:
        yield made


def test_the_clusters_that_use_an_image_are_named(ship: Ship) -> None:
    with closing(ship.env()) as env:
        (found,) = ship.world.run(lambda: image_stock.snapshots(env))
    assert found.clusters == ("k8s",)


def test_an_image_that_a_template_names_never_goes(ship: Ship) -> None:
    """The cluster file names another one by now, and no server was made from it yet."""
    yard = Yard(ship.world, "name: k8s\ntalos: {version: v1.12.4}\n")
    number = yard.snapshot(spec("name: k8s\ntalos: {version: v1.12.3}\n"))
    with closing(ship.env()) as env:
        (template,) = ship.world.run(lambda: env.management.list(*HCLOUD_MACHINE_TEMPLATE))
        body = {**template["spec"]["template"]["spec"], "imageName": "talos-amd64-v1.12.3"}
        metadata = {"name": "next", "namespace": "default", "labels": {image_uses.CLUSTER_LABEL: "k8s"}}
        kind = dict(zip(("apiVersion", "kind"), HCLOUD_MACHINE_TEMPLATE, strict=True))
        ship.world.run(
            lambda: env.management.apply({**kind, "metadata": metadata, "spec": {"template": {"spec": body}}})
        )
    found = verdicts(yard, 0)
    assert found[f"snapshot {number} talos-amd64-v1.12.3"] == (False, "k8s uses it")
    assert not any(goes for goes, _ in found.values())
    with closing(ship.env()) as env:
        ship.world.run(lambda: env.management.delete(*HCLOUD_MACHINE_TEMPLATE, "next", "default"))
        ship.world.run(lambda: env.hetzner.delete_image(number))


def test_a_cluster_of_another_file_keeps_its_image_by_its_servers_alone(ship: Ship) -> None:
    folder = ship.world.folder / "apart" / "client"
    folder.parent.mkdir()
    yard = Yard(ship.world, "name: other\ntalos: {version: v1.12.4}\n", folder="apart/client")
    assert yard.ask(image_uses.find).answered == set()
    (found,) = verdicts(yard, 0).values()
    assert found == (False, "k8s uses it")


def test_a_cluster_that_does_not_answer_keeps_what_it_may_need(ship: Ship) -> None:
    (ship.world.folder / "alone").mkdir()
    yard = Yard(ship.world, "name: k8s\ntalos: {version: v1.12.4}\n", folder="alone/client")
    put_private(yard.folder / "kubeconfig", ship.env().kubeconfig.read_text().replace(":6443", ":6444"))
    number = yard.snapshot(spec("name: k8s\ntalos: {version: v1.12.3}\n"))
    goes, why = verdicts(yard, 0)[f"snapshot {number} talos-amd64-v1.12.3"]
    assert not goes
    assert "does not answer" in why
    yard.ask(lambda env: env.hetzner.delete_image(number))
