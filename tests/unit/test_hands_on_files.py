"""A person changes a file while it is to be changed: both changes are in it, or nothing is written and it is said."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tallship.cli.options import Options
from tallship.cli.session import _tell_of_changed_file, open_env
from tallship.engine import Seen, State
from tallship.env import Env
from tallship.errors import SetupError, SpecError
from tallship.ops import shared_file
from tallship.ops.upgrade import FileSays
from tallship.report.answer import CURRENT, Answer
from tallship.spec import edit, edit_spec, load_spec
from tallship.spec.load import load_spec_with, read_text

VERSION = ("kubernetes", "version")
POOLS = "name: k8s\nworkers:\n  - {name: small, replicas: 1}\n  - {name: big, replicas: 2}\n"


class Begun:
    """A command that has read the cluster file, and is to write into it."""

    def __init__(self, folder: Path, text: str, keys: tuple[str | int, ...], value: str | int) -> None:
        self.path = folder / "tallship.yaml"
        self.path.write_text(text)
        self.step = FileSays(self.path, {keys: value})
        spec = load_spec_with(self.path, {".".join(map(str, keys)): str(value)})
        self.env = cast(Env, SimpleNamespace(written=load_spec(self.path), spec=spec))

    def meanwhile(self, text: str) -> Seen:
        """Let somebody write the file; returns what the step sees then."""
        self.path.write_text(text)
        return self.step.probe(self.env)


@pytest.fixture
def upgrade(tmp_path: Path) -> Begun:
    return Begun(tmp_path, "name: k8s\n", VERSION, "v1.32.3")


def test_what_somebody_writes_meanwhile_stays_and_is_told(upgrade: Begun) -> None:
    seen = upgrade.meanwhile("name: k8s  # mine\ncontrol_plane: {server_type: cpx32}\n")
    assert seen.state is State.MISSING
    assert "control_plane.server_type was changed in it since this began: `tallship up` makes it so" in seen.change
    upgrade.step.act(upgrade.env, seen)
    spec = load_spec(upgrade.path)
    assert (spec.control_plane.server_type, spec.kubernetes.version) == ("cpx32", "v1.32.3")
    assert "# mine" in upgrade.path.read_text()
    done = upgrade.step.probe(upgrade.env)
    assert (done.state, "control_plane.server_type" in done.detail) == (State.READY, True)


def test_a_value_that_somebody_sets_otherwise_meanwhile_is_not_overwritten(upgrade: Begun) -> None:
    seen = upgrade.meanwhile("name: k8s\nkubernetes: {version: v1.33.1}\n")
    assert seen.state is State.BROKEN
    assert "kubernetes.version was v1.32.2, and is v1.33.1" in seen.detail
    assert "run the same command again" in seen.hint


def test_the_same_value_set_by_somebody_else_is_fine(upgrade: Begun) -> None:
    assert upgrade.meanwhile("name: k8s\nkubernetes: {version: v1.32.3}\n").state is State.READY


@pytest.mark.parametrize("text", ["name: [\n", "name: k8s\nkubernetes: {version: 12}\n"])
def test_a_file_that_is_no_cluster_file_any_more_stops_it_before_anything(upgrade: Begun, text: str) -> None:
    with pytest.raises(SpecError) as caught:
        upgrade.meanwhile(text)
    assert "somebody has changed it since this began" in caught.value.hint
    assert caught.value.detail == "nothing was changed"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (POOLS.replace("  - {name: small, replicas: 1}\n", ""), "workers[1].replicas was 2, and is gone"),
        (POOLS.replace("small", "tiny").replace("big", "small"), "workers[1].name was big, and is small"),
    ],
)
def test_a_pool_that_stands_elsewhere_meanwhile_is_not_taken_for_another(tmp_path: Path, text: str, says: str) -> None:
    seen = Begun(tmp_path, POOLS, ("workers", 1, "replicas"), 3).meanwhile(text)
    assert (seen.state, says in seen.detail) == (State.BROKEN, True), seen.detail


def test_what_is_written_in_the_moment_of_the_change_is_kept(upgrade: Begun, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[str] = []

    def read(path: Path) -> str:
        text = read_text(path)
        reads.append(text)
        if len(reads) == 1:
            upgrade.path.write_text("name: k8s\ncontrol_plane: {replicas: 5}\n")
        return text

    monkeypatch.setattr(edit, "read_text", read)
    edit_spec(upgrade.path, {VERSION: "v1.32.3"})
    spec = load_spec(upgrade.path)
    assert (spec.control_plane.replicas, spec.kubernetes.version) == (5, "v1.32.3")


def test_a_file_that_never_rests_is_left_alone(upgrade: Begun, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(path: Path) -> str:
        path.write_text(f"{path.read_text()}#")
        return read_text(path)

    monkeypatch.setattr(edit, "read_text", read)
    with pytest.raises(SpecError, match="another one each time"):
        edit_spec(upgrade.path, {VERSION: "v1.32.3"})
    assert load_spec(upgrade.path).kubernetes.version == "v1.32.2"


def told_at_the_end(begun: Begun, monkeypatch: pytest.MonkeyPatch) -> tuple[str, Any]:
    """Return what a person reads when the run has ended, and what is in the answer."""
    stderr = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    CURRENT.set(Answer())
    _tell_of_changed_file(begun.env, Options(file=begun.path))
    return stderr.getvalue(), CURRENT.get().data.get("file_changed")


def test_at_the_end_a_person_reads_what_the_run_knows_nothing_of(
    upgrade: Begun, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit_spec(upgrade.path, {VERSION: "v1.32.3"})
    assert told_at_the_end(upgrade, monkeypatch) == ("", None)
    edit_spec(upgrade.path, {("control_plane", "replicas"): 5})
    text, data = told_at_the_end(upgrade, monkeypatch)
    assert data == ["control_plane.replicas"]
    assert "was changed while this ran: control_plane.replicas" in text
    upgrade.path.write_text("name: [")
    assert "no valid cluster file any more" in told_at_the_end(upgrade, monkeypatch)[0]


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    file = tmp_path / "kube" / "config"
    file.parent.mkdir()
    file.write_text("theirs\n")
    return file


def add(text: str) -> str:
    return f"{text}ours\n"


def test_a_shared_file_keeps_what_somebody_writes_in_the_moment_of_the_change(shared: Path) -> None:
    reads: list[str] = []

    def read() -> str:
        text = shared.read_text()
        reads.append(text)
        if len(reads) == 1:
            shared.write_text("theirs\nanother's\n")
        return text

    shared_file.change(shared, read, add)
    assert shared.read_text() == "theirs\nanother's\nours\n"
    assert [each.name for each in shared.parent.iterdir()] == ["config"]


def test_a_shared_file_that_never_rests_is_left_alone(shared: Path) -> None:
    def read() -> str:
        shared.write_text(f"{shared.read_text()}theirs\n")
        return shared.read_text()

    with pytest.raises(SetupError, match="another one each time"):
        shared_file.change(shared, read, add)
    assert "ours" not in shared.read_text()
    assert [each.name for each in shared.parent.iterdir()] == ["config"]


def test_whoever_holds_kubectls_lock_is_not_disturbed(shared: Path) -> None:
    lock = shared.with_name("config.lock")
    lock.touch()
    with pytest.raises(SetupError, match=r"another program is changing .*: there is config\.lock") as caught:
        shared_file.change(shared, shared.read_text, add)
    assert str(lock) in caught.value.hint
    assert (shared.read_text(), lock.exists()) == ("theirs\n", True)


def test_nobody_else_gets_the_lock_meanwhile(shared: Path) -> None:
    def changed(text: str) -> str:
        assert shared.with_name("config.lock").exists()
        return add(text)

    shared_file.change(shared, shared.read_text, changed)
    assert not shared.with_name("config.lock").exists()


def test_a_link_stays_one(shared: Path, tmp_path: Path) -> None:
    link = tmp_path / "config"
    link.symlink_to(shared)
    shared_file.change(link, link.read_text, add)
    assert link.is_symlink()
    assert shared.read_text() == "theirs\nours\n"


def test_a_shared_file_that_is_not_there_is_made_private(tmp_path: Path) -> None:
    file = tmp_path / "new" / "config"
    shared_file.change(file, lambda: file.read_text() if file.exists() else "", add)
    assert (file.read_text(), file.stat().st_mode & 0o777) == ("ours\n", 0o600)


def test_what_is_set_for_one_run_may_mend_a_file_that_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "tallship.yaml"
    file.write_text("name: k8s\nkubernetes: {version: newest}\n")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("HCLOUD_TOKEN", "a" * 64)
    env = open_env(Options(file=file), changes=["kubernetes.version=v1.32.3"])
    assert (env.spec.kubernetes.version, env.written) == ("v1.32.3", None)
