"""Each verb that starts a program meets what a program can do: what is thrown says what to do about it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from programs_lab import IMAGE, NAME, ProgramsLab

from tallship import versions
from tallship.adapters.programs import Programs
from tallship.errors import ProgramError, SetupError

CILIUM = versions.CHARTS["cilium"]


class Verb(NamedTuple):
    """The program that it starts, with its command, and the call; everything of it lies in one folder."""

    program: str
    command: str
    call: Callable[[Programs, Path], object]


VERBS = {
    "kind_clusters": Verb("kind", "get", lambda it, _: it.kind_clusters()),
    "kind_create": Verb("kind", "create", lambda it, folder: it.kind_create(NAME, IMAGE, folder / "new")),
    "kind_kubeconfig": Verb("kind", "export", lambda it, folder: it.kind_kubeconfig(NAME, folder / "new")),
    "kind_start": Verb("docker", "start", lambda it, _: it.kind_start(NAME)),
    "kind_delete": Verb("kind", "delete", lambda it, folder: it.kind_delete(NAME, folder / "new")),
    "clusterctl_init": Verb(
        "clusterctl", "init", lambda it, folder: it.clusterctl_init(folder / "one", None, {}, (), 60)
    ),
    "clusterctl_move": Verb(
        "clusterctl", "move", lambda it, folder: it.clusterctl_move(folder / "one", folder / "two")
    ),
    "clusterctl_export": Verb(
        "clusterctl", "move", lambda it, folder: it.clusterctl_export(folder / "one", folder / "export")
    ),
    "helm_upgrade": Verb("helm", "upgrade", lambda it, folder: it.helm_upgrade(CILIUM, "1.18.6", {}, folder / "one")),
    "helm_recover": Verb(
        "helm", "history", lambda it, folder: it.helm_recover("cilium", "kube-system", folder / "one")
    ),
}
LOOKS = {"search", "find"}
"""Verbs for which a program that does not tell its version is there all the same."""
STARTS_NONE = {f"{name}_{end}" for name in ("kind", "clusterctl", "helm") for end in ("is_running", "was_killed")}


@pytest.fixture
def folder(lab: ProgramsLab, tmp_path: Path) -> Path:
    for name in ("one", "two"):
        (tmp_path / name).write_bytes(lab.workload_kubeconfig().read_bytes())
    (tmp_path / "export").mkdir()
    return tmp_path


def test_no_verb_is_forgotten() -> None:
    public = {name for name, found in vars(Programs).items() if inspect.isfunction(found) and name[0] != "_"}
    assert public - STARTS_NONE - LOOKS == set(VERBS)


@pytest.mark.parametrize("name", VERBS)
@pytest.mark.parametrize(
    ("fault", "values"),
    [
        ("program-fails", {"stderr": "no space left on device", "status": 3}),
        ("program-fails", {"stderr": "", "status": 1}),
        ("program-killed", {}),
    ],
)
def test_a_program_that_fails_is_told_with_what_it_said(
    lab: ProgramsLab, folder: Path, name: str, fault: str, values: dict[str, object]
) -> None:
    verb = VERBS[name]
    lab.fault(fault, {"program": verb.program, "command": verb.command}, times=1, **values)
    with pytest.raises(ProgramError) as caught:
        lab.client(lambda: verb.call(lab.programs, folder))
    assert verb.program in caught.value.message
    assert str(values.get("stderr", "")) in caught.value.detail
    assert caught.value.hint
    assert caught.value.exit_code == 1


@pytest.mark.parametrize("name", [*VERBS, "find"])
def test_a_program_that_is_not_there_is_named(tmp_path: Path, name: str) -> None:
    programs = Programs(str(tmp_path), tmp_path / "home")
    with pytest.raises(SetupError, match="is not installed") as caught:
        VERBS[name].call(programs, tmp_path) if name in VERBS else programs.find("helm")
    assert caught.value.hint
