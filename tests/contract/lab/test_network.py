"""Every lab has a network of its own, and gives it back by dying."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest

from tallship.errors import SetupError
from tallship.lab import network


@pytest.fixture(autouse=True)
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "networks"
    monkeypatch.setattr(network, "registry", lambda: folder)
    monkeypatch.setattr(network, "_FIRST", 120)  # far from where labs usually are
    return folder


def test_two_labs_never_share_a_network() -> None:
    assert network.take(None) != network.take(None)


def test_network_of_a_dead_process_is_free_again(shared: Path) -> None:
    first = network.take(None)
    _forge(shared, first, folder="")
    assert network.take(None) == first


def test_network_of_a_stopped_lab_waits_for_it(shared: Path, tmp_path: Path) -> None:
    folder = tmp_path / "lab"
    folder.mkdir()
    (folder / "lab.json").touch()
    first = network.take(folder)
    _forge(shared, first, folder=str(folder))
    assert network.take(None) != first
    assert network.take(folder, first) == first


def test_network_is_free_after_it_is_given_back() -> None:
    first = network.take(None)
    network.give_back(first)
    assert network.take(None) == first


def test_wanted_network_that_a_living_lab_holds_is_an_error() -> None:
    first = network.take(None)
    with pytest.raises(SetupError, match="in use"):
        network.take(Path("/elsewhere"), first)


def test_port_that_somebody_listens_on_is_seen() -> None:
    first = network.take(None)
    network.give_back(first)
    with socket.create_server((f"{first}.1", network.CONTROL_PORT)):
        with pytest.raises(SetupError, match=r"network .* is in use"):
            network.take(None, first)
        assert network.take(None) != first


def test_registry_that_cannot_be_written_is_an_error(shared: Path) -> None:
    shared.write_text("a file")
    with pytest.raises(SetupError, match="cannot write"):
        network.take(None)


def _forge(shared: Path, taken: str, folder: str) -> None:
    """Make the record say that its process is one that is dead."""
    (shared / f"{taken}.json").write_text(json.dumps({"pid": os.getpid(), "started": "1", "folder": folder}))
