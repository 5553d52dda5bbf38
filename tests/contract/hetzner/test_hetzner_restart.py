"""The lab's process is killed and another goes on with its store."""

from __future__ import annotations

from collections.abc import Callable

from hetzner_lab import HetznerLab, order

Start = Callable[[float], HetznerLab]


def test_server_goes_on_booting(restartable: Start) -> None:
    lab = restartable(0)
    client = lab.client()
    made = client.servers.create(**order(user_data="machine: config"))
    client._client._session.close()
    lab.wait(10)
    lab = restartable(10)
    client = lab.client()
    lab.wait(16)
    assert client.servers.get_by_id(made.server.id).status == "starting"
    lab = _next(restartable, client, 26)
    client = lab.client()
    lab.wait(4)
    assert client.servers.get_by_id(made.server.id).status == "running"
    assert [user_data for _, user_data, _ in lab.machines.booted] == ["machine: config"]
    assert client.actions.get_by_id(made.action.id).status == "success"
    lab = _next(restartable, client, 40)
    lab.wait(5)
    assert lab.machines.told == [], "a machine that runs is not told again"


def test_firewall_lag_goes_on(restartable: Start) -> None:
    lab = restartable(0)
    client = lab.client()
    server = client.servers.create(**order(labels={"role": "cp"})).server
    body = {"name": "f", "apply_to": [{"type": "label_selector", "label_selector": {"selector": "role=cp"}}]}
    assert lab.http("POST", "/firewalls", body).status_code == 201
    lab.wait(30)
    assert lab.call(lambda: lab.api.firewall_admits(server.id, 22, "203.0.113.7"))
    lab = _next(restartable, client, 30)
    lab.wait(6)
    assert not lab.call(lambda: lab.api.firewall_admits(server.id, 22, "203.0.113.7"))


def test_what_was_made_and_issued_stays(restartable: Start) -> None:
    lab = restartable(0)
    client, token = lab.client(), lab.token
    server = client.servers.create(**order()).server
    lab = _next(restartable, client, 5)
    client = lab.client(token)
    found = client.servers.get_by_id(server.id)
    assert (found.name, found.public_net.ipv4.ip) == ("one", server.public_net.ipv4.ip)
    assert [image.name for image in client.images.get_all(type=["system"])].count("debian-12") == 2
    assert client.servers.create(**order(name="two")).server.id > server.id
    client._client._session.close()


def _next(restartable: Start, client: object, now: float) -> HetznerLab:
    client._client._session.close()  # type: ignore[attr-defined]
    return restartable(now)
