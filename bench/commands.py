"""How long whole commands take on the wall, against a fresh lab at its usual speed."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from bench.figures import Figure
from bench.startup import PROGRAM

EXAMPLE = Path(__file__).parents[1] / "examples/k8s/tallship.yaml"
LONGEST = 90.0


def measure() -> list[Figure]:
    """Return the wall times of a first `up`, a second one, `status` and `plan`."""
    with tempfile.TemporaryDirectory(prefix="tallship-bench-") as folder:
        rehearsal = _Rehearsal(Path(folder))
        try:
            return [
                Figure(
                    "first `up --lab`, fresh state folder", rehearsal.run("up"), "s", 20, "the lab's start included"
                ),
                Figure("second `up --lab`", rehearsal.run("up"), "s"),
                Figure("`status --lab`", rehearsal.run("status"), "s"),
                Figure("`plan --lab`", rehearsal.run("plan"), "s"),
            ]
        finally:
            rehearsal.run("lab", "down")


class _Rehearsal:
    """A cluster file and a state folder that nobody used before."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "tallship.yaml"
        shutil.copy(EXAMPLE, self._file)
        self._environment = {**os.environ, "HOME": str(folder), "XDG_STATE_HOME": str(folder / "state")}
        self._environment.pop("HCLOUD_TOKEN", None)

    def run(self, *words: str) -> float:
        """Run a command and return its seconds on the wall."""
        lab = [] if words[0] == "lab" else ["--lab"]
        command = [str(PROGRAM), *words, *lab, "--file", str(self._file)]
        began = time.perf_counter()
        finished = subprocess.run(command, env=self._environment, capture_output=True, text=True, timeout=LONGEST)
        seconds = time.perf_counter() - began
        if finished.returncode != 0:
            raise RuntimeError(f"{' '.join(command)} ended with {finished.returncode}:\n{finished.stderr[-2000:]}")
        return seconds
