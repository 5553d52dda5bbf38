"""What is sold and what it costs, images, keys and groups, as the SDK drives them."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hcloud import Client
from hcloud.images import Image
from hetzner_lab import KEY, HetznerLab, order, refusal, running


def test_locations(project: Client) -> None:
    assert [place.name for place in project.locations.get_all()] == ["fsn1", "nbg1", "hel1", "ash", "hil", "sin"]
    place = project.locations.get_by_name("nbg1")
    assert (place.network_zone, project.locations.get_by_id(place.id).city) == ("eu-central", "Nuremberg")
    assert refusal(lambda: project.locations.get_by_id(77)) == "not_found"


def test_server_types_say_where_they_are_available(lab: HetznerLab, project: Client) -> None:
    kind = project.server_types.get_by_name("cx33")
    assert (kind.cores, kind.memory, kind.disk, kind.architecture) == (4, 8, 80, "x86")
    assert {place.location.name: place.available for place in kind.locations} == {
        "fsn1": True,
        "nbg1": True,
        "hel1": True,
    }
    assert project.server_types.get_by_name("cx22") is None
    lab.fault("no-capacity", times=0, match={"server_type": "cx33", "location": "nbg1"}, listed=True)
    kind = project.server_types.get_by_id(kind.id)
    assert [place.location.name for place in kind.locations if not place.available] == ["nbg1"]
    assert refusal(lambda: project.servers.create(**order())) == "resource_unavailable"


def test_all_families_are_sold(project: Client) -> None:
    names = {kind.name for kind in project.server_types.get_all()}
    assert {"cx23", "cx33", "cx43", "cx53", "cpx22", "cax11", "cax41", "ccx13", "ccx63"} <= names


def test_load_balancer_types_have_limits(project: Client) -> None:
    kind = project.load_balancer_types.get_by_name("lb11")
    assert (kind.max_services, kind.max_targets) == (5, 25)
    assert project.load_balancer_types.get_by_id(kind.id).name == "lb11"
    assert [each.name for each in project.load_balancer_types.get_all()] == ["lb11", "lb21", "lb31"]


def test_prices_are_the_same_everywhere_and_obviously_invented(lab: HetznerLab, project: Client) -> None:
    pricing = project.request(method="GET", url="/pricing")["pricing"]
    assert (pricing["currency"], pricing["vat_rate"]) == ("EUR", "19.000000")
    listed = {each["name"]: each["prices"] for each in pricing["server_types"]}
    kind = project.server_types.get_by_name("cx33")
    assert listed["cx33"] == kind.prices
    monthly = kind.prices[0]["price_monthly"]
    assert Decimal(monthly["net"]) == Decimal("4.4444")
    assert Decimal(monthly["gross"]) == Decimal("4.4444") * Decimal("1.19")


def test_datacenters_are_gone(project: Client) -> None:
    with pytest.warns(DeprecationWarning):
        datacenters = project.datacenters
    assert refusal(datacenters.get_all) == "deprecated_api_endpoint"


def test_stock_images_exist_for_both_architectures(project: Client) -> None:
    found = project.images.get_list(name="ubuntu-24.04", type=["system"], status=["available"]).images
    assert {image.architecture for image in found} == {"x86", "arm"}
    assert refusal(found[0].delete) == "forbidden"


def test_snapshots_are_described_protected_and_deleted(lab: HetznerLab, project: Client) -> None:
    server = running(lab, project)
    made = server.create_image(description="one", labels={"os": "talos"})
    lab.wait(61)
    image = project.images.get_by_id(made.image.id)
    image.update(description="two", labels={"os": "talos", "v": "1"})
    assert project.images.get_list(label_selector="os=talos,v==1", architecture=["x86"]).images[0].description == "two"
    assert project.images.get_list(label_selector="os=talos", architecture=["arm"]).images == []
    image.change_protection(delete=True)
    assert refusal(image.delete) == "protected"
    image.change_protection(delete=False)
    image.delete()
    assert refusal(lambda: project.servers.create(**order(name="two", image=Image(id=image.id)))) == "invalid_input"
    assert project.servers.get_by_id(server.id).image.name == "debian-12"


def test_backups_belong_to_their_server(lab: HetznerLab, project: Client) -> None:
    server = running(lab, project)
    made = server.create_image(type="backup")
    assert made.image.bound_to.id == server.id
    made.image.update(type="snapshot")
    assert project.images.get_by_id(made.image.id).type == "snapshot"


def test_ssh_keys(project: Client) -> None:
    key = project.ssh_keys.create(name="k", public_key=KEY, labels={"a": "b"})
    assert len(key.fingerprint) == 47
    assert refusal(lambda: project.ssh_keys.create(name="l", public_key=KEY)) == "uniqueness_error"
    assert refusal(lambda: project.ssh_keys.create(name="l", public_key="ssh-rsa nonsense")) == "invalid_input"
    assert project.ssh_keys.get_by_fingerprint(key.fingerprint).id == key.id
    key.update(name="m", labels={})
    assert project.ssh_keys.get_by_name("m").labels == {}
    assert project.servers.create(**order(ssh_keys=[key])).root_password is None
    key.delete()
    assert project.ssh_keys.get_all() == []


def test_placement_groups(project: Client) -> None:
    group = project.placement_groups.create(name="g", type="spread", labels={"a": "b"}).placement_group
    group.update(name="h", labels={"c": "d"})
    assert project.placement_groups.get_all(label_selector="c")[0].name == "h"
    assert refusal(lambda: project.placement_groups.create(name="h", type="spread")) == "uniqueness_error"
    group.delete()
    assert project.placement_groups.get_by_name("h") is None


def test_actions_are_found_by_id_and_by_resource(lab: HetznerLab, project: Client) -> None:
    server = running(lab, project)
    actions = project.servers.actions.get_all()
    assert [action.command for action in actions] == ["create_server", "start_server"]
    assert project.servers.actions.get_by_id(actions[0].id).resources == [{"id": server.id, "type": "server"}]
    query = "&".join(f"id={action.id}" for action in reversed(actions))
    answer = lab.http("GET", f"/actions?{query}&sort=status&sort=id").json()
    assert [action["id"] for action in answer["actions"]] == [action.id for action in actions]
    assert lab.http("GET", "/actions").status_code == 410
    assert refusal(lambda: project.actions.get_by_id(1)) == "not_found"


def test_failed_action_says_why(lab: HetznerLab, project: Client) -> None:
    lab.fault("action-error", match={"route": "POST /servers"}, code="no_space", message="no space left")
    made = project.servers.create(**order())
    lab.wait(30)
    made.action.reload()
    assert (made.action.status, made.action.error) == ("error", {"code": "no_space", "message": "no space left"})
    assert project.actions.get_by_id(made.next_actions[0].id).status == "error"
    assert project.servers.get_by_id(made.server.id).status == "initializing"


@pytest.mark.parametrize("plural", ["servers", "networks", "load_balancers", "firewalls", "images", "primary_ips"])
def test_every_kind_lists_its_actions(lab: HetznerLab, project: Client, plural: str) -> None:
    made = _one_of_each(lab, project)
    whole = project.request(method="GET", url=f"/{plural}/actions")["actions"]
    own = project.request(method="GET", url=f"/{plural}/{made[plural]}/actions")["actions"]
    assert [action["id"] for action in own] == [action["id"] for action in whole]
    for url in (f"/{plural}/actions/{own[0]['id']}", f"/{plural}/{made[plural]}/actions/{own[0]['id']}"):
        assert project.request(method="GET", url=url)["action"] == own[0]
    assert refusal(lambda: project.request(method="GET", url=f"/{plural}/77/actions")) == "not_found"


def _one_of_each(lab: HetznerLab, project: Client) -> dict[str, int]:
    """Make one resource of each kind that has actions, and one action for each."""
    server = running(lab, project)
    network = project.networks.create(name="n", ip_range="10.10.0.0/16")
    network.change_protection(delete=False)
    kind, place = project.load_balancer_types.get_by_name("lb11"), project.locations.get_by_name("nbg1")
    balancer = project.load_balancers.create(name="lb", load_balancer_type=kind, location=place).load_balancer
    image = server.create_image(description="one").image
    address = project.primary_ips.create(type="ipv6", name="p", location=place).primary_ip
    firewall = project.firewalls.create(name="f").firewall
    return {
        "servers": server.id,
        "networks": network.id,
        "load_balancers": balancer.id,
        "firewalls": firewall.id,
        "images": image.id,
        "primary_ips": address.id,
    }
