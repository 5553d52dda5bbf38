from __future__ import annotations

from collections.abc import Iterator

import pytest
from controller_world import ControllerWorld

from tallship.lab.talos.config import secrets


@pytest.fixture(scope="session", autouse=True)
def bundle() -> Iterator[None]:
    """One cluster's keys for all tests: making them takes most of a second."""
    with pytest.MonkeyPatch.context() as patch:
        keys = secrets.new_bundle()
        patch.setattr(secrets, "new_bundle", lambda: keys)
        yield


@pytest.fixture
def world() -> Iterator[ControllerWorld]:
    """Servers have no machine behind them."""
    lab = ControllerWorld()
    yield lab
    lab.close()


@pytest.fixture
def booting_world() -> Iterator[ControllerWorld]:
    """Servers boot Talos; nothing runs in the workload cluster."""
    lab = ControllerWorld(boots=True)
    yield lab
    lab.close()
