"""Reset as the lab's machines do it: what goes, what stays, and which machine never comes back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from grpclib.exceptions import GRPCError
from talos_lab import TalosLab

from tallship.adapters import talos_recovery
from tallship.lab.talos import durations
from tallship.lab.talos.machine import Machine
from tallship.talosproto import machine_pb2

UNTIL_BACK = durations.STOP_SERVICES + durations.WIPE + durations.REBOOT + durations.API_UP + 2


@pytest.fixture
def three(lab: TalosLab) -> TalosLab:
    lab.form_cluster(3)
    return lab


def machine(lab: TalosLab, number: int = 1) -> Machine:
    return next(each for each in lab.machines.list() if each.server_id == number)


def wipe(lab: TalosLab, number: int = 1) -> None:
    lab.clock.run_client(lambda: talos_recovery.wipe(lab.talos(lab.address(number)), lab.private(number)))


def has_data(lab: TalosLab, number: int = 1) -> bool:
    found: list[bool] = []
    talos = lab.talos(lab.address(number))
    lab.clock.run_client(lambda: found.append(talos_recovery.has_etcd_data(talos, lab.private(number))))
    return found[0]


def reset(*labels: str, wipes: bool = True, **changes: Any) -> machine_pb2.ResetRequest:
    wanted = [machine_pb2.ResetPartitionSpec(label=label, wipe=wipes) for label in labels]
    return machine_pb2.ResetRequest(system_partitions_to_wipe=wanted, **changes)


def etcd(lab: TalosLab, number: int = 1) -> tuple[str, str]:
    """Return state and last event of the service."""
    (service,) = (each for each in lab.call(number, "ServiceList").messages[0].services if each.id == "etcd")
    return service.state, service.events.events[-1].msg


def refusal(work: Callable[[], object]) -> str:
    with pytest.raises(GRPCError) as caught:
        work()
    return str(caught.value.message)


def test_a_reset_of_ephemeral_takes_etcds_data_and_leaves_the_configuration(three: TalosLab) -> None:
    before = machine(three).boots
    assert has_data(three)
    wipe(three)
    assert machine(three).stage == "resetting"
    three.wait(UNTIL_BACK)
    assert machine(three).boots == before + 1
    assert not machine(three).images and not machine(three).record["has_images"]
    three.wait(60)
    assert has_data(three), "two of three are a quorum, and it joins them again by itself"
    assert [each.hostname for each in three.talos(three.address(2)).members(three.private(2))].count(
        machine(three).hostname
    ) == 1


def test_two_that_are_reset_take_the_quorum_with_them_and_wait(three: TalosLab) -> None:
    for number in (1, 2):
        wipe(three, number)
    three.wait(UNTIL_BACK)
    for number in (1, 2):
        assert etcd(three, number) == ("Preparing", "Running pre state")
        assert not has_data(three, number)
    assert has_data(three, 3)
    (status,) = three.call(3, "EtcdStatus").messages
    assert (status.member_status.leader, list(status.member_status.errors)) == (0, ["etcdserver: no leader"])
    assert "request timed out" in refusal(lambda: three.call(3, "EtcdMemberList"))
    assert not machine(three, 3).serves_kubernetes
    three.wait(durations.ETCD_JOIN_LIMIT)
    assert etcd(three, 1)[0] == "Failed"


def test_a_graceful_reset_leaves_etcd_first(three: TalosLab) -> None:
    three.call(1, "Reset", reset("EPHEMERAL", graceful=True, reboot=True))
    three.wait(2)
    assert len(three.talos(three.address(2)).members(three.private(2))) == 2
    three.wait(UNTIL_BACK)
    assert not machine(three).record["has_images"]


def test_a_graceful_reset_without_a_quorum_gives_up_and_boots_with_all_it_had(three: TalosLab) -> None:
    for number in (1, 2):
        wipe(three, number)
    three.wait(UNTIL_BACK)
    before = machine(three, 3).boots
    three.call(3, "Reset", reset("EPHEMERAL", graceful=True, reboot=True))
    three.wait(durations.ETCD_LEAVE_LIMIT + durations.FAILURE_PAUSE + durations.REBOOT + durations.API_UP + 5)
    assert (machine(three, 3).boots, has_data(three, 3)) == (before + 1, True)


def test_a_reset_that_names_no_partition_ends_the_machine(three: TalosLab) -> None:
    three.call(1, "Reset", reset(reboot=True))
    three.wait(UNTIL_BACK)
    assert [each.server_id for each in three.machines.list()] == [2, 3]
    three.boot(1)
    three.wait(60)
    assert [each.server_id for each in three.machines.list()] == [2, 3], "nothing boots from an empty disk"


def test_a_reset_may_end_without_power(three: TalosLab) -> None:
    three.call(1, "Reset", reset("EPHEMERAL", reboot=False))
    three.wait(UNTIL_BACK)
    assert three.halted == [1]
    three.boot(1)
    three.wait(UNTIL_BACK)
    assert not machine(three).record["has_images"]


def test_power_that_is_cut_in_the_middle_of_a_reset_leaves_the_data(three: TalosLab) -> None:
    wipe(three)
    three.wait(2)
    three.run(three.machines.powered_off(1))
    three.boot(1)
    three.wait(UNTIL_BACK)
    assert has_data(three)


def test_a_label_that_is_not_wiped_is_only_looked_for(three: TalosLab) -> None:
    assert "partition" in refusal(lambda: three.call(1, "Reset", reset("DATA", reboot=True)))
    three.call(1, "Reset", reset("EPHEMERAL", wipes=False, reboot=True))
    three.wait(UNTIL_BACK)
    assert has_data(three)


@pytest.mark.parametrize("role", ["os:operator", "os:reader", "os:etcd:backup"])
def test_only_an_administrator_may_reset(three: TalosLab, role: str) -> None:
    assert refusal(lambda: three.call(1, "Reset", reset("EPHEMERAL"), roles=[role])) == "not authorized"


def test_a_reset_goes_on_after_a_kill_of_the_lab(tmp_path: Path) -> None:
    store = tmp_path / "store.sqlite"
    lab = TalosLab(store)
    lab.form_cluster(1)
    wipe(lab)
    lab.wait(2)
    now, network = lab.clock.now(), lab.network
    lab.close(keeps_network=True)
    again = TalosLab(store, start=now, on=network)
    try:
        again.wait(UNTIL_BACK)
        assert (machine(again).boots, has_data(again)) == (2, False)
    finally:
        again.close()
