"""What `tallship backup list` and `prune` make of what is there, and what `status` is told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from lab_world import LabWorld
from ship import Ship

from tallship.env import Env
from tallship.ops import backup_places
from tallship.ops.files import TIME
from tallship.spec import parse_spec
from tallship.spec.backups import Keep


@contextmanager
def opened(ship: Ship) -> Iterator[Env]:
    env = ship.env()
    yield env
    env.close()


@pytest.fixture
def env(world: LabWorld) -> Iterator[Env]:
    with opened(Ship(world, with_image=False)) as made:
        yield made


def put(env: Env, hours: float, ending: str = "", content: bytes = b"x" * 100) -> Path:
    """Put a backup there that is so many hours old."""
    name = (env.clock.today() - timedelta(hours=hours)).strftime(TIME) + ending
    path = backup_places.root(env) / name
    path.parent.mkdir(exist_ok=True)
    if name.endswith(".age"):
        path.write_bytes(content)
        return path
    path.mkdir()
    (path / "etcd.snapshot").write_bytes(content)
    (path / "manifest.json").write_text(json.dumps({"etcd": {"revision": 4711}}))
    return path


def test_before_the_first_there_is_none(env: Env) -> None:
    assert backup_places.list_all(env) == []
    assert backup_places.newest(env) is None


def test_backups_come_newest_first_with_what_is_known_of_each(env: Env) -> None:
    paths = [put(env, 1), put(env, 2, ".tar.age"), put(env, 3, "-capi"), put(env, 4, "-etcd.tar.age")]
    found = backup_places.list_all(env)
    assert [each.name for each in found] == [path.name for path in paths]
    assert [each.contents for each in found] == ["everything", "everything", "Cluster API's objects", "etcd"]
    assert [each.encrypted for each in found] == [False, True, False, True]
    assert [each.revision for each in found] == [4711, None, 4711, None]
    assert found[1].size_bytes == 100
    assert found[0].size_bytes > 100
    assert [round(each.age_seconds / 3600) for each in found] == [1, 2, 3, 4]


def test_what_is_no_backup_is_not_listed(env: Env) -> None:
    path = put(env, 1)
    for name in (".20261123T120000Z", "notes", "20261399T120000Z", "20261123T120000Z.tar", "20261123T120000Z-other"):
        (path.parent / name).mkdir()
    (path.parent / "lost+found").mkdir()
    assert [each.name for each in backup_places.list_all(env)] == [path.name]


def test_a_damaged_manifest_hides_no_backup(env: Env) -> None:
    path = put(env, 1)
    for text in ("", "[]", '{"etcd": 1}', '{"etcd": {"revision": "x"}}'):
        (path / "manifest.json").write_text(text)
        assert [each.revision for each in backup_places.list_all(env)] == [None]


def test_prune_takes_what_no_rule_keeps_and_never_the_newest(env: Env) -> None:
    paths = [put(env, hours, ".tar.age" if hours % 2 else "") for hours in range(1, 7)]
    found = backup_places.verdicts(backup_places.list_all(env), Keep(last=2, daily=0, weekly=0))
    assert [each.delete for each in found] == [False, False, True, True, True, True]
    assert "last" in found[0].why
    backup_places.delete(env, [each.backup for each in found if each.delete])
    assert {each.name for each in backup_places.root(env).iterdir()} == {path.name for path in paths[:2]}
    alone = backup_places.verdicts(backup_places.list_all(env), Keep(last=0, daily=0, weekly=0))
    assert [each.delete for each in alone] == [False, True]


def test_parts_do_not_push_whole_backups_out(env: Env) -> None:
    whole = put(env, 50)
    for hours in range(1, 6):
        put(env, hours, "-capi")
    found = backup_places.verdicts(backup_places.list_all(env), Keep(last=2, daily=0, weekly=0))
    assert [each.backup.name for each in found if not each.delete][-1] == whole.name
    assert sum(each.delete for each in found) == 3


def test_a_delete_that_was_killed_leaves_nothing_that_looks_whole(env: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    put(env, 1)

    def killed(path: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(backup_places.shutil, "rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        backup_places.delete(env, backup_places.list_all(env))
    assert backup_places.list_all(env) == []
    monkeypatch.undo()
    backup_places.clear_unfinished(backup_places.root(env))
    assert list(backup_places.root(env).iterdir()) == []


def test_a_rehearsal_stays_away_from_where_real_backups_stand(world: LabWorld, tmp_path: Path) -> None:
    ship = Ship(world, with_image=False)
    spec = parse_spec(
        f"name: k8s\nbackup: {{folder: {tmp_path}/real, recipients: "
        "[age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p], "
        "s3: {endpoint: 'https://fsn1.your-objectstorage.com', bucket: backups}}\n"
    ).spec
    assert spec is not None
    ship.spec = spec
    with opened(ship) as env:
        assert env.storage is None
        assert backup_places.root(env) == env.folder / "backups"
        env.site = type(env.site)(world.token)
        assert backup_places.root(env) == tmp_path / "real/k8s"
