"""Building the Talos snapshot: every byte arrives, once, under a name that CAPH cannot confuse."""

from __future__ import annotations

import hashlib
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from image_yard import NAME, ONE, READY, Yard, lanes, spec
from lab_world import LabWorld

from tallship.adapters.hetzner import Hetzner
from tallship.engine import Seen, State
from tallship.env import Env
from tallship.errors import StepFailed
from tallship.lab.factory import packed_image, raw_image
from tallship.manifests import image
from tallship.ops import image_builder
from tallship.ops.image import Amd64ImageExists, Arm64ImageExists, ImageExists


class Killed(BaseException):
    """The process ends here."""


@pytest.fixture
def yard(world: LabWorld) -> Yard:
    """An empty project."""
    return Yard(world)


def expected(yard: Yard) -> bytes:
    return raw_image(image.schematic_id(yard.spec), yard.spec.talos.version, f"hcloud-{yard.spec.architecture}.raw.xz")


def test_every_byte_of_the_image_is_on_the_snapshot(yard: Yard) -> None:
    yard.make()
    (made,) = yard.named()
    content, raw = yard.content(made), expected(yard)
    assert (content["bytes"], content["sha256"]) == (len(raw), hashlib.sha256(raw).hexdigest())
    assert (content["talos"], content["schematic"]) == ("v1.12.2", image.GUIDE_SCHEMATIC)
    yard.is_clean()


def test_the_snapshot_has_the_labels_and_the_smallest_disk(yard: Yard) -> None:
    yard.make()
    (made,) = yard.images()
    assert made.labels == image.labels(yard.spec)
    assert (made.architecture, made.disk_gb) == ("amd64", 40)


def test_a_good_snapshot_is_left_alone(yard: Yard) -> None:
    made = yard.snapshot()
    yard.world.reset_counters()
    assert [each.acted for each in yard.make()] == [()]
    assert yard.world.writes["hetzner"] == 0
    assert yard.named() == [made]


def test_progress_comes_from_the_builder_in_bytes_and_rate(yard: Yard) -> None:
    yard.make()
    size = len(packed_image(image.schematic_id(yard.spec), "v1.12.2", "hcloud-amd64.raw.xz"))
    assert any(text.startswith(f"100 % of {size / 1e3:.0f} kB, ") for text in yard.said)
    assert any("no checksum is published" in text for text in yard.said)


def test_two_architectures_are_built_side_by_side(yard: Yard) -> None:
    together = yard.world.clock.now()
    yard.make(lanes(Amd64ImageExists(), Arm64ImageExists()))
    together = yard.world.clock.now() - together
    found = {each.labels[image.NAME_LABEL]: each for each in yard.images()}
    assert {name: each.architecture for name, each in found.items()} == {NAME: "amd64", "talos-arm64-v1.12.2": "arm64"}
    assert yard.content(found["talos-arm64-v1.12.2"].id)["file"] == "hcloud-arm64.raw.xz"
    yard.is_clean()
    assert together < 250, "one after the other they take twice as long"


def test_another_schematic_has_another_name_and_its_own_image(world: LabWorld) -> None:
    yard = Yard(world, "name: k8s\nimage: {extensions: [siderolabs/qemu-guest-agent, siderolabs/iscsi-tools]}\n")
    yard.snapshot(spec("name: k8s\n"))
    yard.make()
    (made,) = yard.named()
    assert yard.content(made)["schematic"] == image.schematic_id(yard.spec)
    assert len(yard.images()) == 2


@pytest.mark.parametrize("argument", ["console=ttyS0", "-selinux", "5", "true", "a:"])
def test_the_factory_computes_the_same_id(world: LabWorld, argument: str) -> None:
    yard = Yard(world, f"name: k8s\nimage: {{kernel_args: ['{argument}']}}\n")
    text, url = image.schematic(yard.spec), world.endpoints["factory"]
    assert yard.ask(lambda env: env.web.register_schematic(url, text)) == image.schematic_id(yard.spec)


