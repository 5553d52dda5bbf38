"""What each command says and exits with where no lab is needed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import WORDS, CommandLine

from tallship.cli.main import GROUPS
from tallship.engine import steps
from tallship.flows import UP

EXAMPLE = Path(__file__).parents[2] / "examples" / "k8s"
TOKEN = "q" * 63
SDKS = ("hcloud", "lightkube", "grpclib", "paramiko", "aiohttp", "obstore", "pyrage", "tallship.lab")
MISTAKES = """\
name: K8s_
hetzner:
  location: moon1
colour: blue
control_plane:
  replicas: 2
"""


def test_init_writes_a_file_that_is_good(tallship: CommandLine) -> None:
    said = tallship("init")
    assert (said.code, said.out) == (0, "wrote tallship.yaml\n")
    assert "next: tallship validate" in said.err
    good = tallship("validate")
    assert (good.code, good.out) == (0, "tallship.yaml is good\n")


def test_init_replaces_a_file_only_when_told(tallship: CommandLine) -> None:
    path = tallship.write("name: mine\n")
    said = tallship("init", "other")
    assert (said.code, said.out) == (2, "")
    assert "is there already" in said.err
    assert "--force" in said.err
    assert path.read_text() == "name: mine\n"
    assert tallship("init", "other", "--force").code == 0
    assert "name: other" in path.read_text()


def test_init_says_that_a_place_cannot_be_written(tallship: CommandLine) -> None:
    tallship.write("name: k8s\n")
    said = tallship("init", "--file", "tallship.yaml/inside.yaml")
    assert (said.code, said.out) == (2, "")
    assert "cannot be written" in said.err
    assert "hint:" in said.err


def test_init_refuses_a_name_that_cannot_be_one(tallship: CommandLine) -> None:
    said = tallship("init", "My Cluster")
    assert said.code == 2
    assert "name" in said.err
    assert not (tallship.folder / "tallship.yaml").exists()


def test_every_mistake_is_told_at_once_with_its_line(tallship: CommandLine) -> None:
    tallship.write(MISTAKES)
    said = tallship("validate")
    assert (said.code, said.out) == (2, "")
    for line in (1, 3, 4, 6):
        assert f"tallship.yaml:{line}" in said.err, said.err


def test_mistakes_are_data_too(tallship: CommandLine) -> None:
    tallship.write(MISTAKES)
    said = tallship("validate", "--output", "json")
    mistakes = said.data["mistakes"]
    assert {each["line"] for each in mistakes} >= {1, 3, 4, 6}
    assert all(set(each) == {"file", "line", "path", "message", "hint"} for each in mistakes)
    assert [error["kind"] for error in said.envelope["errors"]] == ["SpecError"]
    assert said.err == ""


@pytest.mark.parametrize("words", [("sail",), ("plan", "--fast"), ("up", "--only", "sail"), ("up", "--timeout", "x")])
def test_unknown_words_are_refused_with_a_hint(tallship: CommandLine, words: tuple[str, ...]) -> None:
    tallship.write("name: k8s\n")
    said = tallship(*words)
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith("error: ")
    assert "hint: " in said.err


def test_unknown_step_names_those_that_there_are(tallship: CommandLine) -> None:
    tallship.write("name: k8s\n")
    said = tallship("up", "--until", "sail")
    for step in steps(UP):
        assert step.name in said.err


@pytest.mark.parametrize("command", ["plan", "up", "status"])
def test_no_token_is_told_with_three_ways_out(tallship: CommandLine, command: str) -> None:
    tallship.write("name: k8s\n")
    said = tallship(command)
    assert (said.code, said.out) == (2, "")
    for word in ("HCLOUD_TOKEN is empty", "hetzner.token_command", "--lab"):
        assert word in said.err


@pytest.mark.parametrize("mode", ["text", "json"])
def test_malformed_token_is_refused_and_not_shown(
    tallship: CommandLine, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    tallship.write("name: k8s\n")
    monkeypatch.setenv("HCLOUD_TOKEN", TOKEN)
    said = tallship("up", "--output", mode)
    assert said.code == 2
    assert "63 characters" in said.out + said.err
    assert TOKEN not in said.out + said.err


def test_token_file_that_is_not_there_is_named(tallship: CommandLine) -> None:
    tallship.write("name: k8s\nhetzner:\n  token_file: nothing.txt\n")
    said = tallship("plan")
    assert said.code == 2
    assert "nothing.txt cannot be read" in said.err


def test_token_command_that_fails_is_named(tallship: CommandLine) -> None:
    tallship.write("name: k8s\nhetzner:\n  token_command: ['false']\n")
    said = tallship("plan")
    assert said.code == 2
    assert "`false` failed" in said.err


@pytest.mark.parametrize("command", ["kubeconfig", "talosconfig"])
def test_credentials_are_not_there_before_up(tallship: CommandLine, command: str) -> None:
    tallship.write("name: k8s\n")
    said = tallship(command)
    assert (said.code, said.out) == (2, "")
    assert f"there is no {command} of `k8s` yet" in said.err
    assert "tallship up" in said.err


def test_missing_file_is_told_with_init_as_the_way_out(tallship: CommandLine) -> None:
    said = tallship("validate")
    assert said.code == 2
    assert "tallship.yaml" in said.err
    assert "tallship init" in said.err


def test_state_folder_that_cannot_be_made_is_told(tallship: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tallship.write("name: k8s\n")
    monkeypatch.setenv("XDG_STATE_HOME", str(path))
    said = tallship("kubeconfig")
    assert said.code == 2
    assert "cannot be written" in said.err


def test_render_writes_the_example_tree(tallship: CommandLine) -> None:
    said = tallship("render", "tree", "--file", str(EXAMPLE / "tallship.yaml"))
    assert said.code == 0
    made = {path.relative_to("tree"): path.read_text() for path in Path("tree").rglob("*") if path.is_file()}
    there = {path.relative_to(EXAMPLE): path.read_text() for path in EXAMPLE.rglob("*") if path.is_file()}
    assert {path: text for path, text in there.items() if path in made} == made
    assert set(there) - set(made) <= {Path("tallship.yaml")}
    assert said.out.splitlines() == sorted(str("tree" / path) for path in made)


def test_render_says_that_a_place_cannot_be_written(tallship: CommandLine) -> None:
    tallship.write("name: k8s\n")
    said = tallship("render", "tallship.yaml")
    assert (said.code, said.out) == (2, "")
    assert "tallship.yaml cannot be written" in said.err


def test_tools_that_are_missing_are_told_with_how_to_get_them(
    tallship: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tallship.folder))
    said = tallship("tools")
    assert said.code == 2
    for name in ("kind", "clusterctl", "helm"):
        assert name in said.out
    assert said.out.count("not installed: ") == 3
    assert said.out.count("https://") >= 3
    data = tallship("tools", "--output", "json").data["tools"]
    assert {each["name"] for each in data} == {"kind", "clusterctl", "helm"}


@pytest.mark.parametrize("words", WORDS, ids=" ".join)
def test_every_command_prints_one_envelope_also_when_it_fails(tallship: CommandLine, words: list[str]) -> None:
    more = ["--file", "nothing.yaml"] if words not in (["tools"], ["init"]) else []
    more = [*more, "tree"] if words == ["render"] else more
    said = tallship(*words, *more, "--output", "json")
    assert said.envelope["command"] == " ".join(words)
    assert bool(said.envelope["errors"]) is (bool(more) and said.code != 0)
    assert bool(said.code) is bool(said.envelope["errors"]) or words == ["tools"]


@pytest.mark.parametrize(
    "words", [["sail"], ["plan", "--fast"], ["--output", "json", "plan"], ["plan", "--output=json"]], ids=" ".join
)
def test_refused_words_print_an_envelope_too(tallship: CommandLine, words: list[str]) -> None:
    more = [] if "json" in " ".join(words) else ["--output", "json"]
    said = tallship(*words, *more)
    assert said.code == 2
    assert said.envelope["errors"][0]["hint"]


@pytest.mark.parametrize("words", [[], *([name] for name in GROUPS), *WORDS], ids=" ".join)
def test_help_of_every_command_lists_its_options(tallship: CommandLine, words: list[str]) -> None:
    said = tallship(*words, "--help")
    assert said.code == 0
    assert "Usage: tallship" in said.out
    if words in WORDS:
        for option in ("--file", "--lab", "--output", "--yes", "--timeout", "--verbose", "--quiet"):
            assert option in said.out


def test_help_shows_every_command(tallship: CommandLine) -> None:
    said = "".join(tallship(*group, "--help").out for group in ([], *([name] for name in GROUPS)))
    assert all(words[-1] in said for words in WORDS)


def test_help_imports_no_sdk() -> None:
    help_ = "import sys; from tallship.cli.main import main; main(['--help'])"
    look = f"{help_}; print([name for name in {SDKS} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_bug_is_one_line_and_its_traceback_is_in_the_log(
    tallship: CommandLine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(path: Path) -> None:
        raise ZeroDivisionError("of a secret")

    tallship.write("name: k8s\n")
    monkeypatch.setattr("tallship.cli.validate.read_spec", fail)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    said = tallship("validate")
    assert (said.code, said.out) == (70, "")
    assert "error: unexpected ZeroDivisionError" in said.err
    assert "Traceback" not in said.err
    log = Path(said.err.rpartition("log: ")[2].strip())
    assert "ZeroDivisionError" in log.read_text()
    assert log.stat().st_mode & 0o077 == 0


def test_reader_that_closes_its_end_is_no_bug(tallship: CommandLine) -> None:
    """As with `tallship render … | head -0`."""
    tallship.write("name: k8s\n")
    read, write = os.pipe()
    os.close(read)
    command = [Path(sys.executable).parent / "tallship", "render", "tree"]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    os.close(write)
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_value_of_an_option_is_not_taken_for_the_command(tallship: CommandLine) -> None:
    said = tallship("--output", "json", "tools")
    assert said.code == 2
    assert said.envelope["command"] == ""
    assert said.envelope["errors"][0]["hint"] == "`tallship --help` shows what it takes"


def test_colours_stay_out_of_pipes(tallship: CommandLine) -> None:
    tallship.write("name: k8s\n")
    said = tallship("tools")
    assert "\x1b" not in said.out + said.err
    assert json.loads(tallship("tools", "--output", "json").out)
