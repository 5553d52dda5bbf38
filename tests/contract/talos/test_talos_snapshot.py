"""Snapshots of etcd as the lab's machines give and take them: whole, readable by others, and true."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from talos_lab import TalosLab

from tallship.adapters import talos_recovery
from tallship.errors import ApiError
from tallship.lab import bbolt
from tallship.lab.kube import registry
from tallship.lab.kube.api import KubeApi
from tallship.lab.kube.options import Options
from tallship.lab.kubeserver import SnapshotRefused
from tallship.lab.realkube import database
from tallship.lab.talos import durations
from tallship.lab.talos.machine import Machine
from tallship.manifests import snapshot as reader
from tallship.talosproto import common_pb2, machine_pb2
from tallship.talosproto.machine_grpc import MachineServiceStub

UNTIL_BACK = durations.STOP_SERVICES + durations.WIPE + durations.REBOOT + durations.API_UP + 2
UNTIL_RESTORED = durations.ETCD_RESTORE + durations.ETCD_START + durations.ETCD_FIRST_CHECK + 1
DEFINITION: dict[str, Any] = {
    "metadata": {"name": "ships.example.com"},
    "spec": {
        "group": "example.com",
        "scope": "Namespaced",
        "names": {"kind": "Ship", "plural": "ships"},
        "versions": [
            {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object"}}}
        ],
    },
}


@pytest.fixture
def three(lab: TalosLab) -> TalosLab:
    lab.form_cluster(3)
    return lab


def machine(lab: TalosLab, number: int = 1) -> Machine:
    return next(each for each in lab.machines.list() if each.server_id == number)


def api(lab: TalosLab) -> KubeApi:
    async def find() -> KubeApi:
        found = await lab.machines.workload(machine(lab))
        assert isinstance(found, KubeApi)
        return found

    return lab.run(find())


def write(lab: TalosLab, name: str, text: str) -> None:
    """Write a ConfigMap past the API's socket."""

    async def put() -> None:
        server = api_of[0]
        resource = server._resources["configmaps"]
        document = {"metadata": {"name": name}, "data": {"text": text}}
        server.writes.create(resource, "default", document, Options("test"))

    api_of = [api(lab)]
    lab.run(put())


def config_maps(lab: TalosLab) -> dict[str, str]:
    server = api(lab)

    async def read() -> dict[str, str]:
        return {each["metadata"]["name"]: each["data"]["text"] for each in server.objects("ConfigMap")}

    return lab.run(read())


def take(lab: TalosLab, number: int = 1) -> bytes:
    found: list[bytes] = []
    talos = lab.talos(lab.address(number))
    request = machine_pb2.EtcdSnapshotRequest()

    def follow() -> None:
        talos.follow(
            lab.private(number), "EtcdSnapshot", MachineServiceStub, request, lambda each: found.append(each.bytes), 10
        )

    lab.clock.run_client(follow)
    return b"".join(found)


def lose_quorum(lab: TalosLab, *numbers: int) -> None:
    for number in numbers:
        talos = lab.talos(lab.address(number))
        lab.clock.run_client(lambda: talos_recovery.wipe(talos, lab.private(number)))  # noqa: B023 - called at once
    lab.wait(UNTIL_BACK)


def send(lab: TalosLab, content: bytes, folder: Path, number: int = 1) -> None:
    file = folder / "snapshot.db"
    file.write_bytes(content)
    address, node = lab.address(number), lab.private(number)
    lab.clock.run_client(lambda: talos_recovery.upload(lab.talosconfig(), [address], node, file))


def bootstrap(lab: TalosLab, number: int = 1) -> None:
    lab.clock.run_client(lambda: talos_recovery.bootstrap(lab.talos(lab.address(number)), lab.private(number)))


def etcd(lab: TalosLab, number: int = 1) -> tuple[str, str]:
    (service,) = (each for each in lab.call(number, "ServiceList").messages[0].services if each.id == "etcd")
    return service.state, service.events.events[-1].msg


