"""The parts of a backup: which member is asked, the archive, its encryption, the credentials of its storage."""

from __future__ import annotations

import hashlib
import io
import subprocess
import tarfile
import tracemalloc
from pathlib import Path
from typing import Any

import pyrage
import pytest

from tallship.adapters import age, storage_credentials, talos_snapshot
from tallship.adapters.archive import CHUNK, Packed
from tallship.adapters.storage_credentials import Credentials
from tallship.adapters.talos import EtcdStatus, Service
from tallship.errors import ApiError, SetupError, StepFailed, Unreachable
from tallship.ops.backup_member import choose
from tallship.talosproto import common_pb2

HEALTHY = [Service("etcd", "Running", True, "")]
SICK = [Service("etcd", "Running", False, "context deadline exceeded")]


def status(member: int, *, leader: int = 1, index: int = 100, learner: bool = False) -> EtcdStatus:
    return EtcdStatus(member, "3.6.7", leader, learner, 2, index, index, 0, 0, ())


def test_a_healthy_follower_is_asked_before_the_leader() -> None:
    statuses = {"a": status(1, index=120), "b": status(2), "c": status(3, index=110)}
    chosen = choose(statuses, dict.fromkeys(statuses, HEALTHY))
    assert (chosen.address, chosen.version, chosen.note) == ("c", "3.6.7", "")


def test_the_leader_is_asked_when_it_alone_is_healthy() -> None:
    statuses = {"a": status(1), "b": status(2, index=200), "c": Unreachable("no answer")}
    chosen = choose(statuses, {"a": HEALTHY, "b": SICK, "c": Unreachable("no answer")})
    assert (chosen.address, chosen.note) == ("a", "")


def test_without_a_quorum_the_one_that_is_farthest_on_is_asked() -> None:
    statuses = {"a": status(1, leader=0), "b": status(2, leader=0, index=140)}
    chosen = choose(statuses, {"a": SICK, "b": SICK})
    assert chosen.address == "b"
    assert "no quorum" in chosen.note


def test_a_sick_member_is_asked_when_there_is_no_other_and_it_is_said() -> None:
    assert "context deadline exceeded" in choose({"a": status(1)}, {"a": SICK}).note
    assert "no etcd" in choose({"a": status(1)}, {"a": []}).note


