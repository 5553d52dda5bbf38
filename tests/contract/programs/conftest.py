"""Fixtures of the stand-in programs' tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from programs_lab import ProgramsLab


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[ProgramsLab]:
    made = ProgramsLab(tmp_path)
    yield made
    made.close()
