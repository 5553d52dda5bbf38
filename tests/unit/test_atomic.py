"""A file is whole, or as it was: also when the disk is full, the process is killed, or the power goes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tallship import atomic


def test_the_content_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[str] = []

    def told(name: str, real: Any) -> Any:
        def call(*words: Any, **more: Any) -> Any:
            heard.append(name)
            return real(*words, **more)

        return call

    monkeypatch.setattr(os, "fsync", told("sync", os.fsync))
    monkeypatch.setattr(Path, "replace", told("name", Path.replace))
    atomic.write(tmp_path / "file", b"new", 0o640)
    assert heard == ["sync", "name", "sync"]  # the file, then its name in the folder
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("broken", ["fsync", "fchmod", "replace"])
@pytest.mark.parametrize("error", [OSError("no space left"), KeyboardInterrupt()])
def test_what_was_there_stays_when_it_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str, error: BaseException
) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"old")

    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr(Path if broken == "replace" else os, broken, fail)
    with pytest.raises(type(error)):
        atomic.write(file, b"new", 0o600)
    assert file.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [file]


def test_a_new_file_has_the_mode_that_the_umask_leaves(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        assert atomic.usual_mode() == 0o640
    finally:
        os.umask(before)
