"""What goes wrong with a program on purpose, and what the lab makes of a command line that nobody sends."""

from __future__ import annotations

import pytest
from programs_lab import ProgramsLab

from tallship.errors import ProgramError
from tallship.lab.programs.command import form, parse
from tallship.lab.programs.conversation import Failed

FORMS = (form("get clusters"), form("create cluster", required="--name", flags="--retain", arguments=(0, 1)))


def test_program_fails_with_the_words_that_the_fault_says(lab: ProgramsLab) -> None:
    lab.fault("program-fails", {"program": "kind", "command": "get"}, stderr="ERROR: no space left on device", status=3)
    with pytest.raises(ProgramError, match=r"failed \(3\)") as caught:
        lab.client(lab.programs.kind_clusters)
    assert caught.value.detail == "ERROR: no space left on device"
    assert lab.client(lab.programs.kind_clusters) == []


def test_slow_program_takes_its_time(lab: ProgramsLab) -> None:
    lab.fault("program-slow", {"program": "kind"}, seconds=120)
    lab.client(lab.programs.kind_clusters)
    assert lab.clock.now() > 120


def test_command_line_is_read_in_any_order() -> None:
    command = parse("kind", ["create", "cluster", "--retain", "--name=a", "rest"], FORMS)
    assert (command["--name"], command.flags, command.arguments) == ("a", {"--retain"}, ["rest"])


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", 'unknown command "" for "kind"'),
        ("load image", 'unknown command "load" for "kind"'),
        ("get clusters --wait", "unknown flag: --wait"),
        ("get clusters -v", "unknown shorthand flag: 'v' in -v"),
        ("create cluster --name", "flag needs an argument: --name"),
        ("create cluster", 'required flag(s) "name" not set'),
        ("create cluster --name a b c", "requires 0 arguments, got 2"),
    ],
)
def test_other_command_lines_are_refused(line: str, words: str) -> None:
    with pytest.raises(Failed) as caught:
        parse("kind", line.split(), FORMS, "ERROR: ")
    assert words in caught.value.words
