"""A plane whose programs are stand-ins, so that its supervision is tested where the real programs are not at hand."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tallship.localplane import kubernetes, plane
from tallship.localplane.plane import LocalPlane, Settings

STAND_IN = Path(__file__).with_name("stand_in.py")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings that name a folder of stand-ins."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in kubernetes.NAMES:
        text = STAND_IN.read_text()
        (folder / name).write_text(f"#!{sys.executable} -SE\n{text}")
        (folder / name).chmod(0o755)
    return Settings(folder)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A folder for a plane, which is stopped afterwards."""
    made = tmp_path / "plane"
    yield made
    plane.stop(made)


@pytest.fixture
def running(folder: Path, settings: Settings) -> LocalPlane:
    """A plane that is ready."""
    return plane.start(folder, settings)
