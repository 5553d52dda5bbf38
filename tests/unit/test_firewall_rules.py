"""The firewall's rules as documents: what they let in, what they say, what they must not be."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as some

from tallship.errors import SetupError
from tallship.manifests import firewall
from tallship.manifests.firewall import Allowed
from tallship.manifests.firewall_exposure import exposure
from tallship.ops import firewall_allow
from tallship.spec import Spec, parse_spec

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
FRIEND = Allowed("198.51.100.7/32", NOW + timedelta(hours=2))


def spec(text: str = "") -> Spec:
    found = parse_spec(f"name: k8s\n{text}").spec
    assert found is not None
    return found


def test_what_was_let_in_can_be_read_from_its_rules_alone() -> None:
    rules = firewall.rules(spec(), ["192.0.2.1/32"], [FRIEND])
    assert firewall.allowed(rules, NOW) == [FRIEND]
    assert firewall.allowed(rules, FRIEND.until) == []
    assert sum(firewall.is_expired(rule, FRIEND.until) for rule in rules) == 2


@pytest.mark.parametrize("text", ["Talos API allowed until 2026-99-99T00:00:00Z", "until tomorrow", "", None])
def test_description_that_names_no_moment_lets_nobody_in_for_a_while(text: str | None) -> None:
    rule = {"description": text, "source_ips": ["198.51.100.7/32"]}
    assert firewall.allowed([rule], NOW) == []
    assert not firewall.is_expired(rule, NOW)


def test_admin_networks_come_beside_the_private_ones() -> None:
    rules = firewall.rules(spec("firewall: {admin_networks: [198.51.100.0/24], talos_api: false}"))
    assert [firewall.text(rule) for rule in rules] == [
        "6443 from 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16",
        "6443 from 198.51.100.0/24",
        "ICMP from everybody",
    ]


@pytest.mark.parametrize(
    ("port", "source", "expected"),
    [
        (6443, "10.1.2.3", True),
        (6443, "198.51.100.7", True),
        (50000, "198.51.100.7/32", True),
        (50000, "198.51.100.8", False),
        (22, "10.1.2.3", False),
        (50000, "192.0.2.1", True),
        (6443, "192.0.2.1", False),
        (6443, "2001:db8::1", False),
    ],
)
def test_rules_admit_whom_they_name(port: int, source: str, expected: bool) -> None:
    assert firewall.admits(firewall.rules(spec(), ["192.0.2.1/32"], [FRIEND]), port, source) is expected


@pytest.mark.parametrize(("ports", "expected"), [("any", True), ("1-65535", True), ("6000-6442", False)])
def test_ranges_of_ports_are_understood(ports: str, expected: bool) -> None:
    rule = {"direction": "in", "protocol": "tcp", "port": ports, "source_ips": ["0.0.0.0/0"]}
    assert firewall.admits([rule], 6443, "8.8.8.8") is expected
    assert not firewall.admits([{**rule, "direction": "out", "destination_ips": []}], 6443, "8.8.8.8")


@given(some.integers(0, 30), some.integers(0, 90))
def test_no_limit_of_hetzners_is_passed_in_silence(friends: int, admins: int) -> None:
    networks = ", ".join(f"198.51.{number}.0/24" for number in range(admins))
    allowed = [Allowed(f"203.0.113.{number}/32", FRIEND.until) for number in range(friends)]
    rules = firewall.rules(spec(f"firewall: {{admin_networks: [{networks}]}}"), ["192.0.2.1/32"], allowed)
    fits = len(rules) <= 50 and max(len(rule["source_ips"]) for rule in rules) <= 100
    assert bool(list(firewall.excesses(rules))) is not fits


def test_too_many_networks_are_counted_in_one_rule_and_in_all() -> None:
    rule = {"source_ips": [f"10.0.{number}.0/24" for number in range(101)]}
    assert [each.partition(",")[0] for each in firewall.excesses([rule] * 5)] == [
        "101 networks in one rule",
        "505 networks in all rules",
    ]


def test_differences_name_what_is_open_and_what_is_not() -> None:
    wanted = firewall.rules(spec(), ["192.0.2.1/32"])
    hole = {"direction": "in", "protocol": "tcp", "port": "22", "source_ips": ["0.0.0.0/0"], "description": None}
    assert firewall.differences([hole, *wanted[:-1]], wanted) == [
        "has 22 from everybody",
        "lacks 50000 from 192.0.2.1/32 (`Talos API from the management cluster`)",
    ]


def test_after_the_pivot_nothing_is_said_to_be_open_for_it() -> None:
    rules = firewall.rules(spec(), ["192.0.2.1/32"])
    during = [str(each) for each in exposure(spec(), rules, ["192.0.2.1/32"])]
    assert sum("`tallship pivot` closes it" in each for each in during) == 1
    after = [str(each) for each in exposure(spec(), firewall.rules(spec()), [])]
    assert not any("192.0.2.1" in each or "pivot" in each for each in after)


def test_load_balancer_without_the_talos_api_shows_one_port() -> None:
    text = "load_balancer: {talos_api: false}\nfirewall: {admin_networks: [198.51.100.0/24]}"
    found = [each for each in exposure(spec(text), [], []) if each.where == "load balancer"]
    assert [each.what for each in found] == ["6443"]


@pytest.mark.parametrize(("text", "network"), [("203.0.113.7", "203.0.113.7/32"), ("2001:db8::/64", "2001:db8::/64")])
def test_network_may_be_an_address(text: str, network: str) -> None:
    assert firewall_allow.network(text, vast_is_meant=False) == network


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("203.0.113.7/24", "write `203.0.113.0/24`"),
        ("here", "write it like"),
        ("0.0.0.0/0", "--yes-the-whole-internet"),
        ("::/0", "--yes-the-whole-internet"),
        ("128.0.0.0/1", "--yes-the-whole-internet"),
    ],
)
def test_network_that_is_wrong_or_vast_is_refused(text: str, hint: str) -> None:
    with pytest.raises(SetupError) as caught:
        firewall_allow.network(text, vast_is_meant=False)
    assert hint in caught.value.hint


def test_whole_internet_is_let_in_by_who_says_so() -> None:
    assert firewall_allow.network("0.0.0.0/0", vast_is_meant=True) == "0.0.0.0/0"


@pytest.mark.parametrize(("text", "minutes"), [("90m", 90), ("2h", 120), ("3d", 4320), ("30d", 43200)])
def test_times_are_minutes_hours_or_days(text: str, minutes: int) -> None:
    assert firewall_allow.duration(text) == timedelta(minutes=minutes)


@pytest.mark.parametrize("text", ["2", "h", "0h", "-1h", "1w", "31d", "2 h", "9999999m"])
def test_other_times_are_refused_with_a_hint(text: str) -> None:
    with pytest.raises(SetupError) as caught:
        firewall_allow.duration(text)
    assert caught.value.hint
