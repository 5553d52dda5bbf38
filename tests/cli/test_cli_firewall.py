"""`tallship firewall` against a real lab."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from real_lab import SPEED, RealLab

from tallship.lab import daemon


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealLab]:
    """A lab with a whole cluster; each test leaves nobody let in."""
    made = RealLab(tmp_path_factory.mktemp("lab"))
    try:
        made.run("lab", "up", "--speed", SPEED)
        made.run("firewall", "apply", "--lab", "--quiet")
        made.run("up", "--lab", "--quiet")
        yield made
    finally:
        daemon.stop(made.state / "lab")


def test_show_tells_rules_servers_and_what_answers(lab: RealLab) -> None:
    out, _ = lab.run("firewall", "show", "--lab")
    assert "4 rules on caph-cluster-k8s=owned" in out
    assert "no firewall of Hetzner's protects a load balancer" in out
    data = lab.data("firewall", "show", "--lab")
    assert set(data["firewall"]["servers"].values()) == {"applied"}
    assert data["firewall"]["problems"] == []
    assert {(each["port"], each["answers"]) for each in data["reachable"] if each["where"] != "load balancer"} == {
        (6443, False),
        (50000, True),
    }


def test_apply_of_a_whole_cluster_changes_nothing(lab: RealLab) -> None:
    lab.run("lab", "status", "--reset-counters")
    assert lab.data("firewall", "apply", "--lab", "--quiet")["changed"] is False
    assert set(lab.data("lab", "status")["writes"].values()) == {0}


def test_this_machine_is_let_in_and_its_time_ends(lab: RealLab) -> None:
    data = lab.data("firewall", "allow", "--for", "1m", "--lab", "--quiet")
    assert data["allowed"]["network"] == "127.0.0.1/32"
    assert [each["network"] for each in data["firewall"]["allowed"]] == ["127.0.0.1/32"]
    assert all(each["answers"] for each in data["reachable"])


def test_status_and_plan_list_the_ways_in(lab: RealLab) -> None:
    openings = lab.data("plan", "--lab")["openings"]
    assert {"servers", "load balancer", "private network"} == {each["where"] for each in openings}
    out, _ = lab.run("plan", "--lab")
    assert "load balancer" in out


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("0.0.0.0/0",), "--yes-the-whole-internet"),
        (("10.0.0.1/8",), "write `10.0.0.0/8`"),
        (("203.0.113.0/24", "--for", "forever"), "2h"),
    ],
)
def test_what_nobody_means_is_refused(lab: RealLab, words: tuple[str, ...], hint: str) -> None:
    _, err = lab.run("firewall", "allow", *words, "--lab", code=2)
    assert hint in err
    assert "Traceback" not in err
