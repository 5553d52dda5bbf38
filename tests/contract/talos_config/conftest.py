from __future__ import annotations

from pathlib import Path

import pytest
from talos_library import Talos, ask


@pytest.fixture(scope="session")
def talos() -> Talos:
    """What Talos' own library says to every case."""
    return ask(Path(__file__).parent)
