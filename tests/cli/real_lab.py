"""One cluster file with a real lab behind it, used through `tallship` as a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import hcloud

from tallship.lab import daemon

PROGRAM = str(Path(sys.executable).parent / "tallship")
SPEED = "60"
SECONDS = 100.0
"""Real seconds that a command may take."""


class RealLab:
    """A folder with tallship.yaml, a home, and the lab of that file."""

    seconds = SECONDS

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.home.mkdir()
        (folder / "tallship.yaml").write_text("name: k8s\n")
        path = f"{Path(PROGRAM).parent}{os.pathsep}{os.environ['PATH']}"
        kept = {"PATH": path, "LANG": "C.UTF-8", "HOME": str(self.home)}
        self.environment = {**kept, "XDG_STATE_HOME": str(self.home / "state"), "KUBECONFIG": str(folder / "usual")}

    @property
    def state(self) -> Path:
        """The state folder of the file's lab."""
        (found,) = (self.home / "state" / "tallship").iterdir()
        return found

    @property
    def handle(self) -> daemon.LabHandle:
        """The lab that runs."""
        found = daemon.find(self.state / "lab")
        assert found is not None
        return found

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start `tallship` and return at once."""
        return subprocess.Popen(
            [PROGRAM, *words],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: str, code: int = 0) -> tuple[str, str]:
        """Run `tallship` and return stdout and stderr; it exits with this code."""
        return ended(self.start(*words), code, self.seconds)

    def data(self, *words: str, code: int = 0) -> dict[str, Any]:
        """Return the `data` of the envelope."""
        out, _ = self.run(*words, "--output", "json", code=code)
        envelope = json.loads(out)
        assert envelope["exit_code"] == code
        found: dict[str, Any] = envelope["data"]
        return found

    def inventory(self) -> Counter[str]:
        """Count what the lab's Hetzner holds."""
        client = hcloud.Client(self.handle.token, self.handle.hetzner_endpoint, timeout=20)
        inner = client._client._session
        inner.verify, inner.trust_env = str(self.handle.ca_file), False
        with closing(inner):
            images = client.images.get_all(type="snapshot")
            return Counter(
                servers=len(client.servers.get_all()),
                load_balancers=len(client.load_balancers.get_all()),
                networks=len(client.networks.get_all()),
                firewalls=len(client.firewalls.get_all()),
                images=len(images),
                keys=len(client.ssh_keys.get_all()),
                builders=sum("control-plane" not in str(each.name) for each in client.servers.get_all()),
            )


def ended(process: subprocess.Popen[str], code: int, seconds: float = SECONDS) -> tuple[str, str]:
    """Return stdout and stderr of a process that ends with this code."""
    try:
        out, err = process.communicate(timeout=seconds)
    finally:
        process.kill()
    assert process.returncode == code, f"{process.returncode}\n{out}\n{err}"
    return out, err
