"""What `tallship backup save --capi` leaves: whole, private, for its recipients alone, and the cluster awake."""

from __future__ import annotations

import io
import json
import tarfile
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pyrage
import pytest
from lab_world import LabWorld
from ship import Kept, Ship

from tallship.engine import select
from tallship.errors import ProgramError, SetupError, StepFailed
from tallship.flows import UP
from tallship.ops import backup
from tallship.ops.cluster import is_paused
from tallship.ops.kinds import CLUSTER
from tallship.spec import parse_spec

OWNED = {"Cluster": 1, "HetznerCluster": 1, "TalosControlPlane": 1, "Machine": 3, "HCloudMachine": 3, "TalosConfig": 3}


def save(ship: Ship) -> Path:
    """Save, and return the backup."""
    step = backup.CapiSaved()
    ship.make((step,))
    (path,) = step.made
    return path


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
    with tarfile.open(fileobj=io.BytesIO(pyrage.decrypt(path.read_bytes(), [mine]))) as archive:
        files_inside = [archive.extractfile(each) for each in archive if each.isfile()]
        documents = [json.loads(file.read()) for file in files_inside if file is not None]
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
