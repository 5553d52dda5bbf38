"""A backup is opened only whole, by who may read it, and is in clear only meanwhile."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pyrage
import pytest
from ship import Ship
from test_backup import encrypt_to, save_all

from tallship.errors import SetupError
from tallship.manifests import bundle
from tallship.ops.backup_open import opened, verify


def open_it(ship: Ship, which: str = "", identity: Path | None = None) -> tuple[str, dict[str, str]]:
    """Open a backup; return its name, and its authorities' fingerprints."""
    with closing(ship.env()) as env:
        with opened(env, which, identity) as found:
            assert found.folder.is_dir()
            assert found.snapshot.is_file()
            text = found.secrets.read_text()
        assert not (env.folder / "opened").exists()
        return found.name, bundle.fingerprints(bundle.read(text))


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """A private key of age, in a file as age-keygen writes it."""
    identity = pyrage.x25519.Identity.generate()
    path = tmp_path / "key.txt"
    path.write_text(f"# created: today\n# public key: {identity.to_public()}\n{identity}\n")
    return path


def recipient(key: Path) -> str:
    return key.read_text().splitlines()[1].removeprefix("# public key: ")


def test_the_newest_one_is_opened_and_holds_the_clusters_own_authorities(done: Ship) -> None:
    path, _ = save_all(done)
    name, found = open_it(done)
    assert name == path.name
    with closing(done.env()) as env:
        text = done.world.run(lambda: env.home.secret_value(env.spec.names.talos_secret, "default", "bundle"))
    assert found == bundle.fingerprints(bundle.read(text or ""))
    assert open_it(done, path.name) == open_it(done, str(path)) == (name, found)


def test_an_encrypted_one_opens_for_its_recipient_alone(done: Ship, key: Path, tmp_path: Path) -> None:
    encrypt_to(done, recipient(key))
    path, _ = save_all(done)
    assert path.is_file()
    assert open_it(done, "", key)[0] == path.name.removesuffix(".tar.age")
    with pytest.raises(SetupError, match="is encrypted") as caught:
        open_it(done)
    assert "--identity" in caught.value.hint
    other = tmp_path / "other.txt"
    other.write_text(str(pyrage.x25519.Identity.generate()))
    with pytest.raises(SetupError, match="cannot be decrypted"):
        open_it(done, "", other)
    other.write_text("nothing\n")
    with pytest.raises(SetupError, match="holds no private key"):
        open_it(done, "", other)


def spoil_a_byte(folder: Path) -> None:
    file = folder / "etcd.snapshot"
    content = bytearray(file.read_bytes())
    content[9000] ^= 1
    file.write_bytes(content)


def forget_a_file(folder: Path) -> None:
    (folder / "secrets.yaml").unlink()


def name_a_file_outside(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["../../kubeconfig"] = {"size": 1, "sha256": "0" * 64}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def break_the_manifest(folder: Path) -> None:
    (folder / "manifest.json").write_text('{"format": 1, "files": []}')


def be_of_another_format(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "format": 2}))


def be_of_another_cluster(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "cluster": "other"}))


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (spoil_a_byte, "`etcd.snapshot` in the backup is not what was saved"),
        (forget_a_file, "lacks `secrets.yaml`"),
        (name_a_file_outside, "lacks `../../kubeconfig`"),
        (break_the_manifest, "is damaged"),
        (be_of_another_format, "of format 2"),
        (be_of_another_cluster, "a backup of cluster `other`"),
    ],
)
def test_one_that_is_not_what_was_saved_is_refused(done: Ship, spoil: Callable[[Path], None], says: str) -> None:
    path, _ = save_all(done)
    verify(path)
    spoil(path)
    with pytest.raises(SetupError, match=says.replace(".", r"\.")) as caught:
        open_it(done)
    assert caught.value.hint


def test_an_archive_reaches_no_file_outside(done: Ship, key: Path, tmp_path: Path) -> None:
    encrypt_to(done, recipient(key))
    evil = tmp_path / "evil.tar"
    with tarfile.open(evil, "w") as archive:
        entry = tarfile.TarInfo("../escaped")
        archive.addfile(entry)
    target = tmp_path / "20260101T000000Z.tar.age"
    public = pyrage.x25519.Recipient.from_str(recipient(key))
    pyrage.encrypt_file(str(evil), str(target), [public])
    with pytest.raises(SetupError, match="cannot be unpacked"):
        open_it(done, str(target), key)
    assert not list(done.folder.rglob("escaped"))


def test_without_a_backup_that_is_said(done: Ship) -> None:
    with pytest.raises(SetupError, match="there is no backup of everything") as caught:
        open_it(done)
    assert "backup list" in caught.value.hint
    with pytest.raises(SetupError, match="there is no backup `yesterday`"):
        open_it(done, "yesterday")
