"""What `tallship backup …` says where no lab is needed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from command_line import CommandLine

KEY = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"
STORAGE = f"  recipients: [{KEY}]\n  s3: {{endpoint: 'https://127.0.0.1:1', bucket: backups}}\n"


@pytest.fixture(autouse=True)
def _token(tallship: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HCLOUD_TOKEN", "q" * 64)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)


def cluster_file(tallship: CommandLine, more: str = "") -> Path:
    """Write a file whose backups stand in a folder of the test; returns that folder."""
    tallship.write(f"name: k8s\nbackup:\n  folder: backups\n{more}")
    return tallship.folder / "backups/k8s"


def put(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).mkdir(parents=True)
        (folder / name / "manifest.json").write_text(json.dumps({"etcd": {"revision": 4711}}))


def test_a_list_of_nothing_names_the_command_that_changes_that(tallship: CommandLine) -> None:
    cluster_file(tallship)
    said = tallship("backup", "list")
    assert (said.code, said.out) == (0, "there is no backup\n")
    assert "tallship backup save" in said.err


def test_a_list_tells_what_is_in_each(tallship: CommandLine) -> None:
    folder = cluster_file(tallship)
    put(folder, "20261121T120000Z", "20261122T120000Z-capi")
    said = tallship("backup", "list")
    assert said.code == 0
    newest, oldest = said.out.splitlines()[1:]
    assert "2026-11-22 12:00 UTC" in newest
    assert "Cluster API's objects" in newest
    assert "4711" in oldest
    assert "whoever has it" in oldest
    found = tallship("backup", "list", "--output", "json").data["backups"]
    assert [each["name"] for each in found] == ["20261122T120000Z-capi", "20261121T120000Z"]
    assert found[1]["revision"] == 4711


def test_prune_asks_and_deletes_what_it_has_named(tallship: CommandLine) -> None:
    folder = cluster_file(tallship, "  keep: {last: 1, daily: 0, weekly: 0}\n")
    put(folder, "20261121T120000Z", "20261122T120000Z", "20261123T120000Z")
    asked = tallship("backup", "prune")
    assert asked.code == 2
    assert "20261121T120000Z" in asked.err
    assert "--yes" in asked.err
    tried = tallship("backup", "prune", "--dry-run")
    assert (tried.code, len(list(folder.iterdir()))) == (0, 3)
    data = tallship("backup", "prune", "--yes", "--keep-last", "2", "--output", "json").data
    assert [Path(each).name for each in data["deleted"]] == ["20261121T120000Z"]
    assert tallship("backup", "prune", "--yes").out.endswith("1 deleted\n")
    assert [each.name for each in folder.iterdir()] == ["20261123T120000Z"]
    assert "nothing to delete" in tallship("backup", "prune", "--yes", "--keep-last", "0").out
    assert tallship("backup", "prune", "--keep-last", "-1").code == 2


def test_before_there_is_a_cluster_a_save_names_what_comes_first(tallship: CommandLine) -> None:
    cluster_file(tallship)
    said = tallship("backup", "save", "--quiet")
    assert said.code == 2
    assert "talosconfig" in said.err
    assert tallship("backup", "save", "--capi", "--etcd").code == 2


def test_a_timer_is_printed_and_nothing_is_saved(tallship: CommandLine) -> None:
    folder = cluster_file(tallship)
    said = tallship("backup", "save", "--every", "6h")
    assert said.code == 0
    assert f"--file {tallship.folder}/tallship.yaml" in said.out
    assert "OnCalendar=" in said.out
    assert "kind: CronJob" not in said.out
    assert not folder.exists()
    wrong = tallship("backup", "save", "--every", "5h")
    assert (wrong.code, wrong.out) == (2, "")
    assert "6h" in wrong.err


def test_a_cron_job_is_printed_where_its_backups_would_survive_it(tallship: CommandLine) -> None:
    cluster_file(tallship, STORAGE)
    parts = tallship("backup", "save", "--every", "1d", "--image", "mine:1", "--output", "json").data["schedule"]
    job = yaml.safe_load(parts["cron_job"])
    assert job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["image"] == "mine:1"


def test_a_storage_without_credentials_or_answer_is_told(
    tallship: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster_file(tallship, STORAGE)
    said = tallship("backup", "list")
    assert said.code == 2
    assert "AWS_ACCESS_KEY_ID" in said.err
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2hunter2")
    said = tallship("backup", "list")
    assert said.code == 1
    assert "no answer" in said.err
    assert "hunter2" not in said.err
