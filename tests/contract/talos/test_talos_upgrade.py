"""An upgrade in place as the lab's machines do it, driven by the product's own verbs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
from grpclib.exceptions import GRPCError
from talos_lab import TalosLab

from tallship.adapters import talos_upgrade
from tallship.errors import ApiError
from tallship.lab.faults import Fault
from tallship.lab.talos import durations
from tallship.lab.talos.machine import Machine
from tallship.talosproto import machine_pb2

SCHEMATIC = hashlib.sha256(b"customization: {}\n").hexdigest()


def installer(version: str, schematic: str = SCHEMATIC, name: str = "hcloud-installer") -> str:
    return f"factory.talos.dev/{name}/{schematic}:{version}"


@pytest.fixture
def one(lab: TalosLab) -> TalosLab:
    """A cluster of one machine, and a factory that knows one schematic."""
    with_schematic(lab).form_cluster(1)
    return lab


@pytest.fixture
def three(lab: TalosLab) -> TalosLab:
    with_schematic(lab).form_cluster(3)
    return lab


def machine(lab: TalosLab, number: int = 1) -> Machine:
    return next(each for each in lab.machines.list() if each.server_id == number)


def drained(lab: TalosLab, number: int = 1) -> None:
    """Do what the cluster does with a node whose stage asks for it."""

    async def note() -> None:
        machine(lab, number).note_upgrade("cordoned_at")
        machine(lab, number).note_upgrade("drained_at")

    lab.run(note())


def with_schematic(lab: TalosLab) -> TalosLab:
    """Make the image factory know the schematic."""

    async def note() -> None:
        lab.store.table("schematics")[SCHEMATIC] = {}

    lab.run(note())
    return lab


def start(lab: TalosLab, image: str, number: int = 1) -> None:
    lab.clock.run_client(lambda: talos_upgrade.start(lab.talos(lab.address(number)), lab.private(number), image))


def refused(work: Callable[[], object]) -> ApiError:
    with pytest.raises(ApiError) as caught:
        work()
    return caught.value


def boot_id(lab: TalosLab, number: int = 1) -> str:
    return talos_upgrade.boot_id(lab.talos(lab.address(number)), lab.private(number))


@pytest.mark.parametrize("name", ["hcloud-installer", "metal-installer", "installer"])
def test_a_machine_boots_what_was_installed(one: TalosLab, name: str) -> None:
    before = boot_id(one)
    start(one, installer("v1.12.3", name=name))
    assert machine(one).stage == "upgrading"
    assert "phase drain" in "\n".join(talos_upgrade.kernel_log(one.talos(), one.private(1), 5))
    drained(one)
    one.wait(120)
    assert (machine(one).talos_version, machine(one).stage) == ("v1.12.3", "running")
    assert boot_id(one) != before
    assert len(one.talos().members(one.private(1))) == 1, "an upgrade does not leave etcd"


def test_etcd_and_the_api_server_are_away_while_it_is_installed(one: TalosLab) -> None:
    start(one, installer("v1.12.3"))
    drained(one)
    one.wait(12)
    assert (machine(one).etcd_state, machine(one).stage) == ("Finished", "upgrading")
    assert not machine(one).serves_kubernetes
    assert machine(one).serves_talos


def test_a_boot_is_told_by_its_id_to_administrators_only(one: TalosLab) -> None:
    assert boot_id(one) == boot_id(one)
    talos = one.talos(one.address(1), roles=("os:operator",))
    assert refused(lambda: talos_upgrade.boot_id(talos, one.private(1))).code == "PERMISSION_DENIED"
    with pytest.raises(GRPCError, match="no such file"):
        one.call(1, "Read", machine_pb2.ReadRequest(path="/etc/passwd"), most=1)


def test_a_node_that_tells_nothing_has_not_booted_again(one: TalosLab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tallship.lab.talos.machine.boot_id", lambda hostname, boots: "")
    assert refused(lambda: boot_id(one)).may_pass


@pytest.mark.parametrize(
    "image",
    [
        "",
        "factory.talos.dev/hcloud-installer/abc:v1.12.3",
        f"factory.talos.dev/hcloud-installer/{'0' * 64}:v1.12.3",
        installer("v1.99.0"),
        installer("latest"),
    ],
)
def test_an_installer_that_is_not_there_is_refused_before_the_answer(one: TalosLab, image: str) -> None:
    error = refused(lambda: start(one, image))
    assert (error.code, error.may_pass) == ("UNKNOWN", False)
    assert "error validating installer image" in error.message
    assert machine(one).stage == "running"


def test_two_members_are_refused_and_one_is_not(lab: TalosLab) -> None:
    with_schematic(lab).form_cluster(2)
    assert "member count(2) is insufficient" in refused(lambda: start(lab, installer("v1.12.3"))).message
    forced = machine_pb2.UpgradeRequest(image=installer("v1.12.3"), force=True)
    lab.clock.run_client(lambda: lab.call(1, "Upgrade", forced, metadata=[("client", "tallship")]))
    assert machine(lab).stage == "upgrading"


@pytest.mark.parametrize("how", ["sick", "without power"])
def test_every_member_must_answer(three: TalosLab, how: str) -> None:
    if how == "sick":
        three.faults.add(Fault("etcd-member-unhealthy", {"machine": "k8s-control-plane-3"}, times=0))
    else:
        three.run(three.machines.powered_off(3))
    assert "is not healthy" in refused(lambda: start(three, installer("v1.12.3"))).message


def test_a_learner_is_refused(three: TalosLab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(durations, "ETCD_LEARNING", 300.0)
    three.boot(4)
    three.wait(60)
    assert any(each.is_learner for each in three.talos().members(three.private(1)))
    assert "is not healthy" in refused(lambda: start(three, installer("v1.12.3"))).message


def test_only_one_machine_of_a_cluster_asks_etcd_at_a_time(three: TalosLab) -> None:
    three.machines.etcd.upgrade_locks.add(machine(three).cluster_id)
    assert "failed to acquire upgrade lock" in refused(lambda: start(three, installer("v1.12.3"))).message


@pytest.mark.parametrize("trouble", ["jump", "installer", "cordon"])
def test_what_goes_wrong_in_the_machine_ends_in_the_old_version(one: TalosLab, trouble: str) -> None:
    before = boot_id(one)
    if trouble == "installer":
        one.faults.add(Fault("upgrade-fails", {"machine": "k8s-control-plane-1"}))
    start(one, installer("v1.10.5" if trouble == "jump" else "v1.12.3"))
    if trouble != "cordon":
        drained(one)
    one.wait(150)
    assert boot_id(one) != before
    assert (machine(one).talos_version, machine(one).stage) == ("v1.12.2", "running")


def test_an_upgrade_under_way_is_disturbed_by_nothing(one: TalosLab) -> None:
    start(one, installer("v1.12.3"))
    talos_upgrade.reboot(one.talos(), one.private(1))
    assert machine(one).stage == "upgrading"
    drained(one)
    one.wait(120)
    assert machine(one).talos_version == "v1.12.3"


def test_power_that_goes_during_the_upgrade_ends_it(one: TalosLab) -> None:
    start(one, installer("v1.12.3"))
    drained(one)
    one.wait(12)
    one.run(one.machines.powered_off(1))
    one.boot(1)
    one.wait(120)
    assert (machine(one).talos_version, machine(one).stage) == ("v1.12.2", "running")


def test_what_is_on_the_disk_is_booted_after_a_loss_of_power(one: TalosLab) -> None:
    start(one, installer("v1.12.3"))
    drained(one)
    one.wait(120)
    one.run(one.machines.powered_off(1))
    one.boot(1)
    assert machine(one).talos_version == "v1.12.3"


@pytest.mark.parametrize("after", [1, 12, 20])
def test_an_upgrade_survives_the_lab(tmp_path: Path, after: float) -> None:
    lab = TalosLab(tmp_path / "store")
    with_schematic(lab).form_cluster(1)
    start(lab, installer("v1.12.3"))
    drained(lab)
    lab.wait(after)
    stage, now = machine(lab).stage, lab.clock.now()
    lab.close(keeps_network=True)
    again = TalosLab(tmp_path / "store", start=now, on=lab.network)
    try:
        assert (machine(again).stage, stage) == ("upgrading", "upgrading")
        again.wait(150)
        assert (machine(again).talos_version, machine(again).stage) == ("v1.12.3", "running")
    finally:
        again.close()


def at_1_13(lab: TalosLab) -> None:
    machine(lab).change(talos="v1.13.0")


def install(lab: TalosLab, image: str) -> list[str]:
    said: list[str] = []
    lab.clock.run_client(lambda: talos_upgrade.install(lab.talos(), lab.private(1), image, said.append))
    return said


def test_lifecycle_calls_are_there_from_1_13_on(one: TalosLab) -> None:
    assert refused(lambda: install(one, installer("v1.13.0"))).code == "UNIMPLEMENTED"
    at_1_13(one)
    before = boot_id(one)
    assert "installation complete" in install(one, installer("v1.13.1"))
    assert (machine(one).talos_version, machine(one).stage, boot_id(one)) == ("v1.13.0", "running", before)
    talos_upgrade.reboot(one.talos(), one.private(1))
    one.wait(60)
    assert machine(one).talos_version == "v1.13.1"


def test_any_reboot_enters_what_was_installed(one: TalosLab) -> None:
    at_1_13(one)
    install(one, installer("v1.13.1"))
    one.run(one.machines.powered_off(1))
    one.boot(1)
    assert machine(one).talos_version == "v1.13.1"


@pytest.mark.parametrize("trouble", ["jump", "installer"])
def test_an_installer_that_fails_has_stopped_nothing(one: TalosLab, trouble: str) -> None:
    at_1_13(one)
    if trouble == "installer":
        one.faults.add(Fault("upgrade-fails", {"machine": "k8s-control-plane-1"}))
    error = refused(lambda: install(one, installer("v1.11.0" if trouble == "jump" else "v1.13.1")))
    assert error.code == "INSTALLER"
    assert "status 1" in error.message
    assert ("too new to downgrade" if trouble == "jump" else "input/output error") in error.detail
    talos_upgrade.reboot(one.talos(), one.private(1))
    one.wait(60)
    assert machine(one).talos_version == "v1.13.0"


def test_an_installer_that_nobody_has_is_not_pulled(one: TalosLab) -> None:
    at_1_13(one)
    assert refused(lambda: install(one, installer("v1.99.0"))).code == "NOT_FOUND"


def test_a_call_that_must_not_be_repeated_goes_to_the_endpoint_that_is_up(three: TalosLab) -> None:
    three.run(three.machines.powered_off(1))
    talos = three.talos(three.address(1), three.address(2), three.address(3))
    talos_upgrade.reboot(talos, three.private(2))
    assert [machine(three, number).boots for number in (2, 3)] == [2, 1]


def test_a_call_that_breaks_off_is_not_made_again_elsewhere(three: TalosLab) -> None:
    three.faults.add(Fault("reset", {"rpc": "Reboot"}))
    talos = three.talos(three.address(1), three.address(2))
    assert refused(lambda: talos_upgrade.reboot(talos, three.private(3))).may_pass
    assert talos.calls == {"Reboot": 1}
    assert machine(three, 3).boots == 1


def test_leadership_is_given_away(three: TalosLab) -> None:
    talos = three.talos()
    key = machine(three).cluster_id
    first = three.machines.etcd.leader(key, three.machines.alive(key))
    assert first is not None
    assert talos_upgrade.forfeit_leadership(talos, first.address) not in ("", first.hostname)
    assert talos_upgrade.forfeit_leadership(talos, first.address) == ""
