"""What the builder runs is a script that bash can read, and its words are understood."""

from __future__ import annotations

import subprocess

import pytest

from tallship.manifests import image_script
from tallship.manifests.image_script import Ending, ending, progress, script

SIZE = 1_000_000
WHOLE = "1000000 bytes (1.0 MB, 977 KiB) copied, 0.5 s, 2.0 MB/s"
HALF = "500000 bytes (500 kB, 488 KiB) copied, 0.5 s, 1.0 MB/s"
GOOD = "ended curl=0 count=0 xz=0 dd=0"


@pytest.mark.parametrize("with_checksum", [True, False])
def test_a_shell_can_read_the_script(with_checksum: bool) -> None:
    text = script("https://factory.example/image", with_checksum)
    subprocess.run(["bash", "-n"], input=text, text=True, check=True, capture_output=True)
    assert "@" not in text.replace('"${PIPESTATUS[@]}"', "")
    assert ("sha256sum" in text) is with_checksum
    assert "--retry" not in text


@pytest.mark.parametrize(
    ("status", "lines", "problem", "again"),
    [
        (0, [WHOLE, GOOD], "", False),
        (0, [HALF, GOOD], "sent 500000 of the image's 1000000 bytes", True),
        (0, [HALF, "ended curl=18 count=0 xz=1 dd=0"], "broke off after 500000 of 1000000 bytes", True),
        (0, ["ended curl=22 count=0 xz=1 dd=0"], "refused the download", True),
        (0, [HALF, "ended curl=23 count=141 xz=1 dd=0"], "damaged", True),
        (0, [WHOLE, "ended curl=0 count=0 xz=1 dd=0"], "damaged", True),
        (0, ["disk: dd: error writing: No space left on device", "ended curl=23 count=141 xz=141 dd=1"], "fit", False),
        (0, ["ended curl=23 count=141 xz=141 dd=1"], "cannot be written", False),
        (70, ["/dev/sda is in use"], "booted from its disk", True),
        (-1, [WHOLE], "ended with -1", True),
    ],
)
def test_the_part_that_failed_is_named(status: int, lines: list[str], problem: str, again: bool) -> None:
    found = ending(status, lines, SIZE, "")
    assert problem in found.problem
    assert bool(found.problem) is bool(problem)
    assert found.again is again


def test_a_length_that_the_factory_does_not_tell_is_not_missed() -> None:
    assert ending(0, [WHOLE, GOOD], 0, "") == Ending("")


def test_checksums_are_compared() -> None:
    good, bad = "a" * 64, "b" * 64
    assert ending(0, [WHOLE, f"sha256 {good}", GOOD], SIZE, good).problem == ""
    assert bad in ending(0, [WHOLE, f"sha256 {bad}", GOOD], SIZE, good).problem
    assert "unknown" in ending(0, [WHOLE, GOOD], SIZE, good).problem


@pytest.mark.parametrize(
    ("line", "size", "text"),
    [
        (HALF, SIZE, "50 % of 1 MB, 1 MB/s"),
        ("120000000 bytes (120 MB, 114 MiB) copied, 2 s, 60 MB/s", 0, "120 MB, 60 MB/s"),
        ("7 bytes copied, 2.5e-05 s, 280 kB/s", 7, "100 % of 0 kB, 280 kB/s"),
        ("0 bytes copied, 0 s, 0.0 kB/s", 7, "0 % of 0 kB"),
    ],
)
def test_progress_is_bytes_and_rate(line: str, size: int, text: str) -> None:
    found = progress(line)
    assert found is not None
    assert found.text(size) == text


@pytest.mark.parametrize("line", ["2+1 records in", "disk: 9 bytes copied, 1 s, 9 B/s", "curl: (22) 404", ""])
def test_other_words_are_no_progress(line: str) -> None:
    assert progress(line) is None


def test_every_part_of_the_pipe_has_its_place() -> None:
    for with_checksum in (True, False):
        pipe = script("u", with_checksum).split("curl -fsSL", 1)[1].split("parts=", 1)[0]
        places = [part.split()[0] for part in pipe.split("|\n")]
        text = script("u", with_checksum)
        assert f"xz=${{parts[{places.index('xz')}]}} dd=${{parts[{len(places) - 1}]}}" in text
    assert image_script.WRONG_SYSTEM == 70
