"""The product's Talos client against machines of the lab."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import yaml
from talos_lab import TalosLab, other_bundle

from tallship.adapters.talos import Service, Talos
from tallship.adapters.talos_channel import Access, failure, host_and_port
from tallship.errors import ApiError, SetupError, Unreachable
from tallship.lab.faults import Fault
from tallship.lab.talos.config import secrets
from tallship.talosproto import machine_pb2


@pytest.fixture
def cluster(lab: TalosLab) -> TalosLab:
    lab.form_cluster(3)
    return lab


def test_one_endpoint_leads_to_every_node(cluster: TalosLab) -> None:
    nodes = [cluster.private(number) for number in (1, 2, 3)]
    talos = cluster.talos(cluster.address(2))
    assert {node: found.tag for node, found in talos.version(nodes).items()} == dict.fromkeys(nodes, "v1.12.2")  # type: ignore[union-attr]
    assert [member.hostname for member in talos.members(nodes[0])] == [f"k8s-control-plane-{n}" for n in (1, 2, 3)]
    assert not any(member.is_learner for member in talos.members(nodes[2]))
    assert talos.alarms(nodes[1]) == []
    assert talos.calls == {"Version": 3, "EtcdMemberList": 2, "EtcdAlarmList": 1}


def test_etcd_has_one_leader_that_all_agree_on(cluster: TalosLab) -> None:
    nodes = [cluster.private(number) for number in (1, 2, 3)]
    talos = cluster.talos()
    found = [each for each in talos.etcd_status(nodes).values() if not isinstance(each, ApiError)]
    assert len({each.member_id for each in found}) == 3
    assert {each.leader for each in found} <= {each.id for each in talos.members(nodes[0])}
    assert len({each.leader for each in found}) == 1
    assert all(each.raft_applied_index and not each.errors for each in found)


def test_services_are_healthy_once_etcd_runs(cluster: TalosLab) -> None:
    node = cluster.private(3)
    services = cluster.talos().services([node])[node]
    assert not isinstance(services, ApiError)
    etcd = next(each for each in services if each.id == "etcd")
    assert etcd == Service("etcd", "Running", True, "Health check successful")
    assert etcd.is_healthy
    assert {"apid", "containerd", "cri", "kubelet", "machined", "trustd", "udevd"} < {each.id for each in services}


def test_etcd_waits_before_the_bootstrap(lab: TalosLab) -> None:
    lab.boot(1)
    lab.wait(31)
    services = lab.talos().services([lab.private(1)])[lab.private(1)]
    assert not isinstance(services, ApiError)
    etcd = next(each for each in services if each.id == "etcd")
    assert (etcd.state, etcd.health, etcd.message, etcd.is_healthy) == ("Preparing", None, "Running pre state", False)
    stage = lab.talos().stage([lab.private(1)])[lab.private(1)]
    assert not isinstance(stage, ApiError)
    assert (stage.stage, stage.is_ready) == ("booting", False)


def test_a_node_that_is_down_hides_no_other(cluster: TalosLab) -> None:
    cluster.run(cluster.machines.powered_off(3))
    nodes = [cluster.private(number) for number in (1, 2, 3)]
    found = cluster.talos().version(nodes)
    assert [type(each).__name__ for each in found.values()] == ["Version", "Version", "Unreachable"]
    assert isinstance(found[nodes[2]], Unreachable)
    assert found[nodes[2]].code == "UNAVAILABLE"  # type: ignore[union-attr]


def test_the_next_endpoint_is_tried_when_one_is_gone(cluster: TalosLab) -> None:
    cluster.run(cluster.machines.powered_off(1))
    talos = cluster.talos(cluster.address(1), cluster.address(2))
    assert len(talos.members(cluster.private(3))) == 3


def test_nobody_answers_before_the_machine_is_up(lab: TalosLab) -> None:
    lab.boot(1)
    lab.wait(29)
    with pytest.raises(Unreachable) as refused:
        lab.talos().members(lab.private(1))
    assert refused.value.may_pass
    lab.wait(2)
    assert lab.talos().version([lab.private(1)])


def test_a_machine_of_another_cluster_is_not_believed(lab: TalosLab) -> None:
    lab.boot(1, secrets_of=other_bundle())
    lab.wait(31)
    with pytest.raises(Unreachable) as refused:
        lab.talos().members(lab.private(1))
    assert refused.value.code == "CERTIFICATE"
    assert "certSANs" in refused.value.hint


def test_a_client_of_another_cluster_is_turned_away(lab: TalosLab) -> None:
    lab.boot(1)
    lab.wait(31)
    mine, theirs = (
        yaml.safe_load(secrets.talosconfig(each, "k8s", [lab.address(1)])) for each in (lab.bundle, other_bundle())
    )
    theirs["contexts"]["k8s"]["ca"] = mine["contexts"]["k8s"]["ca"]
    with pytest.raises(Unreachable):
        Talos(yaml.safe_dump(theirs), timeout=5).members(lab.private(1))


def test_a_role_that_may_not_look_is_told_so(lab: TalosLab) -> None:
    lab.boot(1)
    lab.wait(31)
    found = lab.talos(roles=("os:image:verifier",)).version([lab.private(1)])[lab.private(1)]
    assert isinstance(found, ApiError)
    assert (found.code, found.may_pass) == ("PERMISSION_DENIED", False)
    assert "role" in found.hint


def test_time_passes_while_the_lab_holds_a_call(lab: TalosLab) -> None:
    lab.boot(1)
    lab.wait(31)
    lab.faults.add(Fault("slow", {"rpc": "Version"}, {"seconds": 300}))
    before = lab.clock.now()
    lab.clock.run_client(lambda: lab.talos().version([lab.private(1)]))
    assert lab.clock.now() == before + 300


def test_a_connection_that_breaks_may_pass(lab: TalosLab) -> None:
    lab.boot(1)
    lab.wait(31)
    lab.faults.add(Fault("reset", {"machine": "k8s-control-plane-1"}))
    found = lab.talos().version([lab.private(1)])[lab.private(1)]
    assert isinstance(found, Unreachable)
    assert lab.talos().version([lab.private(1)])[lab.private(1)].tag == "v1.12.2"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "text", ["", "context: k8s", "context: k8s\ncontexts: {k8s: {ca: '!', crt: '', key: ''}}", "["]
)
def test_what_is_no_talosconfig_is_a_setup_error(text: str) -> None:
    with pytest.raises(SetupError) as refused:
        Talos(text)
    assert "talosconfig" in refused.value.hint


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda context: context.pop("endpoints"), "the talosconfig names no endpoint"),
        (lambda context: context.update(key="bm90IGEga2V5"), "the talosconfig cannot be read"),
    ],
)
def test_a_talosconfig_with_a_hole_is_a_setup_error(
    lab: TalosLab, spoil: Callable[[dict[str, object]], object], message: str
) -> None:
    config = yaml.safe_load(lab.talosconfig())
    spoil(config["contexts"]["k8s"])
    with pytest.raises(SetupError, match=message):
        Talos(yaml.safe_dump(config))


def test_endpoints_given_win_over_those_in_the_file(lab: TalosLab) -> None:
    assert Access.parse(lab.talosconfig(), ["203.0.113.5"]).endpoints == ("203.0.113.5",)
    assert Access.parse(lab.talosconfig()).endpoints == (lab.address(1),)


@pytest.mark.parametrize(
    ("endpoint", "place"),
    [
        ("203.0.113.5", ("203.0.113.5", 50000)),
        ("talos.example.com:50001", ("talos.example.com", 50001)),
        ("2001:db8::5", ("2001:db8::5", 50000)),
        ("[2001:db8::5]:50001", ("2001:db8::5", 50001)),
    ],
)
def test_an_endpoint_may_have_a_port(endpoint: str, place: tuple[str, int]) -> None:
    assert host_and_port(endpoint) == place


@pytest.mark.parametrize(("number", "code"), [(0, "UNKNOWN"), (7, "PERMISSION_DENIED"), (14, "UNAVAILABLE")])
def test_an_error_inside_a_reply_is_an_error(number: int, code: str) -> None:
    reply = machine_pb2.VersionResponse()
    reply.messages.add().metadata.error = "no luck"
    reply.messages[0].metadata.status.code = number
    error = failure(reply, "10.10.64.2")
    assert error is not None
    assert (error.code, isinstance(error, Unreachable)) == (code, number == 14)


def test_an_image_is_pulled_once_and_listed_where_it_is(lab: TalosLab) -> None:
    lab.boot(1)
    lab.wait(31)
    node, talos = lab.private(1), lab.talos()
    assert talos.images([node]) == {node: set()}
    began = lab.clock.now()
    assert lab.clock.run_client(lambda: talos.pull_image([node], "quay.io/cilium/cilium:v1.18.6")) is None
    taken = lab.clock.now() - began
    assert taken > 20
    assert lab.clock.run_client(lambda: talos.pull_image([node], "quay.io/cilium/cilium:v1.18.6")) is None
    assert lab.clock.now() - began == taken, "what is there is not pulled again"
    assert talos.images([node]) == {node: {"quay.io/cilium/cilium:v1.18.6"}}


def test_a_pull_that_fails_is_told_for_its_node(lab: TalosLab) -> None:
    lab.boot(1)
    lab.wait(31)
    lab.faults.add(Fault("image-pull", {"machine": "k8s-control-plane-1"}))
    found = lab.talos().pull_image([lab.private(1)], "quay.io/cilium/cilium:v0")[lab.private(1)]
    assert isinstance(found, ApiError)
    assert "failed to resolve" in found.message
