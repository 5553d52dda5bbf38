"""What the image builder runs, and what its words mean."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

WRONG_SYSTEM = 70
"""The script's exit status on a server that has booted from its disk."""
_SCRIPT = """\
set -u
export LC_ALL=C
cd
disk=${DISK:-/dev/sda}
if grep -q "^$disk" /proc/mounts; then
  echo "$disk is in use: this is not the rescue system"
  exit @WRONG_SYSTEM@
fi
@BEFORE@curl -fsSL --connect-timeout 20 --speed-limit 1024 --speed-time 60 -A tallship-builder '@URL@' 2> fetched |
  dd bs=1M iflag=fullblock status=progress |
@TEE@  xz -dc 2> unpacked |
  dd of="$disk" bs=4M iflag=fullblock conv=fsync status=noxfer 2> written
parts=("${PIPESTATUS[@]}")
sync
cat fetched unpacked
sed 's/^/disk: /' written
@AFTER@echo "ended curl=${parts[0]} count=${parts[1]} xz=${parts[@XZ@]} dd=${parts[@DD@]}"
"""
_COPIED = re.compile(r"(\d+) bytes .*copied, ([\d.]+(?:e-\d+)?) s,")
_ENDED = re.compile(r"ended curl=(\d+) count=(\d+) xz=(\d+) dd=(\d+)")
_SUM = re.compile(r"sha256 ([0-9a-f]{64})")
_BROKEN_PIPE = 23
"""curl: the program behind it in the pipe has ended."""
_HTTP_ERROR = 22
"""curl: the server answered with a status of 400 or more."""


@dataclass(frozen=True)
class Progress:
    """How much of the compressed image has arrived."""

    bytes: int
    seconds: float

    def text(self, size: int) -> str:
        """Return it for a person: `45 % of 120 MB, 61 MB/s`; `size` is 0 when the factory did not tell it."""
        share = f"{100 * self.bytes // size} % of {_amount(size)}" if size else _amount(self.bytes)
        return f"{share}, {_amount(self.bytes / self.seconds)}/s" if self.seconds else share


@dataclass(frozen=True)
class Ending:
    """How the script ended."""

    problem: str
    """Nothing when the image is on the disk, whole."""
    again: bool = False
    """True when the same may succeed a little later."""


def script(url: str, with_checksum: bool) -> str:
    """Return what the builder runs: one pipe from the factory to the disk, the exit status of each part told.

    curl does not try again by itself: in a pipe the second try would follow the bytes of the first. The first dd counts
    the compressed bytes and tells them each second; nobody else speaks meanwhile, between its words.
    """
    places = {
        "WRONG_SYSTEM": str(WRONG_SYSTEM),
        "URL": url,
        "BEFORE": "rm -f sum.pipe; mkfifo sum.pipe; sha256sum < sum.pipe > sum &\n" if with_checksum else "",
        "TEE": "  tee sum.pipe |\n" if with_checksum else "",
        "AFTER": 'wait; echo "sha256 $(cut -c 1-64 sum)"\n' if with_checksum else "",
        "XZ": "3" if with_checksum else "2",
        "DD": "4" if with_checksum else "3",
    }
    text = _SCRIPT
    for place, value in places.items():
        text = text.replace(f"@{place}@", value)
    return text


def progress(line: str) -> Progress | None:
    """Return what a line of the first dd tells, or None for any other line."""
    found = _COPIED.match(line)
    return Progress(int(found[1]), float(found[2])) if found else None


def ending(status: int, lines: Sequence[str], size: int, checksum: str) -> Ending:
    """Return how the script ended, from its exit status and its words.

    `size` is the compressed image's in bytes (0: not known), `checksum` its SHA-256 (empty: none is published).
    """
    ended = next((found for line in lines if (found := _ENDED.match(line))), None)
    if status == WRONG_SYSTEM:
        return Ending("the builder booted from its disk, not into its rescue system", again=True)
    if ended is None:
        return Ending(f"the builder's script ended with {status}", again=True)
    curl, _, xz, dd = map(int, ended.groups())
    arrived = max((told.bytes for line in lines if (told := progress(line))), default=0)
    if dd:
        full = any("No space left" in line for line in lines)
        return Ending(
            "the image does not fit on the builder's disk" if full else "the builder's disk cannot be written"
        )
    if curl == _HTTP_ERROR:
        return Ending("the Image Factory refused the download", again=True)
    if curl not in (0, _BROKEN_PIPE):
        return Ending(f"the download of the image broke off after {arrived} of {size or '?'} bytes", again=True)
    if size and arrived < size and curl == 0:
        return Ending(f"the Image Factory sent {arrived} of the image's {size} bytes", again=True)
    if xz:
        return Ending("the image is damaged: xz cannot unpack it", again=True)
    return Ending(_sum_problem(lines, checksum))


def _amount(count: float) -> str:
    return f"{count / 1e6:.0f} MB" if count >= 1e6 else f"{count / 1e3:.0f} kB"


def _sum_problem(lines: Sequence[str], checksum: str) -> str:
    if not checksum:
        return ""
    found = next((match[1] for line in lines if (match := _SUM.match(line))), "unknown")
    return "" if found == checksum else f"the image's checksum is {found}, not {checksum}"
