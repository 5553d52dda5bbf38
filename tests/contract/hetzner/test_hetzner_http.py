"""The HTTP side: tokens, errors, pages, the request budget, and faults at the socket."""

from __future__ import annotations

from datetime import datetime

import pytest
import requests
from hcloud import Client
from hetzner_lab import KEY, HetznerLab, order, refusal

from tallship.lab.clock import EPOCH


def error(answer: requests.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def test_only_tokens_of_the_lab_are_accepted(lab: HetznerLab) -> None:
    assert len(lab.token) == 64
    assert error(lab.http("GET", "/servers", Authorization="Bearer " + "x" * 64)) == (401, "unauthorized")
    assert error(lab.http("GET", "/servers", Authorization=lab.token)) == (401, "unauthorized")
    assert "RateLimit-Limit" not in lab.http("GET", "/servers", Authorization="").headers


def test_read_only_token_reads(lab: HetznerLab) -> None:
    token = lab.call(lambda: lab.api.tokens.issue_token(writable=False))
    assert lab.http("GET", "/servers", Authorization=f"Bearer {token}").status_code == 200
    refused = lab.http("POST", "/networks", {"name": "n"}, Authorization=f"Bearer {token}")
    assert error(refused) == (401, "token_readonly")


def test_unknown_route_is_named(lab: HetznerLab) -> None:
    answer = lab.http("GET", "/certificates/7")
    assert error(answer) == (404, "not_found")
    assert "GET /v1/certificates/7" in answer.json()["error"]["message"]
    assert error(lab.http("PATCH", "/servers")) == (405, "method_not_allowed")


def test_refusals_name_the_field_and_carry_a_correlation_id(lab: HetznerLab) -> None:
    answer = lab.http("POST", "/networks", {"name": "n", "ip_range": "10.0.0.0/16", "subnets": [{"type": "x"}]})
    assert error(answer) == (422, "invalid_input")
    assert answer.json()["error"]["details"]["fields"][0]["name"] == "subnets.0.type"
    assert len(answer.headers["X-Correlation-Id"]) == 16
    broken = lab.http("POST", "/networks", "not an object")
    assert error(broken) == (422, "invalid_input")
    with requests.Session() as session:
        session.trust_env = False
        headers = {"Authorization": f"Bearer {lab.token}"}
        answer = session.post(lab.endpoint + "/networks", data="{", headers=headers, verify=str(lab.ca), timeout=10)
        assert error(answer) == (400, "json_error")


def test_lists_come_in_pages_with_links(lab: HetznerLab, client: Client) -> None:
    for number in range(30):
        client.placement_groups.create(name=f"g{number:02}", type="spread")
    answer = lab.http("GET", "/placement_groups?per_page=10&page=2&sort=name:desc")
    names = [group["name"] for group in answer.json()["placement_groups"]]
    assert (names[0], names[-1]) == ("g19", "g10")
    assert answer.json()["meta"]["pagination"] == {
        "page": 2,
        "per_page": 10,
        "previous_page": 1,
        "next_page": 3,
        "last_page": 3,
        "total_entries": 30,
    }
    assert set(answer.links) == {"prev", "next", "last"}
    following = answer.links["next"]["url"].removeprefix(lab.endpoint)
    assert [group["name"] for group in lab.http("GET", following).json()["placement_groups"]][-1] == "g00"
    assert len(lab.http("GET", "/placement_groups").json()["placement_groups"]) == 25
    assert len(lab.http("GET", "/placement_groups?per_page=500").json()["placement_groups"]) == 30
    assert len(client.placement_groups.get_all()) == 30
    for wrong in ("page=0", "per_page=x", "sort=nothing", "sort=name:up", "label_selector=a%20b"):
        assert error(lab.http("GET", f"/placement_groups?{wrong}")) == (422, "invalid_input")


def test_request_budget_is_shared_and_refills(lab: HetznerLab) -> None:
    lab.api.bucket.limit = 5
    for left in (4, 3, 2, 1, 0):
        assert lab.http("GET", "/locations").headers["RateLimit-Remaining"] == str(left)
    answer = lab.http("GET", "/locations")
    assert error(answer) == (429, "rate_limit_exceeded")
    assert answer.headers["RateLimit-Limit"] == "5"
    assert datetime.fromtimestamp(int(answer.headers["RateLimit-Reset"]), EPOCH.tzinfo) >= EPOCH
    lab.wait(2)
    assert lab.http("GET", "/locations").headers["RateLimit-Remaining"] == "1"


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        ("no-capacity", 412, "resource_unavailable"),
        ("rate-limit", 429, "rate_limit_exceeded"),
        ("locked", 423, "locked"),
        ("server-error", 500, "server_error"),
        ("unauthorized", 401, "unauthorized"),
        ("quota", 403, "resource_limit_exceeded"),
    ],
)
def test_faults_strike_once_where_they_match(lab: HetznerLab, fault: str, status: int, code: str) -> None:
    body = {"name": "a", "server_type": "cx33", "location": "nbg1", "image": "debian-12"}
    lab.fault(fault, match={"route": "POST /servers", "server_type": "cx33", "location": "nbg1"})
    assert lab.http("POST", "/servers", {**body, "location": "fsn1"}).status_code == 201
    assert error(lab.http("POST", "/servers", {**body, "name": "b"})) == (status, code)
    assert lab.http("POST", "/servers", {**body, "name": "b"}).status_code == 201


