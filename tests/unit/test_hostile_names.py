"""Names that hold any character: tables, JSON, questions, archives and lists of backups take them as they are."""

from __future__ import annotations

import io
import json
import tarfile
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table

from tallship.adapters import hetzner_shapes, kube_shapes
from tallship.adapters.hetzner_resources import Resource
from tallship.adapters.object_storage import Object
from tallship.adapters.shapes import Misfit, fitted
from tallship.cli import consent
from tallship.cli.options import DEFAULT
from tallship.engine import Outcome, State
from tallship.errors import SetupError
from tallship.manifests.changes import Change, Effect
from tallship.manifests.diagnosis import Finding
from tallship.manifests.firewall_exposure import Opening
from tallship.manifests.picture import Picture
from tallship.manifests.redaction import GONE, Known, redacted, redacted_text
from tallship.ops import backup_places, bundle
from tallship.ops.backup_places import Stored
from tallship.ops.bill import Bill, Line
from tallship.ops.cost import Cost, Item
from tallship.ops.firewall_reach import Door
from tallship.ops.image_stock import Snapshot, Verdict
from tallship.ops.node_list import Node
from tallship.ops.status_parts import Addon
from tallship.report import tables
from tallship.report.answer import print_json
from tallship.report.console import TidyConsole
from tallship.report.visible import visible_line
from tallship.spec import Spec, parse_spec

HOSTILE = "\x1b[2J\x1b]0;owned\x07\r\n\x9b31m\u202egnp.exe [red]x[/] :smile: \ud800 漢字 é\u0301 \U0001f6a2 \x00"
ARABIC = "20260101T000000Z".translate({ord(str(digit)): chr(0x660 + digit) for digit in range(10)})
TODAY = datetime(2026, 1, 1, tzinfo=UTC)
H = HOSTILE
TABLES: dict[str, Table] = {
    "steps": tables.steps_table([Outcome(H, H, State.MISSING, H, (H,), 9.0, H)]),
    "plan": tables.plan_table([Outcome(H, H, State.BROKEN, H, (), 0.0, H)]),
    "cost": tables.cost_table(Cost(H, (Item(H, 1, Decimal(1)),))),
    "changes": tables.changes_table([Change(H, Effect.REFUSED, (H, H))]),
    "bill": tables.bill_table(Bill(H, (Line(H, H, Decimal(0)),))),
    "nodes": tables.nodes_table([Node(H, H, False, H, H, H, H, (H,), H, H, -1e9)]),
    "addons": tables.addons_table([Addon(H, H, H, H, (H,))]),
    "openings": tables.openings_table([Opening(H, H, H, H)]),
    "doors": tables.doors_table([Door(H, H, 1, True, False)]),
    "images": tables.images_table([Snapshot(1, H, H, H, H, 1.0, -5.0, H, (H,), True)]),
    "backups": tables.backups_table([Stored(H, H, True, TODAY, 1.0, 1, H, True, 1)]),
    "verdicts": tables.verdicts_table([Verdict(H, H)]),
    "facts": tables.facts_table([(H, H)]),
}


@pytest.mark.parametrize("name", TABLES)
def test_no_table_speaks_to_the_terminal(name: str) -> None:
    for is_terminal in (False, True):
        paper = io.StringIO()
        TidyConsole(file=paper, width=250, force_terminal=is_terminal, color_system=None).print(TABLES[name])
        written = paper.getvalue()
        assert written.replace("\n", "").isprintable()
        assert "\\x1b" in written
        assert "漢" in written
        written.encode()


def test_every_table_is_tried() -> None:
    made = {name.removesuffix("_table") for name in vars(tables) if name.endswith("_table")}
    assert made - {"new", "tools"} == set(TABLES)  # the tools are those of this machine


@given(st.text(st.characters()) | st.just(HOSTILE))
def test_json_is_one_line_of_ascii(text: str) -> None:
    paper = io.StringIO()
    print_json(paper, {text: [text], "amount": Decimal("1.5")})
    assert paper.getvalue().count("\n") == 1
    assert paper.getvalue().isascii()
    assert json.loads(paper.getvalue())[text] == [text] if text != "amount" else True


@given(st.text(st.characters()))
def test_a_name_in_a_question_is_one_line(text: str) -> None:
    assert visible_line(text).isprintable()


def test_a_question_cannot_be_forged_by_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = io.StringIO()
    monkeypatch.setattr(consent, "sys", SimpleNamespace(stdin=_Person("n"), stderr=asked))
    with pytest.raises(SetupError, match="nothing was changed"):
        consent.ask("this deletes", ["server a\n  server b\ngo on? [y/N] y", HOSTILE], DEFAULT)
    assert len(asked.getvalue().splitlines()) == 4
    assert asked.getvalue().replace("\n", "").isprintable()


class _Person(io.StringIO):
    def isatty(self) -> bool:
        return True


def spec() -> Spec:
    found = parse_spec("name: k8s\n").spec
    assert found is not None
    return found


