"""The lab's Talos API as Talos v1.12 has it: roles, nodes, errors, TLS, firewalls."""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import loops
import pytest
from grpclib.const import Status
from grpclib.exceptions import GRPCError
from talos_lab import TalosLab

from tallship.adapters.talos import MACHINE_STATUS
from tallship.errors import Unreachable
from tallship.talosproto import machine_pb2, state_pb2

RECORDINGS = Path(__file__).parents[4] / "shared/contracts/recordings"
ADMIN, OPERATOR, READER, BACKUP = "os:admin", "os:operator", "os:reader", "os:etcd:backup"
WHO = {
    "ApplyConfiguration Bootstrap EtcdForfeitLeadership EtcdLeaveCluster EtcdRecover EtcdRemoveMemberByID Kubeconfig "
    "Read Reset Upgrade": {ADMIN},
    "EtcdDefragment ImagePull Reboot ServiceRestart Shutdown": {ADMIN, OPERATOR},
    "EtcdSnapshot": {ADMIN, OPERATOR, BACKUP},
    "EtcdAlarmList EtcdMemberList EtcdStatus": {ADMIN, OPERATOR, READER, BACKUP},
    "Dmesg Events Hostname ImageList List Logs ServiceList Version": {ADMIN, OPERATOR, READER},
}
"""Talos v1.12: which roles may make which call."""
METHODS = machine_pb2.DESCRIPTOR.services_by_name["MachineService"].methods_by_name
HARMLESS = ("Version", "Hostname", "ServiceList", "EtcdMemberList", "EtcdStatus", "EtcdAlarmList")
MEMBER_FOLDER = machine_pb2.ListRequest(root="/var/lib/etcd/member")


@pytest.fixture(scope="module")
def cluster() -> Iterator[TalosLab]:
    """Three members that no test of this module changes."""
    made = TalosLab()
    made.form_cluster(3)
    yield made
    made.close()


def nodes(lab: TalosLab, *numbers: int, key: str = "nodes") -> list[tuple[str, str]]:
    return [(key, lab.private(number)) for number in numbers]


def refusal(lab: TalosLab, name: str, request: Any = None, **more: Any) -> GRPCError:
    method = METHODS[name]
    most = 1 if method.server_streaming else 0
    with pytest.raises(GRPCError) as refused:
        lab.call(1, name, [] if method.client_streaming else request, most=most, **more)
    return refused.value


@pytest.mark.parametrize("role", [OPERATOR, READER, BACKUP, "os:meta:writer"])
def test_a_role_may_make_its_calls_and_no_other(cluster: TalosLab, role: str) -> None:
    for names, who in WHO.items():
        for name in names.split():
            if role not in who:
                assert refusal(cluster, name, roles=(role,)).status is Status.PERMISSION_DENIED, name
            elif name in HARMLESS:
                assert cluster.call(1, name, roles=(role,)).messages, name


def test_every_call_stands_in_the_table_of_roles() -> None:
    assert set(METHODS) == {name for names in WHO for name in names.split()}


def test_a_node_answers_for_itself_without_metadata(cluster: TalosLab) -> None:
    reply = cluster.call(1, "Hostname", metadata=nodes(cluster, 3, key="node"))
    assert [(each.hostname, each.HasField("metadata")) for each in reply.messages] == [("k8s-control-plane-3", False)]


def test_several_nodes_are_named_in_their_replies(cluster: TalosLab) -> None:
    reply = cluster.call(1, "Hostname", metadata=nodes(cluster, 3, 1))
    assert [(each.metadata.hostname, each.hostname) for each in reply.messages] == [
        (cluster.private(3), "k8s-control-plane-3"),
        (cluster.private(1), "k8s-control-plane-1"),
    ]


def test_one_nodes_error_stands_in_its_own_reply(cluster: TalosLab) -> None:
    reply = cluster.call(1, "Version", metadata=nodes(cluster, 2, 77))
    fine, failed = reply.messages
    assert (fine.metadata.error, fine.version.tag) == ("", "v1.12.2")
    assert failed.metadata.hostname == cluster.private(77)
    assert failed.metadata.error.startswith("rpc error: code = Unavailable desc = connection error")
    assert failed.metadata.status.code == Status.UNAVAILABLE.value


def test_a_stream_names_its_nodes_too(cluster: TalosLab) -> None:
    found = cluster.call(1, "List", MEMBER_FOLDER, most=9, metadata=nodes(cluster, 1, 77))
    assert {each.metadata.hostname for each in found} == {cluster.private(1), cluster.private(77)}
    assert [each.name for each in found if each.metadata.error] == [""]
    assert "/var/lib/etcd/member/snap" in [each.name for each in found]


def test_an_unknown_node_is_unavailable(cluster: TalosLab) -> None:
    error = refusal(cluster, "Version", metadata=nodes(cluster, 77, key="node"))
    assert error.status is Status.UNAVAILABLE


def test_a_denied_role_is_told_so_per_node(cluster: TalosLab) -> None:
    reply = cluster.call(1, "Reboot", roles=(READER,), metadata=nodes(cluster, 1, 2))
    assert ["code = PermissionDenied desc = not authorized" in each.metadata.error for each in reply.messages] == [
        True,
        True,
    ]


def test_state_is_one_node_at_a_time(cluster: TalosLab) -> None:
    namespace, kind, name = MACHINE_STATUS
    request = state_pb2.GetRequest(namespace=namespace, type=kind, id=name)
    assert "stage: running" in cluster.call(1, "Get", request).resource.spec.yaml_spec
    with pytest.raises(GRPCError) as refused:
        cluster.call(1, "Get", request, metadata=nodes(cluster, 1, 2))
    assert refused.value.status is Status.INVALID_ARGUMENT
    with pytest.raises(GRPCError) as refused:
        cluster.call(1, "Get", state_pb2.GetRequest(namespace=namespace, type="Nothings.talos.dev", id=name))
    assert refused.value.status is Status.NOT_FOUND


