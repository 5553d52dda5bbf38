"""Machines of the lab: what boots, who becomes a member of etcd, and what power does to them."""

from __future__ import annotations

import base64
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from talos_lab import IMAGE, TalosLab

from tallship.errors import ApiError, Unreachable
from tallship.lab.faults import Fault
from tallship.lab.talos.config import pki
from tallship.lab.talos.etcd import Member


@pytest.fixture
def restartable(tmp_path: Path) -> Iterator[Callable[[float], TalosLab]]:
    """Return a function that ends the running lab and starts the next on the same store and network."""
    labs: list[TalosLab] = []

    def start(now: float = 0) -> TalosLab:
        network = labs[-1].network if labs else ""
        if labs:
            labs.pop().close(keeps_network=True)
        labs.append(TalosLab(tmp_path / "lab.db", now, network))
        return labs[-1]

    yield start
    for made in labs:
        made.close()


def answers(lab: TalosLab, number: int, port: int = 50000) -> bool:
    """True when somebody lets us in there."""
    try:
        with socket.create_connection((lab.address(number), port), timeout=5) as connection:
            connection.settimeout(0.2)
            return connection.recv(1) != b""
    except TimeoutError:
        return True  # it waits for our side of the handshake
    except OSError:
        return False


def members(lab: TalosLab) -> list[Member]:
    return lab.machines.etcd.members(lab.bundle["cluster"]["id"])


def etcd_of(lab: TalosLab, number: int) -> Any:
    """Return the service etcd as the product sees it through machine 1, or the error that it meets."""
    found = lab.talos(*(lab.address(each) for each in (1, 2, 3))).services([lab.private(number)])[lab.private(number)]
    return found if isinstance(found, ApiError) else next(each for each in found if each.id == "etcd")


def certificate_hosts(lab: TalosLab, number: int) -> set[str]:
    """Return the names in the certificate of a machine's Kubernetes API."""
    context = ssl.create_default_context(cadata=base64.b64decode(lab.bundle["certs"]["k8s"]["crt"]).decode())
    with (
        socket.create_connection((lab.address(number), 6443), timeout=5) as plain,
        context.wrap_socket(plain, server_hostname=lab.address(number)) as secured,
    ):
        return {value for _, value in (secured.getpeercert() or {}).get("subjectAltName", ())}


def test_talos_api_comes_up_half_a_minute_after_power_on(lab: TalosLab) -> None:
    lab.boot(1)
    lab.wait(29)
    assert not answers(lab, 1)
    lab.wait(2)
    assert answers(lab, 1)
    assert etcd_of(lab, 1).state == "Preparing"


@pytest.mark.parametrize("text", ["", "#cloud-config", "machine: {type: controlplane}", "a: {", "{}\n---\n{}"])
def test_configuration_that_cannot_be_loaded_keeps_the_port_closed(lab: TalosLab, text: str) -> None:
    assert lab.boot(1, text) is None
    lab.wait(600)
    assert not answers(lab, 1)


def test_image_of_another_system_runs_no_talos(lab: TalosLab) -> None:
    server = {
        "id": 1,
        "name": "debian",
        "public_net": {"ipv4": {"ip": lab.address(1)}},
        "private_net": [],
    }
    debian = {"labels": {"os": "talos"}, "content": {"os": "debian-12"}}
    lab.run(lab.machines.powered_on(server, lab.user_data(), debian))
    lab.wait(600)
    assert not answers(lab, 1)
    assert lab.machines.list() == []


def test_rescue_system_leaves_the_machine_alone(lab: TalosLab) -> None:
    server = {"id": 1, "name": "k8s-control-plane-1", "public_net": {"ipv4": None}, "private_net": []}
    lab.run(lab.machines.powered_on(server, lab.user_data(), {"rescue": True}))
    assert lab.machines.list() == []