def test_fault_can_be_meant_for_one_client(lab: HetznerLab) -> None:
    lab.fault("server-error", match={"agent": "cluster-api-provider-hetzner"})
    assert lab.http("GET", "/servers").status_code == 200
    agent = {"User-Agent": "cluster-api-provider-hetzner hcloud-go/2.19.1"}
    assert lab.http("GET", "/servers", **agent).status_code == 500


def test_slow_answer_is_held_in_modelled_time(lab: HetznerLab) -> None:
    lab.fault("slow", match={"route": "GET /servers"}, seconds=20)
    lab.clock.run_client(lambda: lab.http("GET", "/servers").raise_for_status())
    assert lab.clock.now() == 20


def test_reset_cuts_the_connection(lab: HetznerLab) -> None:
    lab.fault("reset", match={"route": "GET /servers"})
    with pytest.raises(requests.ConnectionError):
        lab.http("GET", "/servers")
    assert lab.http("GET", "/servers").status_code == 200


def test_answer_can_be_lost_after_the_act(lab: HetznerLab) -> None:
    lab.fault("lost-answer", match={"route": "POST /networks"})
    with pytest.raises(requests.ConnectionError):
        lab.http("POST", "/networks", {"name": "n", "ip_range": "10.0.0.0/16"})
    assert [each["name"] for each in lab.http("GET", "/networks").json()["networks"]] == ["n"]
    assert lab.writes["hetzner"] == 1


def test_writes_are_counted_by_whose_they_are(lab: HetznerLab) -> None:
    ours, theirs = lab.client(), lab.client(application="cluster-api-provider-hetzner")
    ours.ssh_keys.create(name="k", public_key=KEY)
    theirs.placement_groups.create(name="g", type="spread")
    ours.placement_groups.get_all()
    assert refusal(lambda: ours.placement_groups.create(name="g", type="spread")) == "uniqueness_error"
    assert dict(lab.writes) == {"hetzner": 1, "controllers": 1}
    for each in (ours, theirs):
        each._client._session.close()


def test_lab_says_when_it_has_no_address_left(lab: HetznerLab, client: Client) -> None:
    for number in range(100, 251):
        lab.call(lambda number=number: lab.api.project.address("primary_ip", number))
    assert refusal(lambda: client.servers.create(**order())) == "resource_limit_exceeded"
