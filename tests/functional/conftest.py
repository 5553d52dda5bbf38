"""Fixtures of the functional tests."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from lab_world import LabWorld
from ship import Kept, Ship

from tallship.flows import PIVOT, UP

_made_once = cache(rsa.generate_private_key)


@pytest.fixture(scope="module", autouse=True)
def _rsa_keys_are_made_once() -> Iterator[None]:
    """Every lab of this process signs its service accounts with one key: making 4096 bits takes most of a second."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rsa, "generate_private_key", _made_once)
        yield


@pytest.fixture
def world(tmp_path: Path) -> Iterator[LabWorld]:
    """A fresh lab in virtual time."""
    with LabWorld(tmp_path) as made:
        yield made


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    """A finished cluster to be copied."""
    made = Kept(tmp_path_factory.mktemp("kept"), UP)
    yield made
    made.give_back()


@pytest.fixture(scope="session")
def kept_pivoted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    """A cluster that manages itself, to be copied; the bootstrap cluster is still there."""
    made = Kept(tmp_path_factory.mktemp("pivoted"), UP, PIVOT)
    yield made
    made.give_back()


@pytest.fixture
def done(kept: Kept) -> Iterator[Ship]:
    """A finished cluster, with its management cluster beside it, that the test may change."""
    with kept.copy() as ship:
        yield ship
