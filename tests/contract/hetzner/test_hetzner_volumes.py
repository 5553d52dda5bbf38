"""Volumes, as the SDK drives them."""

from __future__ import annotations

from hcloud import Client
from hcloud.locations import Location
from hetzner_lab import HetznerLab, refusal, running


def test_a_volume_outlives_its_server(lab: HetznerLab, project: Client) -> None:
    server = running(lab, project)
    volume = project.volumes.create(10, "data", labels={"a": "b"}, server=server, format="ext4").volume
    assert [each.id for each in project.servers.get_by_id(server.id).volumes] == [volume.id]
    assert refusal(volume.delete) == "resource_in_use"
    server.delete()
    volume.reload()
    assert (volume.server, volume.size, volume.location.name) == (None, 10, "nbg1")
    assert project.volumes.delete(volume)
    assert project.volumes.get_all() == []


def test_a_volume_is_attached_detached_grown_and_protected(lab: HetznerLab, project: Client) -> None:
    server = running(lab, project)
    volume = project.volumes.create(10, "data", location=Location(name="nbg1")).volume
    volume.attach(server)
    assert refusal(lambda: volume.attach(server)) == "volume_already_attached"
    volume.detach()
    assert refusal(volume.detach) == "invalid_input"
    volume.resize(20)
    assert refusal(lambda: volume.resize(15)) == "invalid_input"
    volume.change_protection(delete=True)
    assert refusal(volume.delete) == "protected"
    volume.update(name="other", labels={"c": "d"})
    assert [(each.name, each.size) for each in project.volumes.get_all(label_selector="c=d")] == [("other", 20)]


def test_what_a_volume_cannot_be_is_refused(project: Client) -> None:
    place = Location(name="nbg1")
    assert refusal(lambda: project.volumes.create(9, "small", location=place)) == "invalid_input"
    assert refusal(lambda: project.volumes.create(10, "odd", location=place, format="ntfs")) == "invalid_input"
    assert refusal(lambda: project.volumes.create(10, "where", location=Location(name="moon"))) == "invalid_input"


def test_a_floating_address_is_made_found_and_deleted(project: Client) -> None:
    address = project.floating_ips.create("ipv4", name="f", home_location=Location(name="nbg1")).floating_ip
    address.update(name="g", labels={"a": "b"})
    assert [each.home_location.name for each in project.floating_ips.get_all(label_selector="a")] == ["nbg1"]
    address.delete()
    assert project.floating_ips.get_all() == []
