"""Backups in a real S3 server (versitygw), which checks every signature."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tallship.adapters.object_storage import PART_BYTES, ObjectStorage, Place
from tallship.adapters.storage_credentials import Credentials
from tallship.env import Env, Site, SystemClock
from tallship.errors import ApiError, SetupError, StepFailed, TallshipError, Unreachable
from tallship.localplane import certificates
from tallship.ops import backup, backup_places
from tallship.spec import parse_spec
from tallship.spec.backups import Keep

START_SECONDS = 20
MINE = Credentials("AKTEST", "a secret of forty characters, or nearly so")
KEY = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"


@dataclass(frozen=True)
class Server:
    """A server that runs; its buckets are folders."""

    endpoint: str
    folder: Path
    process: subprocess.Popen[bytes]

    def place(self, bucket: str = "backups") -> Place:
        return Place(self.endpoint, bucket, "clusters/k8s", "fsn1")

    def storage(self, credentials: Credentials = MINE) -> ObjectStorage:
        return ObjectStorage(self.place(), credentials)


def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as probe:
        return int(probe.getsockname()[1])


@contextmanager
def serving(programs: Path, folder: Path, *options: str) -> Iterator[Server]:
    """Run a server with one bucket."""
    (folder / "data/backups").mkdir(parents=True)
    port = free_port()
    command = [programs / "versitygw", "--quiet", "--port", f"127.0.0.1:{port}", "--region", "fsn1", *options]
    environment = {**os.environ, "ROOT_ACCESS_KEY": MINE.key, "ROOT_SECRET_KEY": MINE.secret}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "posix", folder / "data"], env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        wait_for(port, process)
        scheme = "https" if options else "http"
        yield Server(f"{scheme}://127.0.0.1:{port}", folder / "data", process)
    finally:
        process.kill()
        process.wait(10)


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("the server does not serve")


@pytest.fixture(scope="module")
def server(programs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(programs, tmp_path_factory.mktemp("s3")) as made:
        yield made


@pytest.fixture
def storage(server: Server) -> Iterator[ObjectStorage]:
    made = server.storage()
    yield made
    made.delete(each.name for each in made.list())


def test_what_is_stored_is_listed_fetched_and_deleted(storage: ObjectStorage, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.write_bytes(b"a backup")
    storage.put("one", small)
    storage.put("two", small)
    found = storage.list()
    assert {(each.name, each.size_bytes) for each in found} == {("one", 8), ("two", 8)}
    assert all(abs((datetime.now(UTC) - each.modified).total_seconds()) < 60 for each in found)
    storage.get("one", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == b"a backup"
    assert (tmp_path / "back").stat().st_mode & 0o777 == 0o600
    storage.delete(["one", "never there"])
    assert [each.name for each in storage.list()] == ["two"]


def test_a_large_file_goes_in_parts_and_comes_back_the_same(storage: ObjectStorage, tmp_path: Path) -> None:
    large = tmp_path / "large"
    large.write_bytes(os.urandom(1 << 20) * (3 * PART_BYTES // (1 << 20)) + b"end")
    storage.put("large", large)
    storage.get("large", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == large.read_bytes()


def test_other_clusters_objects_are_not_seen(storage: ObjectStorage, server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    for prefix in ("clusters/k8s-other", "clusters", "clusters/k8s/below"):
        other = ObjectStorage(replace(server.place(), prefix=prefix), MINE)
        other.put("theirs", tmp_path / "file")
    assert storage.list() == []


def test_a_fetch_of_nothing_is_an_error_and_leaves_nothing(storage: ObjectStorage, tmp_path: Path) -> None:
    with pytest.raises(ApiError, match="NoSuchKey"):
        storage.get("none", tmp_path / "back")
    assert not (tmp_path / "back").exists()


@pytest.mark.parametrize(
    ("credentials", "word"),
    [
        (Credentials(MINE.key, "another secret altogether"), "SignatureDoesNotMatch"),
        (Credentials("NOBODY", MINE.secret), "XAdminUserNotFound"),
    ],
)
def test_wrong_credentials_are_told_and_not_repeated(
    server: Server, tmp_path: Path, credentials: Credentials, word: str
) -> None:
    (tmp_path / "file").write_bytes(b"x")
    storage = server.storage(credentials)
    for verb in (storage.list, lambda: storage.put("a", tmp_path / "file"), lambda: storage.delete(["a"])):
        with pytest.raises(SetupError, match=word) as told:
            verb()
        text = f"{told.value.message} {told.value.detail} {told.value.hint}"
        assert credentials.secret not in text
        assert credentials.key not in text
        assert "credentials" in told.value.hint


def test_a_missing_bucket_and_a_wrong_region_are_told(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    missing = ObjectStorage(server.place("nowhere"), MINE)
    for verb in (missing.list, lambda: missing.put("a", tmp_path / "file")):
        with pytest.raises(SetupError, match="NoSuchBucket") as told:
            verb()
        assert "backup.s3.bucket" in told.value.hint
    with pytest.raises(SetupError) as told:
        ObjectStorage(replace(server.place(), region="nbg1"), MINE).list()
    assert "backup.s3.region" in told.value.hint


def test_a_server_that_is_gone_is_unreachable(programs: Path, tmp_path: Path) -> None:
    with serving(programs, tmp_path) as short_lived:
        storage = short_lived.storage()
        assert storage.list() == []
    with pytest.raises(Unreachable) as told:
        storage.list()
    assert "refused" in told.value.detail.lower()


def test_a_certificate_of_nobody_we_trust_is_refused(programs: Path, tmp_path: Path) -> None:
    pair = certificates.pair(certificates.authority("nobody"), "storage", hosts=("127.0.0.1",))
    pair.write(tmp_path / "cert", tmp_path / "key")
    options = ("--cert", str(tmp_path / "cert"), "--key", str(tmp_path / "key"))
    with serving(programs, tmp_path, *options) as strange:
        with pytest.raises(Unreachable) as told:
            strange.storage().list()
        assert "certificate" in told.value.detail


@pytest.fixture
def env(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Env:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", MINE.key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", MINE.secret)
    spec = parse_spec(
        f"name: k8s\nbackup: {{recipients: [{KEY}], s3: {{endpoint: '{server.endpoint}', bucket: backups, "
        "region: fsn1, prefix: clusters/k8s}}\n"
    ).spec
    assert spec is not None
    return Env(spec, Site("token"), tmp_path, SystemClock())


def save(env: Env, content: str = "inside") -> backup.Saved:
    return backup._save(env, backup.ETCD, lambda folder: (folder / "tallship.yaml").write_text(content))


def test_a_backup_goes_to_the_storage_and_not_into_the_folder(env: Env, storage: ObjectStorage) -> None:
    saved = save(env)
    assert saved.path is None
    assert list(backup_places.root(env).iterdir()) == []
    (found,) = backup_places.list_all(env)
    assert (found.name, found.size_bytes, found.is_remote, found.encrypted) == (
        *(saved.name, saved.size_bytes),
        *(True, True),
    )
    assert saved.places == (found.place,)


def test_the_newest_is_told_by_one_call(env: Env, storage: ObjectStorage, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    for day in range(1, 5):
        storage.put(f"2026110{day}T120000Z.tar.age", tmp_path / "file")
    newest = backup_places.newest(env)
    assert newest is not None
    assert newest.name == "20261104T120000Z.tar.age"
    assert env.storage is not None
    assert dict(env.storage.calls) == {"list": 1}


def test_prune_deletes_in_the_storage(env: Env, storage: ObjectStorage, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    for day in range(1, 5):
        storage.put(f"2026110{day}T120000Z.tar.age", tmp_path / "file")
    found = backup_places.verdicts(backup_places.list_all(env), Keep(last=1, daily=2, weekly=0))
    backup_places.delete(env, [each.backup for each in found if each.delete])
    assert sorted(each.name[:8] for each in storage.list()) == ["20261103", "20261104"]


def test_a_backup_whose_copy_fails_stays_in_the_folder(env: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another secret altogether")
    with pytest.raises(StepFailed) as told:
        save(env)
    (kept,) = backup_places.root(env).iterdir()
    assert str(kept) in told.value.hint


def test_without_credentials_nothing_is_begun(env: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with pytest.raises(TallshipError, match="no credentials"):
        backup_places.list_all(env)
