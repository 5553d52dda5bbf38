"""Everything that can be known to fail before anything is created is told, at once, and nothing is written."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from lab_world import LabWorld
from ship import Ship

from tallship.adapters.hetzner import Hetzner
from tallship.engine import State, select
from tallship.env import Env, Site
from tallship.errors import ManyErrors, StepFailed, TallshipError
from tallship.flows import UP
from tallship.lab.kube import discovery
from tallship.ops.preflight import Preflight
from tallship.spec import parse_spec

NO_WRITES = {"hetzner": 0, "kubernetes": 0, "talos": 0}
OLD = {"kind": "v0.20.0", "clusterctl": '{"clusterctl":{"gitVersion":"v1.4.0"}}', "helm": "v3.2.1"}
"""What programs that are too old say of their version."""


class Person:
    """Someone with a cluster file, who looks before anything is made."""

    def __init__(self, world: LabWorld) -> None:
        self.world = world
        self.token = world.token
        self.path = f"{world.bin_folder}{os.pathsep}{Path(sys.executable).parent}"
        self.owner = Hetzner(world.token, world.endpoints["hetzner"], world.ca_file)
        self.folder = world.folder / "client"
        self.folder.mkdir(mode=0o700)

    def asks(self, text: str = "name: k8s\n") -> list[TallshipError]:
        """Return every error of one look; nothing was written while it looked."""
        self.world.reset_counters()
        with closing(self._env(text)) as env:
            try:
                seen = self.world.run(lambda: Preflight().probe(env))
            except ManyErrors as many:
                found = many.errors
            except TallshipError as error:
                found = [error]
            else:
                assert seen.state is State.READY
                found = []
        assert self.world.writes == NO_WRITES
        assert all(error.hint for error in found)
        assert self.token not in "".join(f"{error} {error.detail} {error.hint}" for error in found)
        return found

    def puts(self, path: str, **body: Any) -> None:
        """Make something that is not ours."""
        self.world.run(lambda: self.owner._ask("POST", path, json=body))

    def _env(self, text: str) -> Env:
        reading = parse_spec(text)
        assert reading.spec is not None, reading.mistakes
        site = Site(
            self.token,
            hetzner_endpoint=self.world.endpoints["hetzner"],
            hetzner_ca=self.world.ca_file,
            path=self.path,
            factory_url=self.world.endpoints["factory"],
            address_url=self.world.endpoints["address"],
            is_lab=True,
        )
        return Env(reading.spec, site, self.folder, self.world.clock)


@pytest.fixture
def person(world: LabWorld) -> Iterator[Person]:
    made = Person(world)
    with closing(made.owner):
        yield made


def only(found: list[TallshipError], exit_code: int) -> TallshipError:
    """Return the one error, which has this exit code."""
    assert [error.exit_code for error in found] == [exit_code], found
    return found[0]


def test_empty_project_is_fine(person: Person) -> None:
    assert person.asks() == []


def test_all_missing_programs_are_told_at_once(person: Person) -> None:
    person.path = str(person.folder)
    found = person.asks()
    assert [error.message for error in found] == [f"`{name}` is not installed" for name in OLD]
    assert {error.exit_code for error in found} == {2}
    assert all("https://" in error.hint for error in found)


def test_kind_is_not_asked_for_where_a_management_cluster_is_named(person: Person) -> None:
    person.path = str(person.folder)
    text = "name: k8s\nmanagement: {mode: kubeconfig, kubeconfig: mine.yaml}\n"
    assert {error.message for error in person.asks(text)} == {
        "`clusterctl` is not installed",
        "`helm` is not installed",
    }


def test_programs_that_are_too_old_are_told_with_their_place(person: Person, tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.mkdir()
    for name, version in OLD.items():
        (old / name).write_text(f"#!/bin/sh\necho '{version}'\n")
        (old / name).chmod(0o755)
    person.path = f"{old}{os.pathsep}/usr/bin{os.pathsep}/bin"
    found = person.asks()
    assert {error.exit_code for error in found} == {2}
    numbers = {"kind": "0.20.0", "clusterctl": "1.4.0", "helm": "3.2.1"}
    for error, (name, number) in zip(found, numbers.items(), strict=True):
        assert error.message.startswith(f"`{old / name}`: ")
        assert number in error.message


def test_program_that_tells_no_version_is_not_trusted(person: Person, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "helm").write_text("#!/bin/sh\nexit 1\n")
    (broken / "helm").chmod(0o755)
    person.path = f"{broken}{os.pathsep}{person.path}"
    assert "helm" in only(person.asks(), 2).message


def test_token_that_may_only_read_is_refused(person: Person) -> None:
    person.token = person.world.do(lambda: person.world.lab.hetzner.tokens.issue_token(writable=False))
    error = only(person.asks(), 2)
    assert error.message == "the Hetzner token may only read"
    assert "read and write" in error.hint


def test_token_that_was_deleted_is_refused(person: Person) -> None:
    person.token = "z" * 64
    assert only(person.asks(), 2).message == "Hetzner does not accept the token"


def test_programs_and_token_are_told_at_once(person: Person) -> None:
    person.token = "z" * 64
    person.path = str(person.folder)
    assert len(person.asks()) == 4


def test_server_type_that_nobody_sells_is_refused(person: Person) -> None:
    error = only(person.asks("name: k8s\ncontrol_plane: {server_type: cx999}\n"), 2)
    assert error.message == "Hetzner has no server type `cx999`"


def test_server_type_that_is_sold_out_is_told_with_where_it_is_not(person: Person) -> None:
    person.world.fault("no-capacity", {"location": "nbg1"}, times=0, listed=True)
    error = only(person.asks(), 1)
    assert "sold out in nbg1" in error.message
    assert "fsn1" in error.detail
    assert "nbg1" not in error.detail


def test_sold_out_everywhere_says_nowhere(person: Person) -> None:
    person.world.fault("no-capacity", {}, times=0, listed=True)
    assert only(person.asks(), 1).detail == "available in: nowhere"


TAKEN = {
    "network": ("/networks", {"name": "k8s", "ip_range": "10.0.0.0/8"}),
    "placement group": ("/placement_groups", {"name": "k8s-control-plane", "type": "spread"}),
    "firewall": ("/firewalls", {"name": "k8s"}),
}


@pytest.mark.parametrize("noun", TAKEN)
def test_name_taken_by_something_else_is_refused(person: Person, noun: str) -> None:
    path, body = TAKEN[noun]
    person.puts(path, **body)
    error = only(person.asks(), 1)
    assert f"{noun} `{body['name']}`" in error.message
    assert "not ours" in error.message


def test_everything_that_is_wrong_with_the_project_is_told_at_once(person: Person) -> None:
    for path, body in TAKEN.values():
        person.puts(path, **body)
    person.world.fault("no-capacity", {"location": "nbg1"}, times=0, listed=True)
    assert len(person.asks()) == 4


def test_cluster_of_the_same_name_made_elsewhere_is_left_alone(person: Person) -> None:
    server = {"name": "k8s-control-plane-abcde", "server_type": "cx23", "image": "debian-12", "location": "nbg1"}
    person.puts("/servers", **server, labels={"caph-cluster-k8s": "owned"}, start_after_create=False)
    error = only(person.asks(), 1)
    assert "already holds a cluster `k8s`" in error.message
    assert error.detail == "server k8s-control-plane-abcde"


@pytest.mark.parametrize(("version", "said"), [("v1.28.3", "does not run on Kubernetes v1.28.3"), ("v1.32.2", "")])
def test_own_management_cluster_must_be_one_that_cluster_api_runs_on(
    person: Person, monkeypatch: pytest.MonkeyPatch, version: str, said: str
) -> None:
    lab = person.world.lab
    person.world.ask(lab.management.create("mine", "kindest/node:v1.32.8"))
    (person.folder / "mine.yaml").write_text(person.world.do(lambda: lab.management.kubeconfig("mine")))
    monkeypatch.setattr(discovery, "KUBERNETES", version)
    path = person.folder / "mine.yaml"
    text = f"name: k8s\nmanagement: {{mode: kubeconfig, kubeconfig: {path}, egress_cidr: 192.0.2.0/28}}\n"
    found = person.asks(text)
    assert [said in error.message for error in found] == ([True] if said else [])


def test_old_kind_cluster_of_our_name_is_not_installed_into(world: LabWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "KUBERNETES", "v1.27.3")
    ship = Ship(world)
    with pytest.raises(StepFailed, match=r"does not run on Kubernetes v1\.27\.3") as caught:
        ship.make(select(UP, last="capi-init"))
    assert "1.29" in caught.value.hint
