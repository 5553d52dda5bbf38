"""The Hetzner adapter against the lab's Hetzner API, over TLS."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from hetzner_project import OWNED, Project

from tallship.adapters.hetzner import Hetzner
from tallship.adapters.hetzner_errors import CHOOSE_ANOTHER, HINTS, MAY_PASS
from tallship.errors import ApiError, SetupError, Unreachable
from tallship.lab.store import Store
from tallship.lab.world import Authority

LABELS = {"caph-cluster-k8s": "owned"}
RULES = [
    {
        "direction": "in",
        "protocol": "tcp",
        "port": "6443",
        "source_ips": ["10.0.0.0/8"],
        "destination_ips": [],
        "description": "Kubernetes API",
    }
]
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFhIuuSGbMJLmZWFaZ2mNcRlDsuK5I8wMkZfYKpDqVxE someone"


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    made = Project(tmp_path)
    yield made
    made.close()


@pytest.fixture
def hetzner(project: Project) -> Hetzner:
    return project.hetzner()


def test_good_token_passes_and_nothing_is_written(project: Project, hetzner: Hetzner) -> None:
    hetzner.check_token()
    assert project.writes == {}
    assert hetzner.calls == {"PUT /ssh_keys/ID": 1}


def test_token_that_may_only_read_is_a_setup_error(project: Project) -> None:
    with pytest.raises(SetupError, match="may only read") as caught:
        project.hetzner(project.token(writable=False)).check_token()
    assert "read and write" in caught.value.hint


def test_unknown_token_is_a_setup_error(project: Project) -> None:
    with pytest.raises(SetupError, match="does not accept the token"):
        project.hetzner("a" * 64).check_token()


@pytest.mark.parametrize("token", ["", "two\nlines", "ungültig", "a b", "Bearer x"])
def test_what_cannot_be_a_token_is_a_setup_error_that_does_not_tell_it(token: str) -> None:
    with pytest.raises(SetupError) as caught:
        Hetzner(token, "https://127.0.0.1:1/v1")
    assert not token or token not in f"{caught.value.message} {caught.value.detail} {caught.value.hint}"


def test_server_types_tell_where_they_can_be_had(hetzner: Hetzner) -> None:
    found = hetzner.find_server_type("cx33")
    assert found is not None
    assert found.architecture == "amd64"
    assert found.available_in <= hetzner.list_locations()
    assert "nbg1" in found.available_in
    assert hetzner.find_server_type("cx1000") is None
    assert {"amd64", "arm64"} == {each.architecture for each in hetzner.list_server_types()}


def test_prices_are_told_per_month(hetzner: Hetzner) -> None:
    prices = hetzner.pricing()
    assert prices.currency == "EUR"
    assert prices.server("cx33", "nbg1") > Decimal(0)
    assert prices.load_balancer("lb11", "nbg1") > Decimal(0)
    assert prices.primary_ipv4("nbg1") > Decimal(0)
    with pytest.raises(ApiError, match="no price of cx1000"):
        prices.server("cx1000", "nbg1")


def test_images_are_found_by_label_and_architecture(project: Project, hetzner: Hetzner) -> None:
    project.snapshot(**{"caph-image-name": "talos"})
    assert [each.status for each in hetzner.list_images("caph-image-name=talos", "x86")] == ["available"]
    assert hetzner.list_images("caph-image-name=talos", "arm") == []
    assert hetzner.list_images("caph-image-name=other", "x86") == []


def test_firewall_is_made_once_and_then_only_what_differs_is_set(project: Project, hetzner: Hetzner) -> None:
    hetzner.put_firewall("k8s", RULES, OWNED, {"managed-by": "tallship"})
    found = hetzner.find_firewall("k8s")
    assert found is not None
    assert list(found.rules) == RULES
    assert found.selectors == {OWNED}
    assert found.labels == {"managed-by": "tallship"}
    project.wait(30)
    project.writes.clear()
    hetzner.put_firewall("k8s", RULES, OWNED, {"managed-by": "tallship"})
    assert project.writes == {}
    hetzner.put_firewall("k8s", [{**RULES[0], "port": "50000"}], OWNED, {})
    assert project.writes["hetzner"] == 1
    assert hetzner.find_firewall("other") is None


def test_server_tells_whether_its_firewall_is_applied(project: Project, hetzner: Hetzner) -> None:
    hetzner.put_firewall("k8s", RULES, OWNED, {})
    key = hetzner.create_ssh_key("builder", KEY, LABELS)
    made = hetzner.create_server("one", "cx33", "nbg1", "debian-12", LABELS, [key])
    assert made.labels == LABELS
    firewall = hetzner.find_firewall("k8s")
    assert firewall is not None
    project.wait(120)
    found = hetzner.list_servers(OWNED)
    assert [(each.name, each.status, each.location) for each in found] == [("one", "off", "nbg1")]
    assert found[0].firewalls == {firewall.id: "applied"}
    assert found[0].ipv4.startswith("127.")
    assert hetzner.list_servers("caph-cluster-other=owned") == []
    assert hetzner.list_owned(OWNED) == ["server one"]


def test_image_is_built_from_a_rescue_system(project: Project, hetzner: Hetzner) -> None:
    key = hetzner.create_ssh_key("builder", KEY, LABELS)
    server = hetzner.create_server("builder", "cx33", "nbg1", "debian-12", LABELS, [key])
    project.wait(60)
    hetzner.enable_rescue(server.id, [key])
    project.wait(10)
    hetzner.power_on(server.id)
    project.wait(60)
    assert hetzner.get_server(server.id).status == "running"
    hetzner.power_off(server.id)
    project.wait(30)
    image = hetzner.create_image(server.id, "Talos", {"caph-image-name": "talos"})
    project.wait(600)
    assert [each.id for each in hetzner.list_images("caph-image-name=talos", "x86")] == [image]
    for _ in range(2):
        hetzner.delete_server(server.id)
        hetzner.delete_ssh_key(key)
        project.wait(60)
    assert hetzner.list_servers(OWNED) == []
    assert hetzner.list_ssh_keys(OWNED) == []


def test_names_that_others_have_are_told(project: Project, hetzner: Hetzner) -> None:
    hetzner.put_firewall("k8s", RULES, OWNED, {})
    groups, ours = ("k8s-control-plane", "k8s-general"), ("caph-cluster-k8s",)
    assert hetzner.names_taken(network="k8s", placement_groups=groups, firewall="k8s", ours=ours) == ["firewall `k8s`"]
    hetzner.put_firewall("ours", RULES, OWNED, LABELS)
    assert hetzner.names_taken(network="k8s", placement_groups=groups, firewall="ours", ours=ours) == []


def test_long_lists_are_read_whole(hetzner: Hetzner, project: Project) -> None:
    for number in range(53):
        project.snapshot(number=str(number))
    assert len(hetzner.list_images("number", "x86")) == 53
    assert hetzner.calls["GET /images"] == 2


@pytest.mark.parametrize(
    ("fault", "code", "may_pass"),
    [
        ("rate-limit", "rate_limit_exceeded", True),
        ("locked", "locked", True),
        ("server-error", "server_error", True),
        ("no-capacity", "resource_unavailable", False),
        ("quota", "resource_limit_exceeded", False),
    ],
)
def test_refusals_are_classed_and_have_a_hint(
    project: Project, hetzner: Hetzner, fault: str, code: str, may_pass: bool
) -> None:
    project.fault(fault)
    with pytest.raises(ApiError) as caught:
        hetzner.create_server("one", "cx33", "nbg1", "debian-12", {}, [])
    assert (caught.value.code, caught.value.may_pass) == (code, may_pass)
    assert caught.value.hint
    assert "request id" in caught.value.detail
    assert (code in CHOOSE_ANOTHER) == (fault == "no-capacity")


def test_fields_that_hetzner_does_not_like_are_named(hetzner: Hetzner) -> None:
    with pytest.raises(ApiError) as caught:
        hetzner.create_server("Not A Name", "cx33", "nbg1", "debian-12", {}, [])
    assert caught.value.code == "invalid_input"
    assert "name" in caught.value.detail


def test_every_code_has_one_class() -> None:
    assert not MAY_PASS & CHOOSE_ANOTHER
    assert set(HINTS) >= CHOOSE_ANOTHER


def test_nobody_listens_is_unreachable(project: Project) -> None:
    with pytest.raises(Unreachable):
        project.hetzner(port=1).list_server_types()


def test_connection_that_breaks_is_unreachable_and_is_not_tried_again(project: Project, hetzner: Hetzner) -> None:
    project.fault("reset")
    with pytest.raises(Unreachable):
        hetzner.create_ssh_key("one", KEY, LABELS)
    assert hetzner.list_ssh_keys(OWNED) == []


def test_slow_answer_is_unreachable_in_time(project: Project) -> None:
    hetzner = project.hetzner(timeout=0.05)
    project.fault("slow", seconds=3600)
    with pytest.raises(Unreachable):
        hetzner.list_server_types()  # nobody lets modelled time pass
    assert hetzner.calls["GET /server_types"] == 1


def test_certificate_of_somebody_else_is_not_accepted(project: Project, tmp_path: Path) -> None:
    stranger = tmp_path / "stranger.pem"
    stranger.write_text(Authority(Store(), "stranger").certificate_pem)
    with pytest.raises(Unreachable, match="certificate"):
        project.hetzner(ca_file=stranger).list_server_types()


def test_environment_changes_nothing_in_a_lab(
    project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login someone password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    project.hetzner().check_token()