def test_machine_that_never_boots_stays_dark(lab: TalosLab) -> None:
    lab.faults.add(Fault("machine-never-boots", {"machine": "k8s-control-plane-1"}))
    lab.boot(1)
    lab.wait(600)
    assert not answers(lab, 1)


def test_firewall_decides_who_reaches_the_machine(lab: TalosLab) -> None:
    lab.form_cluster(1)
    assert answers(lab, 1)
    assert answers(lab, 1, 6443)
    lab.closed |= {(1, 50000, "127.0.0.1"), (1, 6443, "127.0.0.1")}
    assert not answers(lab, 1)
    assert not answers(lab, 1, 6443)


def test_machines_join_one_after_another_as_learners(lab: TalosLab) -> None:
    for number in (1, 2, 3):
        lab.boot(number)
    lab.wait(31)
    assert members(lab) == []
    lab.call(1, "Bootstrap")
    lab.wait(9)
    assert [(each.hostname, each.is_learner) for each in members(lab)] == [
        ("k8s-control-plane-1", False),
        ("k8s-control-plane-2", True),
    ]
    assert not etcd_of(lab, 2).is_healthy
    lab.wait(60)
    assert [each.is_learner for each in members(lab)] == [False] * 3
    assert all(etcd_of(lab, number).is_healthy for number in (1, 2, 3))
    assert {each.address for each in members(lab)} == {lab.private(number) for number in (1, 2, 3)}


def test_kubernetes_api_follows_etcd(lab: TalosLab) -> None:
    machine = lab.boot(1)
    assert machine is not None
    lab.wait(31)
    lab.call(1, "Bootstrap")
    lab.wait(48)
    assert not machine.serves_kubernetes
    lab.wait(4)
    assert machine.serves_kubernetes
    assert not machine.kubelet_may_register
    lab.wait(10)
    assert machine.kubelet_may_register
    assert certificate_hosts(lab, 1) >= {f"{lab.network}.10", lab.address(1), lab.private(1), "kubernetes", "localhost"}
    assert list(lab.machines.workloads) == [lab.bundle["cluster"]["id"]]


def _other_authority(organization: str) -> dict[str, str]:
    pair = pki.new_authority(organization, ec.generate_private_key(ec.SECP256R1()))
    return {part: base64.b64encode(text.encode()).decode() for part, text in zip(("crt", "key"), pair, strict=True)}


WRONG = {
    "token": lambda: {"machine": {"token": "aaaaaa.bbbbbbbbbbbbbbbb"}},
    "cluster id": lambda: {"cluster": {"id": "b3RoZXI="}},
    "cluster secret": lambda: {"cluster": {"secret": "b3RoZXI="}},
    "endpoint": lambda: {"cluster": {"controlPlane": {"endpoint": "https://192.0.2.1:6443"}}},
    "Kubernetes authority": lambda: {"cluster": {"ca": _other_authority("kubernetes")}},
    "bootstrap token": lambda: {"cluster": {"token": "aaaaaa.bbbbbbbbbbbbbbbb"}},
    "etcd authority": lambda: {"cluster": {"etcd": {"ca": _other_authority("etcd")}}},
}


@pytest.mark.parametrize("part", WRONG)
def test_machine_with_one_wrong_part_stays_out(lab: TalosLab, part: str) -> None:
    lab.form_cluster(1)
    stranger = lab.boot(2, **WRONG[part]())
    assert stranger is not None
    lab.wait(300)
    etcd = etcd_of(lab, 2)
    assert not etcd.is_healthy
    assert etcd.state == "Preparing"
    assert etcd.message
    assert len(members(lab)) == 1
    assert not stranger.serves_kubernetes
    assert not stranger.kubelet_may_register


def test_machine_with_another_talos_authority_stays_out_and_is_not_found(lab: TalosLab) -> None:
    lab.form_cluster(1)
    pair = pki.new_authority("talos", ed25519.Ed25519PrivateKey.generate())
    authority = {
        part: base64.b64encode(text.encode()).decode() for part, text in zip(("crt", "key"), pair, strict=True)
    }
    stranger = lab.boot(2, machine={"ca": authority})
    assert stranger is not None
    lab.wait(300)
    assert "unknown authority" in stranger.refusal
    assert isinstance(etcd_of(lab, 2), Unreachable)
    assert len(members(lab)) == 1


