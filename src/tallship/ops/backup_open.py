"""A backup is opened: found, fetched, decrypted and held against its own manifest, in a folder that is thrown away."""

from __future__ import annotations

import hashlib
import json
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tallship.env import Env
from tallship.errors import SetupError
from tallship.ops.backup_places import CONTENTS, ENCRYPTED, MANIFEST, WHOLE, list_all, root
from tallship.ops.files import make_private_folder

FORMAT = 1
"""The `manifest.json` that this release reads."""
CHUNK = 1 << 20
LIST = "`tallship backup list` shows every backup"


@dataclass(frozen=True)
class Opened:
    """A backup in clear, every file of which is what its manifest says."""

    name: str
    folder: Path
    manifest: dict[str, Any]

    @property
    def snapshot(self) -> Path:
        """etcd's snapshot."""
        return self.folder / "etcd.snapshot"

    @property
    def secrets(self) -> Path:
        """What every machine of the cluster is made from; not there in a backup of etcd alone."""
        return self.folder / "secrets.yaml"


@contextmanager
def opened(env: Env, which: str, identity: Path | None) -> Iterator[Opened]:
    """Give a backup by its name or its path, or the newest one of everything; it is in clear only meanwhile.

    `identity` holds the private key of one of its recipients. Raises SetupError, ApiError.
    """
    place = env.folder / "opened"
    shutil.rmtree(place, ignore_errors=True)  # a run that was killed may have left one
    make_private_folder(place)
    try:
        yield _open(env, which, identity, place)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _open(env: Env, which: str, identity: Path | None, place: Path) -> Opened:
    source = _find(env, which, place)
    if source.is_file():
        source = _unpacked(source, identity, place)
    manifest = verify(source)
    if manifest.get("cluster") != env.spec.name:
        hint = "another cluster's restore begins with its own cluster file"
        raise SetupError(f"this is a backup of cluster `{manifest.get('cluster')}`, not `{env.spec.name}`", hint=hint)
    return Opened(source.name, source, manifest)


def _find(env: Env, which: str, place: Path) -> Path:
    """Return where a backup lies on this machine, fetching it when it does not."""
    path = Path(which).expanduser()
    if which and path.exists():
        return path
    found = list_all(env)
    wanted = [each for each in found if (each.name == which if which else each.contents == CONTENTS[WHOLE])]
    if not wanted:
        raise SetupError(f"there is no backup `{which}`" if which else "there is no backup of everything", hint=LIST)
    local = next((each for each in wanted if each.name == wanted[0].name and not each.is_remote), None)
    if local is not None:
        return root(env) / local.name
    if env.storage is None:
        raise SetupError(f"the backup `{wanted[0].name}` is in no place that the cluster file names", hint=LIST)
    target = place / wanted[0].name
    env.storage.get(wanted[0].name, target)
    return target


def _unpacked(archive: Path, identity: Path | None, place: Path) -> Path:
    """Decrypt an archive and unpack it. Raises SetupError."""
    from tallship.adapters import age

    if not archive.name.endswith(ENCRYPTED):
        raise SetupError(f"`{archive}` is no backup", hint=LIST)
    if identity is None:
        hint = "`--identity FILE` names the private key of one of its recipients: age's or SSH's"
        raise SetupError(f"the backup `{archive.name}` is encrypted", hint=hint)
    packed, name = place / "packed.tar", archive.name.removesuffix(ENCRYPTED)
    age.decrypt_file(archive, packed, identity)
    try:
        with tarfile.open(packed) as file:
            file.extractall(place, filter="data")  # nothing outside of the place, no links out of it, no devices
    except (tarfile.TarError, OSError) as error:
        raise SetupError(f"the backup `{archive.name}` cannot be unpacked", detail=str(error), hint=LIST) from error
    finally:
        packed.unlink(missing_ok=True)
    return place / name


def verify(folder: Path) -> dict[str, Any]:
    """Return the manifest of a backup in clear, each of whose files is as large and the same as it says.

    Raises SetupError that names the first one that is not.
    """
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        files = {str(name): (int(each["size"]), str(each["sha256"])) for name, each in manifest["files"].items()}
    except OSError as error:
        hint = f"a backup of Cluster API's objects alone has none. {LIST}"
        raise SetupError(f"`{folder}` has no {MANIFEST} that can be read", detail=str(error), hint=hint) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SetupError(f"`{folder / MANIFEST}` is damaged", detail=repr(error)[:200], hint=LIST) from error
    if manifest.get("format") != FORMAT:
        told = f"the backup is of format {manifest.get('format')}, and this release reads {FORMAT}"
        raise SetupError(told, hint="the release that made it reads it")
    for name, (size, digest) in files.items():
        path = folder / name
        if not path.resolve().is_relative_to(folder.resolve()) or not path.is_file():
            raise SetupError(f"the backup lacks `{name}`, which its manifest names", hint=LIST)
        if path.stat().st_size != size or _digest(path) != digest:
            raise SetupError(f"`{name}` in the backup is not what was saved", hint="another backup may be whole")
    return manifest


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
