"""What `tallship backup save` leaves: whole, private, for its recipients alone, and the cluster awake."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections import Counter
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pyrage
import pytest
import yaml
from lab_world import LabWorld
from ship import Kept, Ship

from tallship.adapters import talos_snapshot
from tallship.engine import select
from tallship.errors import ApiError, ProgramError, SetupError, StepFailed, TallshipError
from tallship.flows import UP
from tallship.ops import backup
from tallship.ops.backup_member import member_to_ask
from tallship.ops.cluster import is_paused
from tallship.ops.kinds import CLUSTER
from tallship.spec import parse_spec
from tallship.talosproto import common_pb2

FILE = "name: k8s  # mine\n"
OWNED = {"Cluster": 1, "HetznerCluster": 1, "TalosControlPlane": 1, "Machine": 3, "HCloudMachine": 3, "TalosConfig": 3}


def save(ship: Ship) -> Path:
    """Save Cluster API's objects, and return the backup."""
    step = backup.CapiSaved()
    ship.make((step,))
    (saved,) = step.made
    assert saved.path is not None
    return saved.path


def save_all(ship: Ship, *, only_etcd: bool = False) -> tuple[Path, backup.Saved]:
    """Save everything, and return the backup."""
    step = backup.BackupSaved(FILE, only_etcd)
    ship.make((step,))
    (saved,) = step.made
    assert saved.path is not None
    return saved.path, saved


def encrypt_to(ship: Ship, *recipients: str) -> None:
    spec = parse_spec(f"name: k8s\nbackup: {{recipients: {json.dumps(recipients)}}}\n").spec
    assert spec is not None
    ship.spec = spec


def kinds(documents: list[dict[str, Any]]) -> Counter[str]:
    return Counter(each["kind"] for each in documents if each["kind"] in OWNED)


def read(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(file.read_text()) for file in folder.glob("*.yaml")]


def files(ship: Ship) -> set[Path]:
    with closing(ship.env()) as env:
        return set(backup.root(env).iterdir())


def unpacked(path: Path, key: Any) -> dict[str, bytes]:
    """Return the files of an encrypted backup by their names below its folder."""
    with tarfile.open(fileobj=io.BytesIO(pyrage.decrypt(path.read_bytes(), [key]))) as archive:
        found = {each.name: archive.extractfile(each) for each in archive if each.isfile()}
    return {name.split("/", 1)[1]: file.read() for name, file in found.items() if file is not None}


def paused(ship: Ship) -> bool:
    with closing(ship.env()) as env:
        return ship.world.run(lambda: is_paused(env))


def test_without_recipients_it_is_a_private_folder(done: Ship) -> None:
    folder = save(done)
    assert folder.stat().st_mode & 0o077 == 0
    assert {file.stat().st_mode & 0o777 for file in folder.iterdir()} == {0o600}
    assert kinds(read(folder)) == OWNED
    assert not paused(done)


def test_with_recipients_nothing_is_left_in_clear(done: Ship) -> None:
    mine, other = pyrage.x25519.Identity.generate(), pyrage.x25519.Identity.generate()
    encrypt_to(done, str(mine.to_public()))
    path = save(done)
    assert files(done) == {path}
    assert path.stat().st_mode & 0o777 == 0o600
    assert done.world.token.encode() not in path.read_bytes()
    documents = [json.loads(content) for content in unpacked(path, mine).values()]
    assert kinds(documents) == OWNED
    with pytest.raises(pyrage.DecryptError):
        pyrage.decrypt(path.read_bytes(), [other])


def test_a_cluster_that_manages_itself_is_saved_from_there(kept_pivoted: Kept) -> None:
    with kept_pivoted.copy() as ship:
        assert kinds(read(save(ship))) == OWNED
        assert not paused(ship)


def test_a_key_with_a_slip_of_the_pen_is_told_before_anything_is_left(done: Ship) -> None:
    encrypt_to(done, "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcaqqq")
    with pytest.raises(SetupError, match="no key to encrypt to"):
        save(done)
    with closing(done.env()) as env:
        assert not backup.root(env).exists()


def test_killed_in_the_middle_the_next_one_wakes_the_cluster(done: Ship) -> None:
    done.world.fault("program-killed", {"program": "clusterctl", "command": "move"}, seconds=0.4)
    with pytest.raises(ProgramError):
        save(done)
    assert paused(done)
    folder = save(done)
    assert files(done) == {folder}
    assert not paused(done)


def test_a_cluster_that_somebody_paused_stays_so(done: Ship) -> None:
    with closing(done.env()) as env:
        done.world.run(lambda: env.home.patch(*CLUSTER, "k8s", "default", {"spec": {"paused": True}}))
    with pytest.raises(StepFailed, match="paused"):
        save(done)
    assert paused(done)


def test_before_there_is_a_cluster_it_names_what_comes_first(world: LabWorld) -> None:
    with pytest.raises(SetupError, match="apply"):
        save(Ship(world))


