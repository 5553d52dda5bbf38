"""Someone who fetches one file of one image of a registry."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from release_world import (
    TOKEN,
    Member,
    Releases,
    left_in,
    releases,
)

from tallship.adapters.registry import Registry
from tallship.errors import ApiError, TallshipError

NAME = "syself/caph"
TAGGED = f"{NAME}:v1.0.7"
IMAGE = f"ghcr.io/{TAGGED}"
PROGRAM = b"\x7fELF" + bytes(range(256)) * 400
MANAGER = Member("manager", PROGRAM)
ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"


class Fetching:
    """Someone who fetches one file of one image."""

    def __init__(self, world: Releases, room: Path) -> None:
        self.world, self.room, self.to = world, room, room / "bin" / "caph"
        self.told: list[tuple[int, int]] = []

    def fetch(self, image: str = IMAGE, path: str = "/manager", mirrors: dict[str, str] | None = None) -> bytes:
        wanted = self.world.mirrors if mirrors is None else mirrors
        source = Registry(self.world.https, wanted)
        source.fetch(image, path, "linux/amd64", self.to, lambda here, whole: self.told.append((here, whole)))
        assert left_in(self.to.parent) == ["caph"]
        return self.to.read_bytes()

    def fails(self, image: str = IMAGE, path: str = "/manager", mirrors: dict[str, str] | None = None) -> ApiError:
        """Return the error; nothing is left of the attempt, and no secret is in it."""
        with pytest.raises(TallshipError) as caught:
            self.fetch(image, path, mirrors)
        assert left_in(self.to.parent) == []
        error = caught.value
        assert isinstance(error, ApiError)
        assert error.hint
        shown = f"{error.message} {error.detail} {error.hint}"
        assert TOKEN not in shown
        assert "signature" not in shown
        return error


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Releases]:
    with releases(tmp_path) as made:
        yield made


@pytest.fixture
def someone(world: Releases, tmp_path: Path) -> Fetching:
    return Fetching(world, tmp_path)
