"""Fixtures of the Talos contract tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from talos_lab import TalosLab


@pytest.fixture
def lab() -> Iterator[TalosLab]:
    made = TalosLab()
    yield made
    made.close()
