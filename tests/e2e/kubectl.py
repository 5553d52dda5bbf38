"""The real kubectl."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SECONDS = 60.0


class Refused(Exception):
    """kubectl failed; the text is its stderr."""


@dataclass(frozen=True)
class Kubectl:
    """kubectl for one cluster, with a home of its own."""

    program: Path
    kubeconfig: Path
    home: Path

    def __call__(self, *arguments: str, stdin: str = "") -> str:
        """Return what kubectl says. Raises Refused."""
        done = subprocess.run(
            [self.program, f"--kubeconfig={self.kubeconfig}", *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            env={"HOME": str(self.home)},
        )
        if done.returncode:
            raise Refused(done.stderr.strip())
        return done.stdout

    def answers(self) -> bool:
        """True when the API server is ready."""
        try:
            self("get", "--raw", "/readyz")
        except Refused:
            return False
        return True

    def get(self, *arguments: str) -> Any:
        """Return what `kubectl get` finds, as documents."""
        return json.loads(self("get", *arguments, "-o", "json"))
