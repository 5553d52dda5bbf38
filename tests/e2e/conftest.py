"""The real programs, and a plane of them that the tests share."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import build_programs
import pytest

from tallship.lab import daemon
from tallship.localplane import plane
from tallship.localplane.plane import LocalPlane, Settings

sys.path.append(str(Path(__file__).parents[1] / "contract/kube"))  # cases that both kinds of server must pass
sys.path.append(str(Path(__file__).parents[1] / "cli"))
from real_lab import RealLab


@pytest.fixture(scope="session")
def programs() -> Path:
    """The folder of the real programs; where they are not built, the test is skipped."""
    try:
        missing = build_programs.missing()
    except FileNotFoundError as needed:
        pytest.skip(f"needs {needed}")
    if missing:
        pytest.skip(f"`make e2e` has not built {', '.join(missing)}")
    return build_programs.folder()


@pytest.fixture(scope="module")
def real(programs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalPlane]:
    """A plane that the tests of one module share."""
    folder = tmp_path_factory.mktemp("plane")
    yield plane.start(folder, Settings(programs))
    plane.stop(folder)


@pytest.fixture(scope="module")
def lab(programs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealLab]:
    """A lab of real API servers with a whole cluster; the tests of a module stand in the order of its life."""
    made = RealLab(tmp_path_factory.mktemp("lab"))
    made.seconds = 420.0
    try:
        made.run("lab", "up", "--kubernetes", "real", "--programs", str(programs))
        made.run("up", "--lab", "--quiet")
        yield made
    finally:
        daemon.stop(made.state / "lab")
