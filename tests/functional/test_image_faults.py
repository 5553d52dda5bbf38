"""What goes wrong while an image is built ends in a verdict, and nothing is left that costs money."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from image_yard import NAME, READY, Yard
from lab_world import LabWorld

from tallship.lab.hetzner.catalog import SERVER_TYPES


@pytest.fixture
def yard(world: LabWorld) -> Yard:
    """An empty project."""
    return Yard(world)


@dataclass(frozen=True)
class End:
    """A fault and the verdict that it ends in."""

    fault: str
    match: dict[str, str]
    says: str
    hint: str
    exit_code: int = 1
    times: int = 0
    values: dict[str, Any] = field(default_factory=dict)


ENDS = {
    "sold out everywhere": End("no-capacity", {}, "no server to build the image on", "later"),
    "project full": End("quota", {"route": "POST /servers"}, "limit", "quota"),
    "builder cannot be created": End(
        "action-error", {"command": "create_server"}, "could not create the builder", "run the same command"
    ),
    "rescue cannot be enabled": End(
        "action-error", {"command": "enable_rescue"}, "could not enable the rescue system", "run the same command"
    ),
    "never boots into rescue": End("no-rescue", {}, "rescue system did not answer, twice", "SSH", 3),
    "download cut each time": End("cut-image", {}, "broke off after", "run the same command"),
    "half an image each time": End("short-image", {}, "sent", "run the same command"),
    "image not there": End("no-image", {}, "404", "talos.version"),
    "factory broken": End("server-error", {"api": "factory"}, "500", "talos.version"),
    "disk too small": End("disk-too-small", {}, "does not fit", "larger disk"),
    "builder stays on": End(
        "action-error", {"command": "stop_server"}, "could not switch the builder off", "run the same command"
    ),
    "snapshot fails": End(
        "action-error", {"command": "create_image"}, "could not make the snapshot", "run the same command", times=1
    ),
    "snapshot refused": End("quota", {"route": "POST /servers/{id}/actions/create_image"}, "limit", "quota"),
    "name refused": End("server-error", {"route": "PUT /images/{id}"}, "server_error", "run the same command"),
}


@pytest.mark.parametrize("case", ENDS)
def test_a_fault_ends_in_a_verdict_and_nothing_is_left(yard: Yard, case: str) -> None:
    end = ENDS[case]
    yard.world.fault(end.fault, end.match, end.times, **end.values)
    error = yard.verdict()
    text = f"{error.message}\n{error.detail}"
    assert (error.exit_code, end.says in text, end.hint in error.hint) == (end.exit_code, True, True), (
        text,
        error.hint,
    )
    yard.is_clean()
    assert yard.named() == []
    yard.world.do(yard.world.lab.faults.clear)
    yard.make()
    assert len(yard.named()) == len(yard.images()) == 1
    yard.is_clean()


PASSING = {
    "SSH refused for a while": ("ssh-refused", {}, 1, {"seconds": 100}),
    "first boot fails": ("no-rescue", {}, 1, {}),
    "download cut at half, once": ("cut-image", {}, 1, {}),
    "half an image, once": ("short-image", {}, 1, {}),
    "slow factory": ("slow", {"api": "factory"}, 3, {"seconds": 9}),
    "builder locked": ("locked", {"route": "POST /servers/{id}/actions/poweron"}, 2, {}),
    "answers lost": ("lost-answer", {"route": "POST /servers"}, 1, {}),
    "deletion refused for a while": ("locked", {"route": "DELETE /servers/{id}"}, 3, {}),
    "too many requests": ("rate-limit", {"route": "GET /servers/{id}/actions"}, 2, {}),
}


@pytest.mark.parametrize("case", PASSING)
def test_a_fault_that_passes_is_passed(yard: Yard, case: str) -> None:
    name, match, times, values = PASSING[case]
    yard.world.fault(name, match, times, **values)
    yard.make()
    assert yard.world.do(yard.world.lab.faults.list) == []
    assert len(yard.named()) == len(yard.images()) == 1
    yard.is_clean()


def test_the_one_place_that_is_not_sold_out_is_found(yard: Yard) -> None:
    kinds = [kind for kind in SERVER_TYPES if kind.architecture == "x86"]
    left = ("cpx22", "sin")
    for kind in kinds:
        for location in kind.locations:
            if (kind.name, location) != left:
                yard.world.fault("no-capacity", {"server_type": kind.name, "location": location}, 0)
    yard.make()
    tried = [text for text in yard.said if text.startswith("create builder")]
    assert tried[-1] == "create builder cpx22 in sin"
    assert len(tried) > 5
    yard.is_clean()


def test_a_cut_download_is_told_with_its_bytes(yard: Yard) -> None:
    yard.world.fault("cut-image", {}, 1)
    yard.make()
    (told,) = [text for text in yard.said if "broke off" in text]
    came, size = (int(word) for word in told.split() if word.isdigit())
    assert 0.4 < came / size < 0.6


WRITES = ("POST /servers", "POST /servers/{id}/actions/poweron", "POST /servers/{id}/actions/create_image")


@pytest.mark.parametrize("write", [*WRITES, "PUT /images/{id}"])
def test_a_token_that_loses_its_right_to_write_leaves_what_is_told_and_later_deleted(yard: Yard, write: str) -> None:
    for route in (write, "DELETE /servers/{id}", "DELETE /ssh_keys/{id}", "DELETE /images/{id}"):
        yard.world.fault("token-readonly", {"route": route}, 0)
    error = yard.verdict()
    assert "read-only" in error.message
    assert "read and write permission" in error.hint
    assert "still there" in error.detail or write.startswith("PUT")
    assert "tallship image prune" in error.hint
    yard.world.do(yard.world.lab.faults.clear)
    yard.make()
    yard.is_clean()
    assert len(yard.named()) == 1


def test_a_builder_that_boots_from_its_disk_is_not_written_on(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    from tallship.manifests import image_script

    script = image_script.script
    mounted: Callable[..., str] = lambda *words: script(*words).replace("/proc/mounts", "mounts")  # noqa: E731
    monkeypatch.setattr(image_script, "script", lambda *words: 'echo "$DISK / ext4" > ~/mounts\n' + mounted(*words))
    assert "booted from its disk" in yard.verdict().message
    yard.is_clean()


def test_verdicts_name_the_image_that_is_missing(yard: Yard) -> None:
    assert yard.probe().change == f"build snapshot {NAME}"
    yard.make()
    assert yard.probe().state is READY
