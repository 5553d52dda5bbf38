"""Fixtures of the functional tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from lab_world import LabWorld


@pytest.fixture
def world(tmp_path: Path) -> Iterator[LabWorld]:
    """A fresh lab in virtual time."""
    with LabWorld(tmp_path) as made:
        yield made
