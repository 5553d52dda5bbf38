"""Where backups stand: a folder, an object storage, or both; what is there, and what of it stays."""

from __future__ import annotations

import json
import re
import shutil
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from tallship.env import Env
from tallship.errors import TallshipError
from tallship.manifests import retention
from tallship.ops.files import TIME, free_time
from tallship.spec.backups import Keep

ENCRYPTED = ".tar.age"
MANIFEST = "manifest.json"
WHOLE = ""
"""What the name of a backup of everything ends in, before `ENCRYPTED`."""
CONTENTS = {WHOLE: "everything", "-capi": "Cluster API's objects", "-etcd": "etcd"}
"""What a backup holds, by what its name ends in."""
AHEAD_SECONDS = 300.0
"""How far the clock may be ahead of this one that a backup was made by."""
NAME = re.compile(r"(\d{8}T\d{6}Z)(-capi|-etcd|)(\.tar\.age)?")


@dataclass(frozen=True)
class Stored:
    """A backup, as its name and its place tell; nothing in it was opened but a manifest in clear."""

    name: str
    where: str
    """The folder, or the address of the object storage."""
    is_remote: bool
    made: datetime
    age_seconds: float
    size_bytes: int
    contents: str
    encrypted: bool
    revision: int | None
    """etcd's; None where only who holds a key can know, and where etcd is not in it."""

    @property
    def is_from_the_future(self) -> bool:
        """True when it was made by a clock that was wrong, or this one is: nobody knows how old it is."""
        return self.age_seconds < -AHEAD_SECONDS

    @property
    def place(self) -> str:
        """Where it is, as a person would name it."""
        return f"{self.where}/{self.name}"

    def as_data(self) -> dict[str, Any]:
        """Return it as the JSON envelope shows it."""
        return {**asdict(self), "made": self.made.isoformat()}


@dataclass(frozen=True)
class Verdict:
    """What becomes of a backup, and why."""

    what: str
    delete: bool
    why: str
    backup: Stored

    def as_data(self) -> dict[str, Any]:
        """Return it as the JSON envelope shows it."""
        return {"what": self.what, "delete": self.delete, "why": self.why}


def root(env: Env) -> Path:
    """Return the folder of this cluster's backups. A lab's never stand among real ones."""
    folder = env.spec.backup.folder
    if folder is None or env.site.is_lab:
        return env.folder / "backups"
    return env.base / Path(folder).expanduser() / env.spec.name


def stays_here(env: Env) -> bool:
    """True when a backup stays in the folder: there is no object storage, or the file names a folder beside it."""
    return env.storage is None or (env.spec.backup.folder is not None and not env.site.is_lab)


def list_all(env: Env) -> list[Stored]:
    """Return every whole backup of both places, newest first; with an object storage one call. Raises ApiError.

    Those that seem to come from the future are the last: a clock that was ahead for a while hides no newer ones.
    """
    found = [*_in_folder(env), *_in_storage(env)]
    return sorted(found, key=lambda each: (not each.is_from_the_future, each.made, each.name, each.where), reverse=True)


def new_name(env: Env, kind: str) -> str:
    """Return a name that no backup has."""
    taken = _names(env)
    return free_time(env.clock.today(), lambda name: f"{name}{kind}" in taken) + kind


def _names(env: Env) -> set[str]:
    names = [each.name for each in root(env).iterdir()] if root(env).is_dir() else []
    if env.storage is not None:
        with suppress(TallshipError):  # who cannot list there may write: then it is the time that tells them apart
            names += [each.name for each in env.storage.list()]
    return {each.removesuffix(ENCRYPTED) for each in names}


def newest(env: Env) -> Stored | None:
    """Return the newest whole backup, without opening it; None where there is none. Raises ApiError."""
    return next(iter(list_all(env)), None)


def verdicts(backups: Iterable[Stored], keep: Keep) -> list[Verdict]:
    """Return what becomes of each backup. Places and contents are counted apart, and the newest of each stays.

    Those that seem to come from the future stay, and take nobody's place.
    """
    found = list(backups)
    times: dict[tuple[str, str], list[datetime]] = defaultdict(list)
    for each in found:
        if not each.is_from_the_future:
            times[each.where, each.contents].append(each.made)
    why = {group: retention.reasons(made, keep.last, keep.daily, keep.weekly) for group, made in times.items()}
    return [_verdict(each, why.get((each.where, each.contents), {}).get(each.made, ())) for each in found]


def delete(env: Env, backups: Sequence[Stored]) -> None:
    """Delete backups. Raises ApiError; what was deleted before stays so."""
    for each in backups:
        path = root(env) / each.name
        if each.is_remote:
            if env.storage is not None:
                env.storage.delete([each.name])
        elif path.is_dir():
            # A folder that lost a part must not look whole when this is killed in the middle.
            shutil.rmtree(path.rename(path.with_name(f".{each.name}")))
        else:
            path.unlink(missing_ok=True)


def clear_unfinished(folder: Path) -> None:
    """Delete what a killed run left behind: half of everything, perhaps in clear."""
    for each in folder.iterdir():
        if each.name.startswith(".") and NAME.fullmatch(each.name[1:]):
            shutil.rmtree(each) if each.is_dir() else each.unlink()


def _verdict(backup: Stored, reasons: Sequence[str]) -> Verdict:
    if backup.is_from_the_future:
        return Verdict(backup.place, False, "its time is still to come: which clock was wrong?", backup)
    why = f"kept as {', '.join(reasons)}" if reasons else "no rule keeps it"
    return Verdict(backup.place, not reasons, why, backup)


def _in_folder(env: Env) -> list[Stored]:
    folder = root(env)
    if not folder.is_dir():
        return []
    found = [each for each in folder.iterdir() if _is_backup(each.name)]
    return [_stored(env, each.name, str(folder), False, _size(each), _revision(each)) for each in found]


def _in_storage(env: Env) -> list[Stored]:
    storage = env.storage
    if storage is None:
        return []
    objects = [each for each in storage.list() if _is_backup(each.name)]
    return [_stored(env, each.name, str(storage.place), True, each.size_bytes, None) for each in objects]


def _is_backup(name: str) -> bool:
    found = NAME.fullmatch(name)
    try:
        return found is not None and bool(datetime.strptime(found[1], TIME))
    except ValueError:
        return False


def _stored(env: Env, name: str, where: str, is_remote: bool, size_bytes: int, revision: int | None) -> Stored:
    time, contents, encrypted = NAME.findall(name)[0]
    made = datetime.strptime(f"{time}+0000", f"{TIME}%z")
    age = (env.clock.today() - made).total_seconds()
    return Stored(name, where, is_remote, made, age, size_bytes, CONTENTS[contents], bool(encrypted), revision)


def _size(path: Path) -> int:
    files = [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]
    return sum(each.stat().st_size for each in files)


def _revision(path: Path) -> int | None:
    try:
        found = json.loads((path / MANIFEST).read_text(encoding="utf-8"))["etcd"]["revision"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if isinstance(found, int) else None
