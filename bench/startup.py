"""How long the program takes to say what it can, and what it loads for that."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from bench.figures import Figure

RUNS = 15
HEAVY = (
    "hcloud",
    "lightkube",
    "grpclib",
    "aiohttp",
    "paramiko",
    "pydantic",
    "requests",
    "httpx",
    "yaml",
    "cryptography",
)
"""None of these belongs into a process that prints help."""

PROGRAM = Path(sys.executable).with_name("tallship")


def measure() -> list[Figure]:
    """Return the wall times of whole processes, bare Python and `tallship --help` in turn, and what help loads."""
    bare, program = [], []
    for _ in range(RUNS):
        bare.append(_milliseconds([sys.executable, "-c", "pass"]))
        program.append(_milliseconds([str(PROGRAM), "--help"]))
    bare_median, median = statistics.median(bare), statistics.median(program)
    loaded = heavy_modules()
    note = f"fastest of {RUNS}: {min(program):.0f} ms, bare {min(bare):.0f} ms; bare median {bare_median:.0f} ms"
    return [
        Figure("`tallship --help`, median", median, "ms", 3 * bare_median + 200, note),
        Figure("heavy packages that `--help` loads", len(loaded), "", 0, ", ".join(loaded) or f"of {', '.join(HEAVY)}"),
    ]


def heavy_modules() -> list[str]:
    """Return those of HEAVY that `--help` imports."""
    finished = subprocess.run(
        [sys.executable, "-X", "importtime", str(PROGRAM), "--help"], capture_output=True, text=True, check=True
    )
    imported = {line.rsplit("|", 1)[-1].strip().split(".")[0] for line in finished.stderr.splitlines()}
    return [name for name in HEAVY if name in imported]


def _milliseconds(command: Sequence[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    return (time.perf_counter() - began) * 1000
