"""An image's index, manifest and layers: which file of it is taken, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from one_file import MANAGER, NAME, PROGRAM, TAGGED, ZSTD, Fetching, someone, world
from release_world import (
    GZIPPED,
    INDEX,
    Answer,
    Member,
    as_json,
    folder,
    hardlink,
    packed,
    symlink,
    tar,
)

from tallship.adapters import layers, registry

__all__ = ["someone", "world"]


# --- what an index says


def test_platform_that_is_not_there_is_told_with_those_that_are(someone: Fetching) -> None:
    someone.world.publish(TAGGED, packed(MANAGER), architecture="arm64")
    error = someone.fails()
    assert error.code == "platform"
    assert "linux/arm64" in error.detail
    assert "unknown" not in error.detail


def test_image_without_index_for_another_platform_is_refused(someone: Fetching) -> None:
    other = someone.world.manifest(NAME, [packed(MANAGER)], architecture="arm64")
    someone.world.put_manifest(NAME, "v1.0.7", other)
    assert someone.fails().code == "platform"


def test_variant_that_not_every_machine_runs_is_passed_over(someone: Fetching) -> None:
    entries = []
    for variant, body in (("v3", b"for new machines"), ("v1", PROGRAM)):
        found = someone.world.put_manifest(NAME, "", someone.world.manifest(NAME, [packed(Member("manager", body))]))
        entries.append({**found, "platform": {"os": "linux", "architecture": "amd64", "variant": variant}})
    someone.world.put_manifest(NAME, "v1.0.7", {"schemaVersion": 2, "mediaType": INDEX, "manifests": entries})
    assert someone.fetch() == PROGRAM


OK = {"mediaType": GZIPPED, "digest": f"sha256:{'0' * 64}", "size": 5}
AMD64 = {"os": "linux", "architecture": "amd64"}


@pytest.mark.parametrize(
    "document",
    [
        [],
        {},
        {"schemaVersion": 1, "fsLayers": []},
        {"manifests": [], "layers": []},
        {"manifests": 5},
        {"manifests": [{"platform": AMD64}]},
        {"manifests": [{**OK, "platform": AMD64, "digest": f"sha512:{'0' * 128}"}]},
        {"manifests": [{**OK, "platform": AMD64, "digest": "sha256:../../x"}]},
        {"manifests": [{**OK, "platform": AMD64, "size": -1}]},
        {"manifests": [{**OK, "platform": AMD64, "size": "5"}]},
        {"layers": [OK]},
    ],
)
def test_manifest_that_is_none_is_an_error(someone: Fetching, document: Any) -> None:
    someone.world.main.put(f"/v2/{NAME}/manifests/v1.0.7", Answer(as_json(document)))
    assert "OCI specification" in someone.fails().message


def test_index_in_an_index_is_not_followed(someone: Fetching) -> None:
    inner = someone.world.put_manifest(NAME, "", {"mediaType": INDEX, "manifests": []})
    outer = {"mediaType": INDEX, "manifests": [{**inner, "platform": AMD64}]}
    someone.world.put_manifest(NAME, "v1.0.7", outer)
    assert "OCI specification" in someone.fails().message


def test_manifest_that_is_too_large_is_not_read(someone: Fetching, monkeypatch: pytest.MonkeyPatch) -> None:
    someone.world.publish(TAGGED, packed(MANAGER))
    monkeypatch.setattr(registry, "MANIFEST_LIMIT", 100)
    assert "larger than the 100 bytes" in someone.fails().message


@pytest.mark.parametrize("kind", [ZSTD, "application/vnd.oci.image.layer.nondistributable.v1.tar", "text/html"])
def test_layer_of_another_kind_is_refused_by_name(someone: Fetching, kind: str) -> None:
    someone.world.put_manifest(NAME, "v1.0.7", someone.world.manifest(NAME, [packed(MANAGER)], kind))
    assert f"`{kind}`" in someone.fails().message


def test_layer_that_is_zstd_though_it_says_gzip_is_refused_by_name(someone: Fetching) -> None:
    someone.world.publish(TAGGED, b"\x28\xb5\x2f\xfd" + bytes(100))
    assert "zstd" in someone.fails().message


def test_layer_that_is_not_packed_is_read(someone: Fetching) -> None:
    someone.world.publish(TAGGED, tar(MANAGER))
    assert someone.fetch() == PROGRAM


@pytest.mark.parametrize(
    "layer", [b"", b"no tar at all" * 100, b"\x1f\x8b no gzip", packed(MANAGER)[:-5000], tar(MANAGER)[:5000]]
)
def test_layer_that_cannot_be_read_is_an_error(someone: Fetching, layer: bytes) -> None:
    someone.world.publish(TAGGED, layer)
    error = someone.fails()
    assert "cannot be unpacked" in error.message or error.code == "absent"
    assert not error.may_pass


def test_layer_of_several_gzip_members_is_read_whole(someone: Fetching) -> None:
    import gzip

    whole = tar(Member("first", b"1"), MANAGER)
    someone.world.publish(TAGGED, gzip.compress(whole[:1024], 1) + gzip.compress(whole[1024:], 1))
    assert someone.fetch() == PROGRAM


# --- which file of the image it is


@pytest.mark.parametrize(
    "image",
    [
        [[symlink("manager", "bin/real"), Member("bin/real", PROGRAM)]],
        [[symlink("manager", "/bin/real")], [Member("unrelated", b"1"), Member("bin/real", PROGRAM)]],
        [[Member("bin/real", PROGRAM)], [symlink("manager", "./../../../bin/real")]],
        [[Member("bin/real", PROGRAM), hardlink("manager", "bin/real")]],
        [[Member("bin/real", PROGRAM)], [hardlink("manager", "./bin/real")]],
        [[Member("bin/real", PROGRAM), hardlink("manager", "bin/real")], [Member("bin/real", b"new")]],
        [[Member("manager", b"old")], [MANAGER]],
        [[MANAGER, folder("etc")], [Member("etc/x", b"1")]],
        [[Member("manager", b"old"), MANAGER]],
        [[MANAGER], [Member("bin/.wh.manager"), Member(".wh.managers"), Member(".wh.manage")]],
        [[Member("manager", b"old")], [MANAGER, Member(".wh.manager")]],
        [[Member("manager", b"old")], [Member(".wh..wh..opq"), MANAGER]],
        [[Member("/manager", PROGRAM)]],
    ],
    ids=[
        "link beside it",
        "link to the root",
        "link that stays in the image",
        "hard link",
        "hard link into the layer below",
        "hard link to what was replaced above",
        "replaced above",
        "untouched above",
        "twice in a layer",
        "others are hidden",
        "hidden and put anew",
        "folder emptied and filled",
        "name with a slash",
    ],
)
def test_file_is_found_where_the_image_has_it(someone: Fetching, image: list[list[Member]]) -> None:
    someone.world.publish(TAGGED, *(packed(*members) for members in image))
    assert someone.fetch() == PROGRAM


def test_link_from_a_folder_to_the_root_is_followed(someone: Fetching) -> None:
    image = packed(symlink("usr/bin/prog", "/opt/prog"), Member("opt/prog", PROGRAM))
    someone.world.publish(TAGGED, image)
    assert someone.fetch(path="/usr/bin/prog") == PROGRAM


def test_folder_that_is_a_link_is_followed(someone: Fetching) -> None:
    below = packed(Member("usr/bin/prog", PROGRAM), Member("bin/prog", b"of another folder"))
    someone.world.publish(TAGGED, below, packed(symlink("bin", "usr/bin")))
    assert someone.fetch(path="/bin/prog") == PROGRAM


@pytest.mark.parametrize(
    "image",
    [
        [[Member("other", b"1")]],
        [[Member("../manager", PROGRAM)], [Member("x/../manager", PROGRAM)]],
        [[MANAGER], [Member(".wh.manager")]],
        [[MANAGER], [Member(".wh..wh..opq")]],
        [[symlink("manager", "nowhere")]],
        [[hardlink("manager", "../../manager")]],
    ],
    ids=["absent", "names that climb", "hidden", "hidden with its folder", "link to nothing", "hard link that climbs"],
)
def test_file_that_the_image_has_not_is_absent(someone: Fetching, image: list[list[Member]]) -> None:
    someone.world.publish(TAGGED, *(packed(*members) for members in image))
    error = someone.fails()
    assert error.code == "absent"
    assert "/manager" in error.message


@pytest.mark.parametrize(
    "mark", [Member("usr/.wh.bin"), Member(".wh.usr"), Member("usr/.wh..wh..opq"), Member("usr", b"")]
)
def test_folder_that_is_hidden_hides_its_files(someone: Fetching, mark: Member) -> None:
    someone.world.publish(TAGGED, packed(Member("usr/bin/prog", PROGRAM)), packed(mark))
    assert someone.fails(path="/usr/bin/prog").code == "absent"


def test_links_in_a_circle_end(someone: Fetching) -> None:
    someone.world.publish(TAGGED, packed(symlink("manager", "other"), symlink("other", "manager")))
    assert "leads to more than" in someone.fails().message


@pytest.mark.parametrize("member", [folder("manager"), Member("manager", kind=b"6"), Member("manager", kind=b"3")])
def test_what_is_no_regular_file_is_refused(someone: Fetching, member: Member) -> None:
    someone.world.publish(TAGGED, packed(MANAGER), packed(member))
    assert "no regular file" in someone.fails().message


def test_file_that_is_too_large_is_refused(someone: Fetching, monkeypatch: pytest.MonkeyPatch) -> None:
    someone.world.publish(TAGGED, packed(MANAGER))
    monkeypatch.setattr(layers, "FILE_LIMIT", len(PROGRAM) - 1)
    assert "larger than" in someone.fails().message


def test_layer_that_unpacks_to_too_much_is_refused(someone: Fetching, monkeypatch: pytest.MonkeyPatch) -> None:
    someone.world.publish(TAGGED, packed(Member("zeros", bytes(2**20)), MANAGER))
    monkeypatch.setattr(layers, "UNPACKED_LIMIT", 2**20)
    assert "more than" in someone.fails().message


def test_layer_that_is_too_large_is_not_loaded(someone: Fetching, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = packed(MANAGER)
    someone.world.publish(TAGGED, layer)
    monkeypatch.setattr(registry, "LAYER_LIMIT", len(layer) - 1)
    assert "larger than" in someone.fails().message
    assert someone.world.storage.asked == []


def test_too_many_layers_are_refused(someone: Fetching, monkeypatch: pytest.MonkeyPatch) -> None:
    someone.world.publish(TAGGED, packed(MANAGER), packed(MANAGER, Member("x")))
    monkeypatch.setattr(registry, "LAYER_COUNT", 1)
    assert "OCI specification" in someone.fails().message