def refusal(work: Callable[[], object]) -> str:
    with pytest.raises(ApiError) as caught:
        work()
    return str(caught.value.message)


def test_a_snapshot_is_a_database_and_its_hash(three: TalosLab) -> None:
    write(three, "log", "fair wind")
    whole = take(three)
    assert (len(whole) % 512, (len(whole) - 32) % 4096) == (32, 0)
    assert hashlib.sha256(whole[:-32]).digest() == whole[-32:]
    found = bbolt.read(whole[:-32])
    revision, objects = registry.newest(found[b"key"])
    assert objects["/registry/configmaps/default/log"]["data"] == {"text": "fair wind"}
    assert revision == api(three)._objects.revision
    assert {"/registry/namespaces/default", "/registry/namespaces/kube-system"} < set(objects)


def test_the_products_reader_finds_the_same_in_it(three: TalosLab) -> None:
    for number in range(500):
        write(three, f"entry-{number}", "wind " * number)
    facts = reader.facts(take(three)[:-32])
    assert (facts.keys, facts.revision) == (504, api(three)._objects.revision)
    assert facts.members == tuple(f"k8s-control-plane-{number}" for number in (1, 2, 3))
    assert facts.cluster_version.startswith("3.6")


def test_a_deletion_counts_as_a_revision(three: TalosLab) -> None:
    write(three, "log", "")
    server = api(three)

    async def delete() -> int:
        server.writes.delete(server._resources["configmaps"], "default", "log", Options("test"))
        return server._objects.revision

    newest = three.run(delete())
    assert reader.facts(take(three)[:-32]).revision == newest


def test_custom_objects_come_back_with_their_definition(three: TalosLab, tmp_path: Path) -> None:
    server = api(three)

    async def create() -> None:
        server.writes.create(
            server._resources["customresourcedefinitions.apiextensions.k8s.io"], "", DEFINITION, Options("test")
        )
        ship = {"metadata": {"name": "argo"}}
        server.writes.create(server._resources["ships.example.com"], "default", ship, Options("test"))

    three.run(create())
    whole = take(three)
    assert b"/registry/example.com/ships/default/argo" in whole
    lose_quorum(three, 1, 2, 3)
    send(three, whole, tmp_path)
    bootstrap(three)
    three.wait(UNTIL_RESTORED)
    assert [each["metadata"]["name"] for each in api(three).objects("Ship")] == ["argo"]


def test_a_member_gives_its_snapshot_without_a_quorum(three: TalosLab) -> None:
    write(three, "log", "fair wind")
    before = take(three, 3)
    lose_quorum(three, 1, 2)
    assert bbolt.read(take(three, 3)[:-32])[b"key"] == bbolt.read(before[:-32])[b"key"]
    assert "does not answer" in refusal(lambda: take(three, 1))


def test_a_new_etcd_has_the_snapshots_objects_and_the_others_join_it(three: TalosLab, tmp_path: Path) -> None:
    write(three, "before", "kept")
    whole = take(three)
    write(three, "after", "lost")
    lose_quorum(three, 1, 2, 3)
    send(three, whole, tmp_path)
    assert etcd(three) == ("Preparing", "Running pre state"), "what was sent is not looked at yet"
    bootstrap(three)
    assert not machine(three).has_etcd_data, "the answer comes before the restore"
    three.wait(UNTIL_RESTORED)
    assert etcd(three)[0] == "Running"
    assert config_maps(three) == {"before": "kept"}
    three.wait(120)
    members = three.talos(three.address(2)).members(three.private(2))
    assert ([each.is_learner for each in members], len({each.id for each in members})) == ([False] * 3, 3)
    assert all(machine(three, number).serves_kubernetes for number in (1, 2, 3))
    write(three, "later", "also kept")
    assert reader.facts(take(three, 2)[:-32]).revision > reader.facts(whole[:-32]).revision


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda whole: whole[:100] + b"x" + whole[101:], "error verifying snapshot: expected sha256"),
        (lambda whole: whole[:-32], "error verifying snapshot: snapshot missing hash"),
        (lambda whole: whole[: len(whole) // 2], "error verifying snapshot: snapshot missing hash"),
        (lambda _: (512 * b"0") + hashlib.sha256(512 * b"0").digest(), "the file ends too early"),
    ],
)
def test_a_snapshot_that_is_not_whole_fails_after_the_answer(
    three: TalosLab, tmp_path: Path, spoil: Callable[[bytes], bytes], says: str
) -> None:
    whole = take(three)
    lose_quorum(three, 1, 2, 3)
    send(three, spoil(whole), tmp_path)
    bootstrap(three)
    three.wait(UNTIL_RESTORED)
    state, told = etcd(three)
    assert (state, told.startswith("Failed to run pre stage: "), says in told) == ("Failed", True, True), told
    send(three, whole, tmp_path)
    bootstrap(three)
    three.wait(UNTIL_RESTORED)
    assert etcd(three)[0] == "Running", "a whole one may follow"


