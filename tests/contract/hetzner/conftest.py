"""Fixtures of the Hetzner contract tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hcloud import Client
from hetzner_lab import HetznerLab
from hetzner_openapi import DESCRIPTION, complaints


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[HetznerLab]:
    made = HetznerLab(tmp_path)
    yield made
    made.close()


@pytest.fixture
def restartable(tmp_path: Path) -> Iterator[Callable[[float], HetznerLab]]:
    """Return a function that ends the running lab and starts the next on the same store."""
    labs: list[HetznerLab] = []

    def start(now: float = 0) -> HetznerLab:
        if labs:
            labs.pop().close()
        labs.append(HetznerLab(tmp_path, tmp_path / "lab.db", now))
        return labs[-1]

    yield start
    for made in labs:
        made.close()


@pytest.fixture
def client(lab: HetznerLab) -> Iterator[Client]:
    made = lab.client()
    yield made
    made._client._session.close()


@pytest.fixture
def project(client: Client) -> Iterator[Client]:
    """The real client; each answer it gets is held against Hetzner's description."""
    found: list[str] = []
    if DESCRIPTION.exists():
        client._client._session.hooks["response"].append(lambda answer, **_: found.extend(complaints(answer)))
    yield client
    assert found == []
