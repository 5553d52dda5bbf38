"""Servers, as the SDK drives them: every verb, every power state, every refusal."""

from __future__ import annotations

from typing import Any

import pytest
from hcloud import Client
from hcloud.images import Image
from hcloud.locations import Location
from hcloud.networks import NetworkSubnet
from hcloud.server_types import ServerType
from hcloud.servers import ServerCreatePublicNetwork
from hetzner_lab import KEY, HetznerLab, order, refusal, running


def test_creation_takes_its_time(lab: HetznerLab, project: Client) -> None:
    made = project.servers.create(**order(user_data="machine: config", labels={"a": "b"}))
    assert (made.server.status, made.action.command, made.action.status) == ("initializing", "create_server", "running")
    assert [action.command for action in made.next_actions] == ["start_server"]
    assert made.root_password
    lab.wait(25.5)
    assert project.servers.get_by_name("one").status == "starting"
    lab.wait(4)
    server = project.servers.get_by_id(made.server.id)
    assert (server.status, server.locked, server.labels) == ("running", False, {"a": "b"})
    for action in (made.action, *made.next_actions):
        action.reload()
        assert (action.status, action.progress) == ("success", 100)
    document, user_data, image = lab.machines.booted[0]
    assert (document["name"], user_data, image["name"], image["content"]) == (
        "one",
        "machine: config",
        "debian-12",
        {"os": "debian-12"},
    )


def test_public_addresses_are_the_labs_own(lab: HetznerLab, project: Client) -> None:
    server = project.servers.create(**order()).server
    assert server.public_net.ipv4.ip.startswith(lab.address.rpartition(".")[0])
    assert server.public_net.primary_ipv4.ip == server.public_net.ipv4.ip
    assert server.public_net.ipv6.ip.startswith("2001:db8:")


def test_power_changes_are_told_to_the_machine(lab: HetznerLab, project: Client) -> None:
    server = running(lab, project)
    server.shutdown()
    lab.wait(2)
    assert project.servers.get_by_id(server.id).status == "running", "the signal is sent, the system still runs"
    lab.wait(8)
    assert project.servers.get_by_id(server.id).status == "off"
    server.power_on()
    lab.wait(5)
    server.reset()
    lab.wait(2)
    server.reboot()
    lab.wait(10)
    server.power_off()
    assert project.servers.get_by_id(server.id).status == "stopping"
    lab.wait(3)
    assert [power for power, _ in lab.machines.told] == ["on", "off", "on", "off", "on", "off", "on", "off"]


def test_shutdown_signal_of_an_earlier_boot_is_forgotten(lab: HetznerLab, project: Client) -> None:
    server = running(lab, project)
    server.shutdown()
    lab.wait(1.5)
    server.reset()
    lab.wait(20)
    assert project.servers.get_by_id(server.id).status == "running"


def test_system_that_shuts_itself_down_leaves_the_server_off(lab: HetznerLab, project: Client) -> None:
    server = running(lab, project)
    lab.run(lab.api.halted(server.id))
    assert project.servers.get_by_id(server.id).status == "off"


def test_deleted_server_is_gone_at_once(lab: HetznerLab, project: Client) -> None:
    server = running(lab, project)
    action = server.delete()
    assert action.command == "delete_server"
    assert project.servers.get_by_name("one") is None
    assert refusal(lambda: project.servers.get_by_id(server.id)) == "not_found"
    assert lab.machines.told[-1] == ("deleted", server.id)
    assert project.primary_ips.get_all() == []
    assert running(lab, project).public_net.ipv4.ip == server.public_net.ipv4.ip, "its address is free again"


def test_server_is_locked_while_an_action_holds_it(lab: HetznerLab, project: Client) -> None:
    server = project.servers.create(**order()).server
    assert server.locked
    assert refusal(server.power_off) == "locked"
    assert refusal(server.create_image) == "locked"


def test_snapshot_carries_what_was_written_to_the_disk(lab: HetznerLab, project: Client) -> None:
    key = project.ssh_keys.create(name="k", public_key=KEY)
    server = project.servers.create(**order(start_after_create=False, ssh_keys=[key])).server
    lab.wait(26)
    assert project.servers.get_by_id(server.id).status == "off"
    answer = server.enable_rescue(type="linux64", ssh_keys=[str(key.id)])
    assert answer.root_password
    lab.wait(2)
    assert project.servers.get_by_id(server.id).rescue_enabled
    server.power_on()
    lab.wait(5)
    assert lab.machines.booted[-1][2] == {"rescue": True, "ssh_keys": [KEY], "root_password": answer.root_password}
    assert not project.servers.get_by_id(server.id).rescue_enabled, "for one boot only"
    lab.call(lambda: lab.api.write_disk(server.id, {"talos": "v1.12.2"}))
    server.power_off()
    lab.wait(3)
    made = server.create_image(description="talos", type="snapshot", labels={"os": "talos"})
    assert made.image.status == "creating"
    assert refusal(lambda: project.servers.create(**order(name="two", image=made.image))) == "invalid_input"
    lab.wait(61)
    image = project.images.get_list(label_selector="os=talos", architecture=["x86"]).images[0]
    assert (image.status, image.type, image.disk_size, image.created_from.id) == (
        "available",
        "snapshot",
        80,
        server.id,
    )
    server.delete()
    running(lab, project, name="two", image=image)
    assert lab.machines.booted[-1][2]["content"] == {"talos": "v1.12.2"}


