from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import pytest
from controller_world import ControllerWorld

from tallship.lab.talos.config import secrets

shared_keys = cache(secrets.new_bundle)
"""One cluster's keys for all tests: making them takes most of a second."""


@pytest.fixture(autouse=True)
def bundle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every cluster of these tests has the same keys."""
    monkeypatch.setattr(secrets, "new_bundle", shared_keys)


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
