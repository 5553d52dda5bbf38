"""Backups: one file or one private folder each, whole or not there."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tallship import __version__, atomic, versions
from tallship.engine import Seen, State, Step
from tallship.env import Env
from tallship.errors import StepFailed, TallshipError
from tallship.ops import backup_member, exports
from tallship.ops.backup_places import (
    CONTENTS,
    ENCRYPTED,
    MANIFEST,
    WHOLE,
    Stored,
    clear_unfinished,
    new_name,
    newest,
    root,
    stays_here,
)
from tallship.ops.cluster import has_providers, is_paused
from tallship.ops.files import make_private_folder, put_private, unwritable
from tallship.ops.kinds import CLUSTER

__all__ = ["BackupSaved", "CapiSaved", "Saved", "Stored", "newest", "root"]

CAPI, ETCD = "-capi", "-etcd"
FORMAT = 1
"""Of `manifest.json`."""
PROVIDERS = ("cluster-api", "caph", "cabpt", "cacppt")
HASH_CHUNK = 1 << 20


@dataclass(frozen=True)
class Saved:
    """A backup that was made."""

    name: str
    places: tuple[str, ...]
    path: Path | None
    """Where it is on this machine; None when it stands in the object storage alone."""
    encrypted: bool
    size_bytes: int
    notes: tuple[str, ...] = ()
    """What a person should know of it."""
    etcd: dict[str, Any] = field(default_factory=dict)
    """What its manifest says of etcd."""

    def as_data(self) -> dict[str, Any]:
        """Return it as the JSON envelope shows it."""
        found = dataclasses.asdict(self)
        return {**found, "path": str(self.path) if self.path else None}


@dataclass(frozen=True)
class CapiSaved(Step[Env]):
    """Every Cluster API object of the cluster is saved, with its Secrets, from wherever Cluster API runs."""

    name = "backup-capi"
    title = "Save Cluster API's objects"
    made: list[Saved] = field(default_factory=list)
    """The backup, once it is there."""

    def probe(self, env: Env) -> Seen:
        """Look whether the objects can be read whole now."""
        if self.made:
            return Seen(State.READY, self.made[0].name)
        return _objects(env) or Seen(State.MISSING, change=f"save Cluster API's objects in {_where(env)}")

    def act(self, env: Env, seen: Seen) -> None:
        """Let clusterctl write every object into a folder, pausing the Cluster meanwhile; encrypt it where wanted."""
        self.made.append(_save(env, CAPI, lambda folder: _export(env, folder)))


@dataclass(frozen=True)
class BackupSaved(Step[Env]):
    """Everything that a lost cluster is made from again is saved, and what came of etcd was read and checked."""

    name = "backup"
    title = "Save the cluster"
    timeout = 3600
    file: str = ""
    """The text of the cluster file."""
    only_etcd: bool = False
    """Leave out what Cluster API holds, for a cluster whose API does not answer."""
    made: list[Saved] = field(default_factory=list)
    """The backup, once it is there."""

    def probe(self, env: Env) -> Seen:
        """Look whether everything can be asked for now."""
        if self.made:
            return Seen(State.READY, self.made[0].name)
        if not env.talosconfig.exists():
            return Seen(State.BLOCKED, "needs `talosconfig` first")
        blocked = None if self.only_etcd else _objects(env)
        return blocked or Seen(State.MISSING, change=f"save {CONTENTS[self._kind]} in {_where(env)}")

    def act(self, env: Env, seen: Seen) -> None:
        """Write every part into a private folder; encrypt it, and store it away, where that is wanted."""
        notes: list[str] = []
        etcd: dict[str, Any] = {}

        def write(folder: Path) -> None:
            if not self.only_etcd:
                env.tell(self, "Cluster API's objects")
                _export(env, make_private_folder(folder / "capi"))
                put_private(folder / "secrets.yaml", _bundle(env))
            put_private(folder / "tallship.yaml", self.file)
            env.tell(self, "etcd")
            etcd.update(_snapshot(env, folder, notes))
            put_private(folder / MANIFEST, json.dumps(_manifest(env, folder, etcd, notes), indent=2) + "\n")

        saved = _save(env, self._kind, write)
        self.made.append(dataclasses.replace(saved, notes=tuple(notes), etcd=etcd))

    @property
    def _kind(self) -> str:
        return ETCD if self.only_etcd else WHOLE


def _where(env: Env) -> str:
    return str(root(env)) if env.storage is None else str(env.storage.place)


def _objects(env: Env) -> Seen | None:
    """Return why Cluster API's objects cannot be read whole now, or None."""
    if env.programs.clusterctl_is_running():
        return Seen(State.WORKING, "clusterctl is at it")
    if not has_providers(env) or env.home.find(*CLUSTER, env.spec.name, "default") is None:
        return Seen(State.BLOCKED, "there is no Cluster yet: needs `apply` first")
    if is_paused(env) and not env.programs.clusterctl_was_killed():
        hint = "clusterctl would end the pause; `tallship status` shows more"
        return Seen(State.BROKEN, "somebody has paused the Cluster", hint=hint)
    return None