def test_another_id_of_the_factory_ends_the_build_before_a_server_is_made(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image, "schematic_id", lambda _spec: "0" * 64)
    error = yard.verdict()
    assert "calls this schematic" in error.message
    assert yard.world.writes["hetzner"] == 0


@pytest.mark.parametrize("good", [True, False])
def test_a_checksum_that_is_known_is_compared(world: LabWorld, good: bool) -> None:
    plain = spec("name: k8s\n")
    packed = packed_image(image.schematic_id(plain), plain.talos.version, "hcloud-amd64.raw.xz")
    checksum = hashlib.sha256(packed).hexdigest() if good else "0" * 64
    yard = Yard(world, f'name: k8s\nimage: {{sha256: "{checksum}"}}\n')
    if good:
        yard.make()
        assert any("its SHA-256" in text for text in yard.said)
    else:
        assert "checksum" in yard.verdict().message
        assert yard.images() == []
    yard.is_clean()


def test_rebuild_puts_a_new_snapshot_in_the_place_of_the_old(yard: Yard) -> None:
    old = yard.snapshot()
    yard.make((ImageExists(frozenset({old})),))
    (new,) = yard.named()
    assert new != old
    kept = {each.id: each.labels for each in yard.images()}
    assert (kept[old][image.ROLE], kept[old][image.BUILT_FOR]) == ("image-replaced", NAME)
    assert yard.probe().state is READY


