"""Exports of the Cluster API objects: one private folder each, whole or not there."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from tallship import atomic
from tallship.env import Env
from tallship.errors import ProgramError
from tallship.manifests import pivot
from tallship.ops.files import TIME, free_time, make_private_folder

Document = dict[str, Any]

FRESH_SECONDS = 3600.0
"""How old an export may be that a move relies on."""


@dataclass(frozen=True)
class Export:
    """One folder with a document for each object, as `clusterctl move --to-directory` writes them."""

    folder: Path
    made: datetime
    objects: tuple[Document, ...]

    def age(self, today: datetime) -> float:
        """Return its age in seconds."""
        return (today - self.made).total_seconds()


def root(env: Env) -> Path:
    """Return the folder of all exports."""
    return env.folder / "exports"


def make(env: Env) -> Path:
    """Export everything and return the folder, which appears only when it is whole. Raises ProgramError.

    Every file in it is private; it holds the token and every key of the cluster in clear.
    """
    clear_unfinished(root(env))
    name = free_time(env.clock.today(), lambda name: (root(env) / name).exists())
    unfinished = make_private_folder(root(env) / f".{name}")
    write(env, unfinished, env.management_kubeconfig, env.spec.management.context)
    whole = root(env) / name
    unfinished.rename(whole)
    atomic.sync(whole.parent)
    return whole


def clear_unfinished(folder: Path) -> None:
    """Delete what a killed run left behind: half of everything, in clear."""
    for left_behind in make_private_folder(folder).glob(".*"):
        shutil.rmtree(left_behind)


def write(env: Env, folder: Path, kubeconfig: Path, context: str | None) -> None:
    """Write every Cluster API object of an API into an empty private folder. Raises ProgramError."""
    env.programs.clusterctl_export(kubeconfig, folder, context)
    if not any(each["kind"] == "Cluster" for each in _documents(folder)):
        raise ProgramError(
            "`clusterctl move --to-directory` wrote no Cluster", hint="`tallship status` shows where it is"
        )
    for file in folder.iterdir():
        file.chmod(0o600)
        atomic.sync(file)


def newest(env: Env, cluster_uid: str = "") -> Export | None:
    """Return the newest whole export, of the Cluster with this uid where one is given; None where there is none."""
    if not root(env).is_dir():
        return None
    # A clock that was ahead for a while hides no newer ones.
    ahead = (env.clock.today() + timedelta(seconds=FRESH_SECONDS)).strftime(TIME)
    folders = [each for each in root(env).iterdir() if not each.name.startswith(".")]
    for folder in sorted(folders, key=lambda each: (each.name <= ahead, each.name), reverse=True):
        objects = tuple(_documents(folder))
        uids = [each["metadata"]["uid"] for each in objects if each["kind"] == "Cluster"]
        made = _made(folder)
        if made is not None and uids and cluster_uid in ("", *uids):
            return Export(folder, made, objects)
    return None


def _made(folder: Path) -> datetime | None:
    """Return when an export was made, as its name tells; None for a folder that is none."""
    try:
        return datetime.strptime(f"{folder.name}+0000", f"{TIME}%z")
    except ValueError:
        return None


def missing(env: Env, there: Iterable[Document], kinds: Iterable[str]) -> list[str]:
    """Return the objects of these kinds in the newest export that are not there."""
    export, wanted = newest(env), set(kinds)
    saved = [each for each in export.objects if each["kind"] in wanted] if export else []
    return sorted(set(pivot.names(saved)) - set(pivot.names(there)))


def _documents(folder: Path) -> list[Document]:
    return [json.loads(file.read_text(encoding="utf-8")) for file in sorted(folder.glob("*.yaml"))]