def test_a_copy_without_a_hash_needs_to_be_allowed(three: TalosLab, tmp_path: Path) -> None:
    whole = take(three)
    lose_quorum(three, 1, 2, 3)
    send(three, whole[:-32], tmp_path)
    three.call(1, "Bootstrap", machine_pb2.BootstrapRequest(recover_etcd=True, recover_skip_hash_check=True))
    three.wait(UNTIL_RESTORED)
    assert etcd(three)[0] == "Running"


def test_nothing_is_recovered_where_etcd_has_data(three: TalosLab, tmp_path: Path) -> None:
    send(three, take(three), tmp_path)
    with pytest.raises(ApiError) as caught:
        bootstrap(three)
    assert caught.value.code == "ALREADY_EXISTS"
    assert etcd(three)[0] == "Running"


@pytest.mark.parametrize("role", ["os:operator", "os:reader", "os:etcd:backup"])
def test_only_an_administrator_may_send_a_snapshot(three: TalosLab, role: str) -> None:
    talos = three.talos(three.address(1), roles=[role])
    messages = [common_pb2.Data(bytes=b"x")]
    with pytest.raises(ApiError) as caught:
        talos.upload(three.private(1), "EtcdRecover", MachineServiceStub, messages, 5)
    assert caught.value.code == "PERMISSION_DENIED"


def test_a_restore_goes_on_after_a_kill_of_the_lab(tmp_path: Path) -> None:
    store = tmp_path / "store.sqlite"
    lab = TalosLab(store)
    lab.form_cluster(1)
    write(lab, "before", "kept")
    whole = take(lab)
    lose_quorum(lab, 1)
    send(lab, whole, tmp_path)
    bootstrap(lab)
    lab.wait(1)
    now, network = lab.clock.now(), lab.network
    lab.close(keeps_network=True)
    again = TalosLab(store, start=now, on=network)
    try:
        again.wait(UNTIL_RESTORED)
        assert (etcd(again)[0], config_maps(again)) == ("Running", {"before": "kept"})
    finally:
        again.close()


@pytest.mark.parametrize("count", [0, 1, 300, 1500])
def test_a_database_is_read_as_it_was_written(count: int) -> None:
    pairs = [(number.to_bytes(8), bytes([number % 251]) * (number * 37 % 9000)) for number in range(count)]
    file = bbolt.write({b"key": pairs, b"meta": [(b"a", b"b")]})
    assert bbolt.read(file) == {b"key": pairs, b"meta": [(b"a", b"b")]}
    with pytest.raises(bbolt.BadDatabase):
        bbolt.read(file[:4000])


def test_a_real_etcd_is_restored_only_where_its_own_program_is(tmp_path: Path) -> None:
    with pytest.raises(SnapshotRefused, match="holds no program `etcdutl`"):
        asyncio.run(database.restore(tmp_path / "plane", tmp_path, b""))
    assert not (tmp_path / "plane").exists()