def test_what_the_lab_does_not_have_is_unimplemented(cluster: TalosLab) -> None:
    error = refusal(cluster, "EtcdDefragment")
    assert error.status is Status.UNIMPLEMENTED
    assert "machine.MachineService.EtcdDefragment" in str(error.message)


def test_events_begin_with_an_empty_hello_and_last(cluster: TalosLab) -> None:
    request = machine_pb2.EventsRequest(tail_events=-1)
    hello, begun, ended = cluster.call(1, "Events", request, most=3)
    assert not hello.data.type_url
    told = machine_pb2.SequenceEvent()
    for event, action in ((begun, machine_pb2.SequenceEvent.START), (ended, machine_pb2.SequenceEvent.STOP)):
        assert event.data.Unpack(told)
        assert (told.sequence, told.action) == ("boot", action)


def test_a_folder_that_is_not_there_is_an_error_of_the_node(lab: TalosLab) -> None:
    lab.boot(1)
    lab.wait(31)
    assert refusal(lab, "List", MEMBER_FOLDER).status is Status.UNKNOWN
    (found,) = lab.call(1, "List", MEMBER_FOLDER, most=5, metadata=nodes(lab, 1))
    assert "no such file or directory" in found.metadata.error


class Forwarder:
    """A load balancer in front of one machine: TCP, from an address of its own."""

    def __init__(self, lab: TalosLab, number: int) -> None:
        self.address = f"{lab.network}.10"
        self._target = lab.address(number)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._tasks: set[asyncio.Task[None]] = set()

    def __enter__(self) -> Forwarder:
        self._thread.start()
        start = asyncio.start_server(self._forward, self.address, 50000)
        self._server = asyncio.run_coroutine_threadsafe(start, self._loop).result(5)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(5)
        loops.end(self._loop, self._thread)

    async def _end(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        target = await asyncio.open_connection(self._target, 50000, local_addr=(self.address, 0))
        try:
            await asyncio.gather(_pump(reader, target[1]), _pump(target[0], writer))
        finally:
            for each in (writer, target[1]):
                each.transport.abort()
            await asyncio.sleep(0)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
    writer.transport.abort()


def test_the_load_balancer_needs_its_address_in_the_certificate(lab: TalosLab) -> None:
    lab.boot(1)
    lab.boot(2, machine={"certSANs": [f"{lab.network}.10"]})
    lab.wait(31)
    with Forwarder(lab, 1) as balancer, pytest.raises(Unreachable) as refused:
        lab.talos(balancer.address).members(lab.private(1))
    assert refused.value.code == "CERTIFICATE"
    assert lab.call(1, "Hostname").messages, "the machine's own address is not affected"
    with Forwarder(lab, 2) as balancer:
        found = lab.talos(balancer.address).version([lab.private(2)])
    assert found[lab.private(2)].tag == "v1.12.2"  # type: ignore[union-attr]


def test_kubernetes_answers_under_the_clusters_own_authority(cluster: TalosLab) -> None:
    machine = cluster.machines.list()[0]
    trust = ssl.create_default_context(cadata=machine.settings.kubernetes_ca)
    with urllib.request.urlopen(f"https://{cluster.address(1)}:6443/readyz", context=trust, timeout=5) as answer:
        assert answer.read() == b"ok"


def test_writes_are_counted_by_who_made_them(lab: TalosLab) -> None:
    lab.boot(1)
    lab.wait(31)
    lab.call(1, "Bootstrap")
    assert lab.writes == {"controllers": 1}
    refusal(lab, "Bootstrap")
    lab.wait(20)
    lab.call(1, "Version", metadata=[("client", "tallship")])
    assert lab.writes == {"controllers": 1}
    lab.call(1, "Reboot", metadata=[("client", "tallship")])
    assert lab.writes == {"controllers": 1, "talos": 1}


def recorded() -> set[tuple[str, tuple[str, ...], int]]:
    """Every call of the recorded controllers: its name, its roles, and how many nodes it names."""
    texts = ((RECORDINGS / f"{name}.talos.jsonl").read_text() for name in ("create", "life"))
    calls = (json.loads(line) for text in texts for line in text.splitlines())
    return {(each["rpc"], tuple(each["role"]), len(each["nodes"])) for each in calls}


@pytest.mark.skipif(not RECORDINGS.exists(), reason="the recordings are not here")
def test_every_recorded_call_is_answered(lab: TalosLab) -> None:
    lab.form_cluster(3)
    calls = sorted(recorded(), key=lambda call: call[0] == "EtcdLeaveCluster")
    for name, roles, count in calls:
        metadata = nodes(lab, *range(1, count + 1))
        request = MEMBER_FOLDER if name == "List" else None
        if name == "Bootstrap":
            assert "AlreadyExists" in lab.call(1, name, metadata=metadata).messages[0].metadata.error
            continue
        assert _answers(lab, name, request, roles, metadata), name
    assert len(calls) >= 7


def _answers(lab: TalosLab, name: str, request: Any, roles: Sequence[str], metadata: list[tuple[str, str]]) -> bool:
    streams = METHODS[name].server_streaming
    reply = lab.call(1, name, request, most=1 if streams else 0, roles=roles, metadata=metadata)
    messages = reply if streams else reply.messages
    return bool(messages) and not any(each.metadata.error for each in messages)


def test_a_change_that_no_node_made_is_no_write(cluster: TalosLab) -> None:
    before = dict(cluster.writes)
    assert cluster.call(1, "Bootstrap", metadata=nodes(cluster, 1)).messages[0].metadata.error
    assert dict(cluster.writes) == before
