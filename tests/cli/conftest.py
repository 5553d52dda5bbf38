"""Fixtures of the command line's tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import CommandLine


@pytest.fixture
def tallship(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    """The command line in an empty folder, with an empty home and no token."""
    home, folder = tmp_path / "home", tmp_path / "here"
    home.mkdir()
    folder.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_STATE_HOME", str(home / "state"))
    for name in ("HCLOUD_TOKEN", "HCLOUD_ENDPOINT", "KUBECONFIG", "TALOSCONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sys.argv", ["tallship"])
    monkeypatch.chdir(folder)
    return CommandLine(capsys, folder)