def test_nobody_is_asked_who_has_nothing_to_tell() -> None:
    with pytest.raises(Unreachable) as told:
        choose({"a": Unreachable("no answer"), "b": status(2, learner=True)}, {})
    assert "no answer" in told.value.detail
    assert "learns" in told.value.detail
    with pytest.raises(Unreachable):
        choose({}, {})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "in"
    (made / "capi").mkdir(parents=True)
    (made / "large").write_bytes(bytes(range(256)) * (CHUNK // 100))
    (made / "empty").touch()
    (made / "capi" / ("long" * 40)).write_text("long names need a header of their own")
    return made


def contents(folder: Path) -> dict[str, bytes]:
    return {str(each.relative_to(folder)): each.read_bytes() for each in folder.rglob("*") if each.is_file()}


@pytest.mark.parametrize("size", [8192, CHUNK + 1, -1])
def test_an_archive_is_the_same_however_it_is_read(folder: Path, size: int) -> None:
    packed, read = Packed(folder, "T"), bytearray()
    while chunk := packed.read(size):
        read += chunk
    with tarfile.open(fileobj=io.BytesIO(read)) as archive:
        found = {each.name: archive.extractfile(each) for each in archive if each.isfile()}
    inside = {name.removeprefix("T/"): file.read() for name, file in found.items() if file is not None}
    assert inside == contents(folder)


def test_tar_reads_it_too(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "out.tar").write_bytes(Packed(folder, "T").read())
    subprocess.run(["tar", "-xf", "out.tar"], cwd=tmp_path, check=True)
    assert contents(tmp_path / "T") == contents(folder)


def test_an_encrypted_folder_opens_with_its_key_alone(folder: Path, tmp_path: Path) -> None:
    mine = pyrage.x25519.Identity.generate()
    target = tmp_path / "out.age"
    age.encrypt_folder(folder, "T", target, age.recipients([str(mine.to_public())]))
    assert target.stat().st_mode & 0o777 == 0o600
    assert pyrage.decrypt(target.read_bytes(), [mine]) == Packed(folder, "T").read()
    with pytest.raises(pyrage.DecryptError):
        pyrage.decrypt(target.read_bytes(), [pyrage.x25519.Identity.generate()])


def test_a_large_snapshot_is_never_in_memory_whole(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with (tmp_path / "in/etcd.snapshot").open("wb") as file:
        file.truncate(64 * CHUNK)
    readers = age.recipients([str(pyrage.x25519.Identity.generate().to_public())])
    tracemalloc.start()
    try:
        age.encrypt_folder(tmp_path / "in", "T", tmp_path / "out.age", readers)
        assert tracemalloc.get_traced_memory()[1] < 8 * CHUNK
    finally:
        tracemalloc.stop()
    assert (tmp_path / "out.age").stat().st_size > 64 * CHUNK


def test_a_disk_that_cannot_be_written_is_told_and_nothing_is_left(folder: Path, tmp_path: Path) -> None:
    readers = age.recipients([str(pyrage.x25519.Identity.generate().to_public())])
    with pytest.raises(SetupError, match="cannot be written"):
        age.encrypt_folder(folder, "T", tmp_path / "none" / "out.age", readers)
    (folder / "gone").symlink_to("nowhere")
    with pytest.raises(SetupError, match="No such file"):
        age.encrypt_folder(folder, "T", tmp_path / "out.age", readers)
    assert not (tmp_path / "out.age").exists()


class Node:
    """Streams what it is given."""

    def __init__(self, *messages: Any) -> None:
        self.messages = messages

    def follow(self, node: str, name: str, stub: Any, request: Any, take: Any, timeout: float) -> None:
        for each in self.messages:
            take(each)


def chunks(content: bytes, size: int) -> list[Any]:
    return [common_pb2.Data(bytes=content[at : at + size]) for at in range(0, len(content), size)]


DATABASE = bytes(range(256)) * 40
WHOLE = DATABASE + hashlib.sha256(DATABASE).digest()


@pytest.mark.parametrize("size", [1, 31, 33, 4096, 100_000])
def test_a_snapshot_is_whole_in_whatever_pieces_it_comes(tmp_path: Path, size: int) -> None:
    node: Any = Node(common_pb2.Data(), *chunks(WHOLE, size), common_pb2.Data())
    taken = talos_snapshot.snapshot(node, "a", tmp_path / "s")
    assert taken.file.read_bytes() == WHOLE
    assert (taken.size_bytes, taken.sha256) == (len(WHOLE), hashlib.sha256(WHOLE).hexdigest())
    assert taken.file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "content", [b"", WHOLE[:-1], WHOLE[:-512], DATABASE, WHOLE[32:], bytes([WHOLE[0] ^ 1]) + WHOLE[1:], b"x" * 32]
)
def test_a_snapshot_that_is_not_whole_leaves_no_file(tmp_path: Path, content: bytes) -> None:
    node: Any = Node(*chunks(content, 500))
    with pytest.raises(StepFailed, match="not whole"):
        talos_snapshot.snapshot(node, "a", tmp_path / "s")
    assert not (tmp_path / "s").exists()


def test_a_failure_in_the_stream_is_a_failure(tmp_path: Path) -> None:
    told = common_pb2.Data(metadata=common_pb2.Metadata(error="etcdserver: no space"))
    node: Any = Node(*chunks(WHOLE, 500), told)
    with pytest.raises(ApiError, match="no space"):
        talos_snapshot.snapshot(node, "a", tmp_path / "s")
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize("content", [b"", WHOLE])
def test_a_file_that_is_no_database_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "s").write_bytes(content)
    with pytest.raises(StepFailed, match="no database"):
        talos_snapshot.facts(tmp_path / "s")


FILE = "[default]\naws_access_key_id = key\naws_secret_access_key = sec%ret\n"
JSON = '{"Version": 1, "AccessKeyId": "key", "SecretAccessKey": "sec%ret", "SessionToken": "lent"}'


def test_credentials_come_from_the_environment_a_file_or_a_command(tmp_path: Path) -> None:
    file = tmp_path / "credentials"
    file.write_text(FILE)
    assert storage_credentials.find(file, None) == Credentials("key", "sec%ret")
    file.write_text(FILE.replace("default", "profile"))
    assert storage_credentials.find(file, None, {}) == Credentials("key", "sec%ret")
    assert storage_credentials.find(None, ("echo", JSON)) == Credentials("key", "sec%ret", "lent")
    environment = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "other\n"}
    assert storage_credentials.find(None, None, environment) == Credentials("key", "other")


def test_missing_credentials_are_told_with_the_way_to_give_them(tmp_path: Path) -> None:
    with pytest.raises(SetupError) as told:
        storage_credentials.find(None, None, {"AWS_ACCESS_KEY_ID": "key"})
    assert "AWS_SECRET_ACCESS_KEY" in told.value.hint
    with pytest.raises(SetupError, match="cannot be read"):
        storage_credentials.find(tmp_path / "none", None)


@pytest.mark.parametrize(
    "text",
    ["", "hunter2", "{hunter2", "[hunter2]", "[default]\naws_access_key_id=hunter2", '{"AccessKeyId": "hunter2"}', "[]",
     '{"AccessKeyId": "", "SecretAccessKey": "hunter2"}', "[default]\naws_access_key_id=a\naws_secret_access_key=\n"],
)  # fmt: skip
def test_what_are_no_credentials_is_not_repeated(text: str) -> None:
    with pytest.raises(SetupError) as told:
        storage_credentials.parse(text, "the file")
    assert "hunter2" not in f"{told.value.message}{told.value.detail}{told.value.hint}"
    assert "secret" not in repr(Credentials("key", "secret", "secret"))