def _export(env: Env, folder: Path) -> None:
    if env.manages_itself:
        exports.write(env, folder, env.kubeconfig, None)
    else:
        exports.write(env, folder, env.management_kubeconfig, env.spec.management.context)


def _bundle(env: Env) -> str:
    """Return the secrets that every machine of the cluster is made from. Raises StepFailed."""
    name = env.spec.names.talos_secret
    found = env.home.secret_value(name, "default", "bundle")
    if found is None:
        hint = "`tallship status` shows what is there"
        raise StepFailed(f"there is no Secret {name} with a key `bundle`: no machine can be made again", hint=hint)
    return found


def _snapshot(env: Env, folder: Path, notes: list[str]) -> dict[str, Any]:
    """Write etcd's snapshot, and return what a manifest says of it. Raises ApiError and StepFailed."""
    from tallship.adapters import talos_snapshot

    chosen = backup_member.member_to_ask(env)
    if chosen.note:
        notes.append(chosen.note)
    taken = talos_snapshot.snapshot(env.talos, chosen.address, folder / "etcd.snapshot")
    facts = talos_snapshot.facts(taken.file)
    return {"version": chosen.version, "from": chosen.address, **dataclasses.asdict(facts)}


def _manifest(env: Env, folder: Path, etcd: dict[str, Any], notes: list[str]) -> dict[str, Any]:
    files = sorted(each for each in folder.rglob("*") if each.is_file())
    return {
        "format": FORMAT,
        "cluster": env.spec.name,
        "made": env.clock.today().isoformat(),
        "versions": {
            "tallship": __version__,
            "talos": env.spec.talos.version,
            "kubernetes": env.spec.kubernetes.version,
            "cilium": env.spec.addons.cilium.version,
            "hcloud-ccm": env.spec.addons.hcloud_ccm.version,
            "talos-ccm": env.spec.addons.talos_ccm.version,
            **{name: versions.COMPONENTS[name].version for name in PROVIDERS},
        },
        "etcd": etcd,
        "notes": notes,
        "files": {str(each.relative_to(folder)): _checksum(each) for each in files},
    }


def _checksum(file: Path) -> dict[str, Any]:
    digest = hashlib.sha256()
    with file.open("rb") as content:
        while chunk := content.read(HASH_CHUNK):
            digest.update(chunk)
    return {"size": file.stat().st_size, "sha256": digest.hexdigest()}


def _save(env: Env, kind: str, write: Callable[[Path], None]) -> Saved:
    """Let a folder be written, make a backup of it that appears whole, and store it away."""
    from tallship.adapters import age

    readers = age.recipients(env.spec.backup.recipients)
    name = new_name(env, kind)
    clear_unfinished(make_private_folder(root(env)))
    unfinished, packed = root(env) / f".{name}", root(env) / f".{name}{ENCRYPTED}"
    whole = root(env) / (name + ENCRYPTED if readers else name)
    try:
        write(make_private_folder(unfinished))
        for each in unfinished.rglob("*"):
            atomic.sync(each)
        if readers:
            age.encrypt_folder(unfinished, name, packed, readers)
            shutil.rmtree(unfinished)
        (packed if readers else unfinished).rename(whole)
    except OSError as error:
        raise unwritable(whole, error) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
        packed.unlink(missing_ok=True)
    atomic.sync(whole.parent)
    return _stored_away(env, whole, bool(readers))


def _stored_away(env: Env, whole: Path, encrypted: bool) -> Saved:
    """Copy a whole backup to the object storage, where there is one. When that fails it stays in the folder."""
    size = sum(each.stat().st_size for each in (whole, *whole.rglob("*")) if each.is_file())
    places = [str(whole)]
    if env.storage is not None:
        try:
            env.storage.put(whole.name, whole)
        except TallshipError as error:
            # Passing or not: what failed is the copy, and to begin again would make another backup.
            hint = f"the backup is whole, and stays at {whole}. {error.hint}".rstrip(" .")
            raise StepFailed(error.message, detail=error.detail, hint=hint) from error
        places.append(f"{env.storage.place}/{whole.name}")
    if not stays_here(env):
        whole.unlink()
        places.remove(str(whole))
    return Saved(whole.name, tuple(places), whole if whole.exists() else None, encrypted, size)