def test_caph_never_sees_two_of_a_name_nor_half_a_snapshot(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    old = yard.snapshot()
    ask, seen = Hetzner._ask, []

    def watched(self: Hetzner, method: str, path: str, **request: Any) -> Any:
        answer = ask(self, method, path, **request)
        if method != "GET":
            table = yard.world.lab.hetzner.project.table("image")
            named = yard.world.do(lambda: [i["status"] for i in table.values() if image.NAME_LABEL in i["labels"]])
            seen.append(named)
        return answer

    monkeypatch.setattr(Hetzner, "_ask", watched)
    yard.make((ImageExists(frozenset({old})),))
    assert all(each in ([], ["available"]) for each in seen)
    assert len(seen) > 8


def test_two_snapshots_of_a_name_are_a_verdict_and_rebuild_mends_it(yard: Yard) -> None:
    twins = frozenset({yard.snapshot(), yard.snapshot()})
    error = yard.verdict()
    assert "2 images are named" in error.message
    assert "--rebuild" in error.hint
    yard.make((ImageExists(twins),))
    assert len(yard.named()) == 1


def test_a_name_of_another_version_is_a_verdict(world: LabWorld) -> None:
    yard = Yard(world, "name: k8s\nimage: {name: own}\n")
    yard.snapshot(None, **{"talos-version": "v1.11.0"})
    error = yard.verdict()
    assert "v1.11.0, not v1.12.2" in error.message


def test_a_snapshot_that_somebody_makes_is_waited_for(yard: Yard) -> None:
    made = yard.snapshot()
    table = yard.world.lab.hetzner.project.table("image")
    yard.world.do(lambda: table.update({str(made): {**table[str(made)], "status": "creating"}}))
    assert yard.probe().state is State.WORKING


MOMENTS = ("create_server", "enable_rescue", "power_on", "power_off", "create_image", "put_image_labels")


@pytest.mark.parametrize("moment", MOMENTS)
def test_killed_after_any_request_the_next_run_ends_the_same(
    yard: Yard, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_arguments: object) -> None:
        raise Killed

    request = getattr(Hetzner, moment)

    def last(self: Hetzner, *arguments: object) -> object:
        request(self, *arguments)
        for each in ("delete_server", "delete_ssh_key", "delete_image", "list_servers"):
            monkeypatch.setattr(Hetzner, each, killed)  # a process that was killed deletes nothing
        raise Killed

    monkeypatch.setattr(Hetzner, moment, last)
    with pytest.raises(Killed):
        yard.make()
    monkeypatch.undo()
    yard.make()
    assert len(yard.named()) == len(yard.images()) == 1
    yard.is_clean()
    assert yard.probe().state is READY


def test_a_snapshot_that_was_whole_when_its_run_was_killed_is_used(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_arguments: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Hetzner, "put_image_labels", killed)
        with pytest.raises(Killed):
            yard.make()
    (made,) = yard.images()
    outcomes = yard.make()
    assert yard.named() == [made.id]
    assert outcomes[0].acted == ("give the snapshot of a killed build its name",)


def test_ctrl_c_deletes_the_builder_before_it_ends(yard: Yard) -> None:
    for moment in ("create builder", "boot the builder", "100 %", "make the snapshot"):
        yard.when_said = partial(_stop_at, yard, moment)
        error = yard.verdict()
        assert error.exit_code == 130
        yard.is_clean()
        assert yard.images() == []
        yard.stop.clear()


def _stop_at(yard: Yard, moment: str, text: str) -> None:
    if text.startswith(moment):
        yard.stop.set()


@dataclass(frozen=True)
class BuiltElsewhere(ImageExists):
    """The same image, by another machine."""

    name = "elsewhere"
    theirs: Env | None = None

    def probe(self, env: Env) -> Seen:
        return super().probe(self.theirs or env)

    def act(self, env: Env, seen: Seen) -> None:
        super().act(self.theirs or env, seen)


def test_a_build_elsewhere_is_waited_for_and_its_builder_is_not_touched(yard: Yard, world: LabWorld) -> None:
    other = Yard(world, folder="elsewhere")
    world.fault("ssh-refused", {}, seconds=100)
    with closing(other.env()) as theirs:
        yard.make(lanes(ImageExists(), BuiltElsewhere(theirs=theirs)))
    assert len(yard.named()) == len(yard.images()) == 1
    assert any("another run builds" in text for text in yard.recorder.heard)
    assert [text for text in yard.said + other.said if "delete the builder" in text] == []
    yard.is_clean()


def test_an_abandoned_builder_of_somebody_else_is_deleted_after_an_hour(
    yard: Yard, world: LabWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_arguments: object) -> None:
        raise Killed

    other = Yard(world, folder="elsewhere")
    with monkeypatch.context() as patch:
        for each in ("enable_rescue", "delete_server", "delete_ssh_key"):
            patch.setattr(Hetzner, each, killed)
        with pytest.raises(Killed):
            other.make()
    assert yard.probe().state is State.WORKING
    world.run(lambda: world.clock.sleep(image_builder.ABANDONED))
    assert yard.probe().change == f"build snapshot {NAME}"
    yard.make()
    yard.is_clean()


def test_builders_are_tried_by_availability_then_price_then_disk(yard: Yard) -> None:
    yard.world.fault("no-capacity", {"server_type": "cpx12", "location": "nbg1"}, 0, listed=True)
    found = yard.ask(lambda env: image_builder.places(env, yard.spec))
    assert found[0] == ("cpx12", "fsn1")
    assert found[-1] == ("cpx12", "nbg1")
    prices = yard.ask(lambda env: env.hetzner.pricing())
    amounts = [prices.server(*place) for place in found[:-1]]
    assert amounts == sorted(amounts)
    assert found.index(("cx23", "nbg1")) < found.index(("cx23", "fsn1")) < found.index(("cx33", "nbg1"))
    assert {kind for kind, _ in found} == {"cx23", "cx33", "cpx12", "cpx22", "ccx13"}


def test_no_builder_has_a_larger_disk_than_the_clusters_servers(world: LabWorld) -> None:
    yard = Yard(world, "name: k8s\ncontrol_plane: {server_type: cx23}\n")
    found = yard.ask(lambda env: image_builder.places(env, yard.spec))
    assert {kind for kind, _ in found} == {"cx23", "cpx12"}


def test_a_snapshot_that_vanished_is_a_verdict(yard: Yard) -> None:
    from tallship.ops.image_build import give_name

    with pytest.raises(StepFailed, match="is gone"):
        yard.ask(lambda env: give_name(env, yard.spec))
    assert yard.make(ONE)[0].state is READY