def test_machine_without_an_address_for_etcd_waits(lab: TalosLab) -> None:
    lab.boot(1, cluster={"etcd": {"advertisedSubnets": ["10.99.0.0/24"]}})
    lab.wait(31)
    with pytest.raises(Exception, match="not available yet"):
        lab.call(1, "Bootstrap")


def test_machine_without_a_cluster_gives_up_until_it_is_bootstrapped(lab: TalosLab) -> None:
    lab.boot(1)
    lab.wait(1900)
    assert etcd_of(lab, 1).state == "Failed"
    lab.call(1, "Bootstrap")
    lab.wait(11)
    assert etcd_of(lab, 1).is_healthy


def test_member_comes_back_after_a_reboot(lab: TalosLab) -> None:
    lab.form_cluster()
    before = members(lab)
    lab.call(2, "Reboot")
    lab.wait(5)
    assert not answers(lab, 2)
    assert etcd_of(lab, 1).is_healthy
    lab.wait(80)
    assert members(lab) == before
    assert etcd_of(lab, 2).is_healthy
    assert [each.boots for each in lab.machines.list()] == [1, 2, 1]
    assert all(each.serves_kubernetes for each in lab.machines.list())


def test_member_that_left_is_finished_until_it_boots_again(lab: TalosLab) -> None:
    lab.form_cluster()
    lab.call(1, "EtcdForfeitLeadership")
    lab.call(1, "EtcdLeaveCluster")
    lab.wait(300)
    assert etcd_of(lab, 1).state == "Finished"
    assert [each.hostname for each in members(lab)] == ["k8s-control-plane-2", "k8s-control-plane-3"]
    assert not lab.machines.list()[0].serves_kubernetes
    lab.call(1, "Reboot")
    lab.wait(90)
    assert len(members(lab)) == 3
    assert etcd_of(lab, 1).is_healthy


def test_member_that_was_removed_stays_out(lab: TalosLab) -> None:
    lab.form_cluster()
    removed = members(lab)[2]
    lab.run(lab.machines.powered_off(3))
    lab.machines.etcd.remove(lab.bundle["cluster"]["id"], removed.id)
    lab.boot(3)
    lab.wait(300)
    etcd = etcd_of(lab, 3)
    assert (etcd.state, len(members(lab))) == ("Failed", 2)
    assert "permanently removed" in etcd.message


def test_without_a_quorum_nothing_is_healthy(lab: TalosLab) -> None:
    lab.form_cluster()
    lab.run(lab.machines.powered_off(1))
    lab.wait(1)
    assert etcd_of(lab, 3).is_healthy
    lab.run(lab.machines.powered_off(2))
    lab.wait(1)
    assert not etcd_of(lab, 3).is_healthy
    assert not answers(lab, 3, 6443)
    status = lab.talos(lab.address(3)).etcd_status([lab.private(3)])[lab.private(3)]
    assert not isinstance(status, ApiError)
    assert (status.leader, status.errors) == (0, ("etcdserver: no leader",))
    lab.boot(2)
    lab.wait(60)
    assert etcd_of(lab, 3).is_healthy
    assert answers(lab, 3, 6443)


def test_etcd_member_is_unhealthy_on_demand(lab: TalosLab) -> None:
    lab.form_cluster(1)
    lab.faults.add(Fault("etcd-member-unhealthy", {"machine": "k8s-control-plane-1"}))
    assert not etcd_of(lab, 1).is_healthy
    assert etcd_of(lab, 1).is_healthy


def test_shutdown_tells_the_cloud(lab: TalosLab) -> None:
    lab.form_cluster(1)
    lab.call(1, "Shutdown")
    lab.wait(6)
    assert lab.halted == [1]
    assert not answers(lab, 1)
    assert lab.machines.list() == []