def test_rescue_system_expires_when_nobody_boots_it(lab: HetznerLab, project: Client) -> None:
    server = running(lab, project)
    server.enable_rescue(type="linux64")
    lab.wait(3601)
    assert not project.servers.get_by_id(server.id).rescue_enabled
    server.enable_rescue(type="linux64")
    lab.wait(2)
    server.disable_rescue()
    lab.wait(2)
    server.reset()
    lab.wait(2)
    assert "rescue" not in lab.machines.booted[-1][2]


def test_rebuild_boots_from_another_image(lab: HetznerLab, project: Client) -> None:
    server = running(lab, project)
    server.rebuild(Image(name="ubuntu-24.04"))
    assert project.servers.get_by_id(server.id).status == "rebuilding"
    lab.wait(26)
    assert [power for power, _ in lab.machines.told] == ["on", "off", "on"]
    assert lab.machines.booted[-1][2]["content"] == {"os": "ubuntu-24.04"}


def test_type_changes_only_while_off(lab: HetznerLab, project: Client) -> None:
    server = running(lab, project)
    bigger = ServerType(name="cx43")
    assert refusal(lambda: server.change_type(bigger, upgrade_disk=False)) == "server_not_stopped"
    server.power_off()
    lab.wait(3)
    assert refusal(lambda: server.change_type(ServerType(name="cax21"), upgrade_disk=False)) == "invalid_server_type"
    server.change_type(bigger, upgrade_disk=True)
    lab.wait(21)
    server.reload()
    assert (server.server_type.name, server.primary_disk_size) == ("cx43", 160)


def test_networks_are_attached_and_detached(lab: HetznerLab, project: Client) -> None:
    subnet = NetworkSubnet(ip_range="10.10.64.0/25", type="cloud", network_zone="eu-central")
    network = project.networks.create(name="n", ip_range="10.10.0.0/16", subnets=[subnet])
    server = running(lab, project)
    server.attach_to_network(network, alias_ips=["10.10.64.9"])
    server.reload()
    assert [(net.network.id, net.ip, net.alias_ips) for net in server.private_net] == [
        (network.id, "10.10.64.1", ["10.10.64.9"])
    ]
    assert refusal(lambda: server.attach_to_network(network)) == "server_already_attached"
    server.change_alias_ips(network, alias_ips=["10.10.64.10"])
    members = project.networks.get_member_all(network)
    assert [(member.type, member.ip, member.subnet, member.alias_ips) for member in members] == [
        ("server", "10.10.64.1", "10.10.64.0/25", ["10.10.64.10"])
    ]
    other = project.networks.create(name="m", ip_range="10.10.64.0/20", subnets=[subnet])
    assert refusal(lambda: server.attach_to_network(other)) == "networks_overlap"
    server.detach_from_network(network)
    assert project.servers.get_by_id(server.id).private_net == []
    busy = project.servers.create(**order(name="two", networks=[network])).server
    assert [net.ip for net in busy.private_net] == ["10.10.64.1"]
    assert refusal(lambda: server.attach_to_network(network, ip="10.10.64.1")) == "ip_not_available"
    empty = project.networks.create(name="e", ip_range="10.20.0.0/16")
    assert refusal(lambda: server.attach_to_network(empty)) == "no_subnet_available"


def test_placement_group_takes_ten_servers(lab: HetznerLab, project: Client) -> None:
    group = project.placement_groups.create(name="g", type="spread").placement_group
    for number in range(10):
        project.servers.create(**order(name=f"s{number}", placement_group=group))
    assert refusal(lambda: project.servers.create(**order(placement_group=group))) == "placement_error"
    assert len(project.placement_groups.get_by_id(group.id).servers) == 10
    lab.wait(30)
    first = project.servers.get_by_name("s0")
    first.remove_from_placement_group()
    assert refusal(lambda: first.add_to_placement_group(group)) == "server_not_stopped"
    first.power_off()
    lab.wait(3)
    first.add_to_placement_group(group)
    assert refusal(lambda: first.add_to_placement_group(group)) == "already_in_placement_group"
    project.placement_groups.delete(group)
    assert project.servers.get_by_name("s1").placement_group is None


