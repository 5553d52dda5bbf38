"""Backups: one file or one private folder each, whole or not there."""

from __future__ import annotations

import io
import shutil
import tarfile
from dataclasses import dataclass, field
from pathlib import Path

from tallship.engine import Seen, State, Step
from tallship.env import Env
from tallship.ops import exports
from tallship.ops.cluster import has_providers, is_paused
from tallship.ops.files import make_private_folder, put_private_bytes
from tallship.ops.kinds import CLUSTER

_TIME = "%Y%m%dT%H%M%SZ"
SUFFIX = "-capi"
ENCRYPTED = ".tar.age"


@dataclass(frozen=True)
class CapiSaved(Step[Env]):
    """Every Cluster API object of the cluster is saved, with its Secrets, from wherever Cluster API runs."""

    name = "backup-capi"
    title = "Save Cluster API's objects"
    made: list[Path] = field(default_factory=list)
    """The backup, once it is there."""

    def probe(self, env: Env) -> Seen:
        """Look whether the objects can be read whole now."""
        if self.made:
            return Seen(State.READY, str(self.made[0]))
        if env.programs.clusterctl_is_running():
            return Seen(State.WORKING, "clusterctl is at it")
        if not has_providers(env) or env.home.find(*CLUSTER, env.spec.name, "default") is None:
            return Seen(State.BLOCKED, "there is no Cluster yet: needs `apply` first")
        if is_paused(env) and not env.programs.clusterctl_was_killed():
            hint = "clusterctl would end the pause; `tallship status` shows more"
            return Seen(State.BROKEN, "somebody has paused the Cluster", hint=hint)
        return Seen(State.MISSING, change=f"save Cluster API's objects in {root(env)}")

    def act(self, env: Env, seen: Seen) -> None:
        """Let clusterctl write every object into a folder, pausing the Cluster meanwhile; encrypt it where wanted."""
        self.made.append(_save(env))


def root(env: Env) -> Path:
    """Return the folder of all backups."""
    return env.folder / "backups"


def is_encrypted(path: Path) -> bool:
    """True for a backup that only its recipients can read."""
    return path.name.endswith(ENCRYPTED)


def _save(env: Env) -> Path:
    from tallship.adapters import age

    readers = age.recipients(env.spec.backup.recipients)
    name = env.clock.today().strftime(_TIME) + SUFFIX
    exports.clear_unfinished(root(env))
    unfinished = make_private_folder(root(env) / f".{name}")
    if env.manages_itself:
        exports.write(env, unfinished, env.kubeconfig, None)
    else:
        exports.write(env, unfinished, env.management_kubeconfig, env.spec.management.context)
    whole = root(env) / (name + ENCRYPTED if readers else name)
    if readers:
        put_private_bytes(whole, age.encrypt(_packed(unfinished, name), readers))
        shutil.rmtree(unfinished)
    else:
        unfinished.rename(whole)
    exports.sync(whole.parent)
    return whole


def _packed(folder: Path, name: str) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        archive.add(folder, arcname=name)
    return packed.getvalue()