def test_what_was_saved_brings_a_lost_management_cluster_back(done: Ship) -> None:
    before, folder = done.inventory(), save(done)
    with closing(done.env()) as env:
        done.world.run(lambda: env.programs.kind_delete("k8s-mgmt", env.management_kubeconfig))
    for step in ("kind-create", "capi-init"):
        done.make(select(UP, only=step))
    with closing(done.env()) as env:
        target = ("--to-kubeconfig", str(env.management_kubeconfig))
        done.world.run(lambda: env.programs._move("--from-directory", str(folder), *target))
    done.make()
    assert done.inventory() == before
    assert not paused(done)


def test_everything_is_in_one_private_folder_and_proves_itself(done: Ship) -> None:
    folder, saved = save_all(done)
    manifest = json.loads((folder / "manifest.json").read_text())
    there = {str(each.relative_to(folder)): each for each in folder.rglob("*") if each.is_file()}
    assert {name for name in there if not name.startswith("capi/")} == {
        *("manifest.json", "etcd.snapshot", "secrets.yaml", "tallship.yaml")
    }
    assert {each.stat().st_mode & 0o777 for each in there.values()} == {0o600}
    assert {each.stat().st_mode & 0o777 for each in (folder, folder / "capi")} == {0o700}
    assert kinds(read(folder / "capi")) == OWNED
    assert there["tallship.yaml"].read_text() == FILE
    assert {"cluster", "secrets", "trustdinfo", "certs"} <= set(yaml.safe_load(there["secrets.yaml"].read_text()))
    del there["manifest.json"]
    assert manifest["files"] == {
        name: {"size": each.stat().st_size, "sha256": hashlib.sha256(each.read_bytes()).hexdigest()}
        for name, each in there.items()
    }
    assert manifest["cluster"] == "k8s"
    assert {"talos", "kubernetes", "caph", "tallship"} <= set(manifest["versions"])
    assert len(manifest["etcd"]["members"]) == 3
    assert manifest["etcd"]["nodes"] == 3
    assert saved.etcd["revision"] == manifest["etcd"]["revision"] > 0
    assert not saved.notes
    assert not paused(done)


def test_everything_is_one_file_for_its_recipients(done: Ship) -> None:
    mine = pyrage.x25519.Identity.generate()
    encrypt_to(done, str(mine.to_public()))
    path, saved = save_all(done)
    assert files(done) == {path}
    assert saved.encrypted
    inside = unpacked(path, mine)
    manifest = json.loads(inside["manifest.json"])
    for name, facts in manifest["files"].items():
        assert hashlib.sha256(inside[name]).hexdigest() == facts["sha256"]


def test_a_follower_is_asked(done: Ship) -> None:
    with closing(done.env()) as env:
        chosen = done.world.run(lambda: member_to_ask(env))
        (status,) = done.world.run(lambda: env.talos.etcd_status([chosen.address])).values()
    assert not isinstance(status, ApiError)
    assert status.leader not in (0, status.member_id)
    assert not chosen.note


def test_a_stream_that_breaks_off_leaves_nothing(done: Ship) -> None:
    with closing(done.env()) as env:
        chosen = done.world.run(lambda: member_to_ask(env))
    done.world.fault("reset", {"api": "talos", "rpc": "EtcdSnapshot"}, times=0)
    with pytest.raises(TallshipError, match=chosen.address):
        save_all(done)
    assert files(done) == set()
    assert not paused(done)


def test_a_snapshot_that_is_not_whole_is_no_backup(done: Ship, monkeypatch: pytest.MonkeyPatch) -> None:
    take = talos_snapshot._Writer.take

    def torn(self: Any, message: Any) -> None:
        take(self, common_pb2.Data(bytes=message.bytes[:-1]))

    monkeypatch.setattr(talos_snapshot._Writer, "take", torn)
    with pytest.raises(StepFailed, match="not whole"):
        save_all(done)
    assert files(done) == set()


def test_without_a_quorum_etcd_is_saved_and_the_backup_says_so(done: Ship) -> None:
    with closing(done.env()) as env:
        servers = done.world.run(lambda: env.hetzner.list_servers(env.spec.names.owned_by_caph))
        for each in servers[:2]:
            done.world.run(partial(env.hetzner.power_off, each.id))
        done.world.run(lambda: env.clock.sleep(120))  # until the load balancer knows who is gone
        assert "no quorum" in done.world.run(lambda: member_to_ask(env)).note
    folder, saved = save_all(done, only_etcd=True)
    assert folder.name.endswith("-etcd")
    assert {each.name for each in folder.iterdir()} == {"manifest.json", "etcd.snapshot", "tallship.yaml"}
    assert any("no quorum" in note for note in saved.notes)


def test_half_a_backup_of_a_killed_run_is_cleared_by_the_next(done: Ship) -> None:
    with closing(done.env()) as env:
        folder = backup.root(env)
    (folder / ".20261123T120000Z").mkdir(parents=True)
    (folder / ".20261123T120000Z" / "secrets.yaml").write_text("in clear")
    (folder / ".20261123T120000Z.tar.age").write_text("half")
    (folder / ".mine").write_text("kept")
    path, _ = save_all(done)
    assert files(done) == {path, folder / ".mine"}