def test_names_labels_protection_and_pointers(lab: HetznerLab, project: Client) -> None:
    server = running(lab, project)
    before = lab.writes["hetzner"]
    server.update(name="renamed", labels={"x": "y"})
    server.update(name="renamed", labels={"x": "y"})
    assert lab.writes["hetzner"] == before + 1, "the second update changed nothing"
    assert [each.name for each in project.servers.get_all(label_selector="x=y")] == ["renamed"]
    assert refusal(lambda: server.update(name="not a host")) == "invalid_input"
    server.change_protection(delete=True, rebuild=True)
    assert refusal(server.delete) == "protected"
    assert refusal(lambda: server.change_protection(delete=False, rebuild=True)) == "invalid_input"
    server.change_protection(delete=False, rebuild=False)
    server.change_dns_ptr(server.public_net.ipv4.ip, "a.example")
    assert project.servers.get_by_id(server.id).public_net.ipv4.dns_ptr == "a.example"
    assert [action.command for action in server.get_actions()][:2] == ["create_server", "start_server"]


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"name": "no_host"}, "invalid_input"),
        ({"server_type": ServerType(name="cx22")}, "invalid_input"),
        ({"server_type": ServerType(name="cax11"), "location": Location(name="ash")}, "invalid_input"),
        ({"location": Location(name="mars")}, "invalid_input"),
        ({"image": Image(name="talos")}, "invalid_input"),
        ({"image": Image(id=1)}, "invalid_input"),
        ({"user_data": "x" * (32 * 1024 + 1)}, "invalid_input"),
        ({"labels": {"hetzner.cloud/x": "y"}}, "invalid_input"),
        ({"labels": {"x": "y" * 64}}, "invalid_input"),
        ({"public_net": ServerCreatePublicNetwork(enable_ipv4=False, enable_ipv6=False)}, "invalid_input"),
    ],
)
def test_wrong_orders_are_refused(lab: HetznerLab, project: Client, more: dict[str, Any], code: str) -> None:
    assert refusal(lambda: project.servers.create(**order(**more))) == code
    assert project.servers.get_all() == []
    assert lab.writes["hetzner"] == 0


def test_names_are_unique(project: Client) -> None:
    project.servers.create(**order())
    assert refusal(lambda: project.servers.create(**order())) == "uniqueness_error"


def test_image_of_another_architecture_or_a_bigger_disk_does_not_fit(lab: HetznerLab, project: Client) -> None:
    arm = project.images.get_list(name="debian-12", architecture=["arm"]).images[0]
    assert refusal(lambda: project.servers.create(**order(image=arm))) == "invalid_input"
    big = lab.call(
        lambda: lab.api.add_snapshot("big", {}, architecture="x86", disk_gb=160, content={"talos": "v1.12.2"})
    )
    assert refusal(lambda: project.servers.create(**order(image=Image(id=big["id"])))) == "invalid_input"


def test_primary_ips_outlive_servers_and_are_assigned_while_off(lab: HetznerLab, project: Client) -> None:
    made = project.primary_ips.create(type="ipv4", name="p", location=Location(name="nbg1"))
    address = made.primary_ip
    assert address.assignee_type == "unassigned"
    elsewhere = project.primary_ips.create(type="ipv4", name="q", location=Location(name="fsn1")).primary_ip
    wrong = ServerCreatePublicNetwork(ipv4=elsewhere)
    assert refusal(lambda: project.servers.create(**order(public_net=wrong))) == "primary_ip_datacenter_mismatch"
    server = running(lab, project, public_net=ServerCreatePublicNetwork(ipv4=address, enable_ipv6=False))
    assert server.public_net.ipv4.ip == address.ip
    assert refusal(lambda: project.primary_ips.delete(address)) == "must_be_unassigned"
    taken = ServerCreatePublicNetwork(ipv4=address)
    assert refusal(lambda: project.servers.create(**order(name="two", public_net=taken))) == "primary_ip_assigned"
    assert refusal(address.unassign) == "server_not_stopped"
    server.power_off()
    lab.wait(3)
    address.unassign()
    address.assign(assignee_id=server.id, assignee_type="server")
    assert refusal(lambda: elsewhere.assign(server.id, "server")) == "server_has_ipv4"
    address.change_dns_ptr(address.ip, "p.example")
    address.change_protection(delete=True)
    address.update(name="pp", labels={"a": "b"}, auto_delete=False)
    server.delete()
    kept = project.primary_ips.get_by_name("pp")
    assert (kept.assignee_id, kept.protection["delete"]) == (None, True)
    assert refusal(kept.delete) == "protected"
    elsewhere.delete()