def test_a_bundle_holds_whatever_was_looked_at_under_names_of_its_own(tmp_path: Path) -> None:
    objects = [{"kind": "Pod", "metadata": {"name": f"../../{HOSTILE}"}, "status": {HOSTILE: HOSTILE}}]
    picture = Picture(spec(), TODAY, {"Pod": objects}, {"Node": objects}, hetzner={"servers": [{"name": HOSTILE}]})
    picture.logs, picture.unseen = {"caph": [HOSTILE] * 3}, {HOSTILE: HOSTILE}
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs/20260101-000000-1.jsonl").write_bytes(b"\xff\x00\x1b[2J\n")
    env: Any = SimpleNamespace(site=SimpleNamespace(token="t" * 64), spec=spec(), folder=tmp_path)
    found = bundle.write(env, picture, [Finding("a", "error", H, H, H, (H,))], tmp_path / "bundle.tgz")
    with tarfile.open(found) as archive:
        members = {each.name.removeprefix("tallship-k8s/"): archive.extractfile(each) for each in archive}
        content = {name: file.read() for name, file in members.items() if file is not None}
    assert set(content) == {
        *("about.json", "cluster-file.json", "findings.json", "talos.json", "logs/caph.log", "hetzner/servers.json"),
        *("management/Pod.json", "workload/Node.json", "runs/20260101-000000-1.jsonl"),
    }
    assert json.loads(content["workload/Node.json"])[0]["metadata"]["name"].startswith("../../")
    assert all(each.decode() for each in content.values())


class _Storage:
    """Lists what anybody may have put there."""

    place = "https://storage.example.com/bucket/k8s"

    def __init__(self, *names: str) -> None:
        self._names = names

    def list(self) -> list[Object]:
        return [Object(name, 1, TODAY) for name in self._names]


@pytest.mark.parametrize(
    "name",
    [
        *("..", ".", "", "/", "a/../b", "\x1b[2J", HOSTILE, "20260101T000000Z\n", "20261399T000000Z"),
        *(ARABIC, "20260101T000000Z.tar.age.part", "-capi", "x" * 5000, "20260101T000000Z-capi/.."),
    ],
)
def test_what_is_no_backup_of_ours_is_passed_over_in_a_storage(name: str, tmp_path: Path) -> None:
    env: Any = SimpleNamespace(
        spec=spec(),
        site=SimpleNamespace(is_lab=False),
        folder=tmp_path,
        storage=_Storage(name, "20260101T000000Z.tar.age"),
        clock=SimpleNamespace(today=lambda: TODAY),
    )
    assert [each.name for each in backup_places.list_all(env)] == ["20260101T000000Z.tar.age"]
    assert backup_places.new_name(env, "") == "20260101T000001Z"


@given(st.text(st.characters(), max_size=20), st.text(st.characters(), max_size=60))
def test_a_description_of_any_characters_names_a_resource(name: str, description: str) -> None:
    snapshot = {"id": 1, "name": None, "description": description, "labels": {"a": ""}, "created": "2026-01-01T00:00Z"}
    image = {**snapshot, "status": "available", "architecture": "x86", "disk_size": 10}
    found = Resource.read("images", fitted(image, hetzner_shapes.COLLECTIONS["images"]))
    assert found.name == (description or "1")
    server = Resource.read(
        "networks", fitted({"id": 1, "name": name, "labels": {}}, hetzner_shapes.COLLECTIONS["networks"])
    )
    assert server.name == (name or "1")


@pytest.mark.parametrize("name", ["a", "a.b-c", "system:node:a", "é", "x" * 253])
def test_a_name_that_kubernetes_takes_is_read(name: str) -> None:
    assert fitted({"metadata": {"name": name}}, kube_shapes.of("Anything"))


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a%2fb", "a\n", "\x1b", "\ud800", 5, None, ["a"]])
def test_a_name_that_could_lead_a_request_elsewhere_is_none(name: object) -> None:
    with pytest.raises(Misfit):
        fitted({"metadata": {"name": name}}, kube_shapes.of("Anything"))


SECRETS = st.lists(st.text("ab", min_size=8, max_size=14), max_size=6)


@given(SECRETS, st.text("ab", max_size=80))
def test_no_known_secret_is_left_however_they_overlap(secrets: list[str], text: str) -> None:
    found = Known(secrets).taken_out(text)
    assert not any(each in found for each in secrets)
    if not any(each in text for each in secrets):
        assert found == text


def test_of_two_secrets_that_overlap_nothing_is_left() -> None:
    assert Known(["abcdefgh", "efghijkl", "short"]).taken_out("1abcdefghijkl2short") == f"1{GONE}2short"
    assert Known(["abcdefgh"]).taken_out("abcdefghabcdefgh") == GONE
    assert Known().taken_out("abcdefgh") == "abcdefgh"


def test_what_is_nested_too_deeply_is_left_out_and_long_runs_end_soon() -> None:
    deep: Any = "x"
    for _ in range(800):
        deep = {"a": [deep]}
    assert GONE in json.dumps(redacted(deep))
    for text in (
        "eyJabcdefghij-" * 5000,
        "token" + " " * 50_000,
        "-----BEGIN " * 5000,
        "a/" * 50_000,
        "password\\" * 9000,
    ):
        redacted_text(text)