def test_shutdown_goes_on_after_the_lab_was_killed(restartable: Callable[[float], TalosLab]) -> None:
    lab = restartable(0)
    lab.boot(1)
    lab.wait(31)
    lab.call(1, "Shutdown")
    lab = restartable(lab.clock.now())
    lab.wait(6)
    assert lab.halted == [1]


def test_worker_runs_no_etcd_and_needs_a_control_plane(lab: TalosLab) -> None:
    worker = lab.boot(4, kind="worker")
    assert worker is not None
    lab.wait(60)
    assert not worker.serves_talos
    lab.form_cluster(1)
    assert worker.serves_talos
    assert worker.kubelet_may_register
    services = lab.talos().services([lab.private(4)])[lab.private(4)]
    assert not isinstance(services, ApiError)
    assert "etcd" not in {each.id for each in services}


def test_worker_waits_while_no_control_plane_lets_it_in_at_trustd(lab: TalosLab) -> None:
    closed = [
        lab.user_data(),
        "apiVersion: v1alpha1\nkind: NetworkDefaultActionConfig\ningress: block\n",
        "apiVersion: v1alpha1\nkind: NetworkRuleConfig\nname: talos\n"
        "portSelector: {ports: [50000, 6443], protocol: tcp}\ningress: [{subnet: 0.0.0.0/0}]\n",
    ]
    lab.boot(1, "---\n".join(closed))
    worker = lab.boot(4, kind="worker")
    assert worker is not None
    lab.wait(100)
    assert not worker.serves_talos
    lab.boot(2)
    lab.wait(40)
    assert worker.serves_talos


def test_new_cluster_at_the_same_endpoint_does_not_meet_the_old_one(lab: TalosLab) -> None:
    lab.form_cluster(1)
    lab.run(lab.machines.deleted(1))
    lab.boot(2, cluster={"id": "b3RoZXI="})
    lab.wait(31)
    lab.call(2, "Bootstrap")
    lab.wait(70)
    assert lab.machines.list()[0].serves_kubernetes


def test_another_disk_has_no_etcd_data(lab: TalosLab) -> None:
    lab.form_cluster(1)
    server = {
        "id": 1,
        "name": "k8s-control-plane-1",
        "public_net": {"ipv4": {"ip": lab.address(1)}},
        "private_net": [{"ip": lab.private(1)}],
    }
    other = {**IMAGE, "content": {"talos": "v1.12.3"}}
    lab.run(lab.machines.powered_on(server, lab.user_data(), other))
    lab.wait(31)
    assert lab.talos().version([lab.private(1)])[lab.private(1)].tag == "v1.12.3"  # type: ignore[union-attr]
    assert not lab.machines.list()[0].has_etcd_data
    old = lab.machines.workloads[lab.bundle["cluster"]["id"]]
    lab.call(1, "Bootstrap")
    lab.wait(60)
    new = lab.machines.workloads[lab.bundle["cluster"]["id"]]
    assert (old.name, new.name) == ("workload-k8s", "workload-k8s-2")


def test_lab_that_was_killed_goes_on_where_it_stopped(restartable: Callable[[float], TalosLab]) -> None:
    lab = restartable(0)
    for number in (1, 2, 3):
        lab.boot(number)
    lab.wait(31)
    lab.call(1, "Bootstrap")
    lab.wait(9)
    lab = restartable(lab.clock.now())
    lab.wait(2)
    assert answers(lab, 1)
    lab.wait(80)
    assert [each.is_learner for each in members(lab)] == [False] * 3
    assert all(each.serves_kubernetes for each in lab.machines.list())
    lab.call(2, "Reboot")
    lab = restartable(lab.clock.now())
    lab.wait(90)
    assert lab.machines.list()[1].boots == 2
    assert all(etcd_of(lab, number).is_healthy for number in (1, 2, 3))
