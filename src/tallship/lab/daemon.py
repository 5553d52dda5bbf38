"""The lab from outside: start its process, find it, ask it, stop it. Standard library only, for a fast command line."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from filelock import FileLock, Timeout

from tallship.errors import SetupError
from tallship.localplane.processes import is_running

API_SERVERS = "kubernetes"
"""The folder of real API servers, in the lab's own."""
COMPONENTS = "components"
"""The folder of what a real clusterctl installs."""
LOCAL = "local"
"""The folder of the programs of a local plane."""
CHARTS = "charts"
"""The folder of what a real helm installs."""
START_SECONDS = 60.0
STOP_SECONDS = 15.0
_ANSWER_SECONDS = 30.0
_NOT_INHERITED = ("HCLOUD_TOKEN", "HCLOUD_ENDPOINT", "PYTHONDEVMODE")


@dataclass(frozen=True)
class LabHandle:
    """A lab that runs: where it is, and its control interface."""

    folder: Path
    pid: int
    started: str
    network: str
    speed: float
    hetzner_endpoint: str
    factory_url: str
    control_url: str
    in_namespace: bool = False
    """True when it runs in a network namespace of its own, that of its process."""
    programs: Path | None = None
    """Where the programs of its API servers are, when these are real."""

    @property
    def ca_file(self) -> Path:
        """The CA that the lab's HTTPS endpoints are signed by."""
        return self.folder / "ca.pem"

    @property
    def token(self) -> str:
        """A token of the lab's Hetzner project that may write."""
        return (self.folder / "token").read_text().strip()

    @property
    def bin_folder(self) -> Path:
        """The stand-in programs, to be put first on PATH."""
        return self.folder / "bin"

    @property
    def local_programs(self) -> Path | None:
        """What a local plane is made of here; None where the API servers are not real."""
        return self.folder / LOCAL if self.programs is not None else None

    @property
    def components(self) -> Path | None:
        """What the real clusterctl installs here; None when the lab has its stand-in."""
        return self.folder / COMPONENTS if self._has_real("clusterctl") else None

    @property
    def charts(self) -> Path | None:
        """What the real helm installs here; None when the lab has its stand-in."""
        return self.folder / CHARTS if self._has_real("helm") else None

    def _has_real(self, program: str) -> bool:
        return self.programs is not None and (self.programs / program).is_file()

    @property
    def address_url(self) -> str:
        """Answers with the address that requests of the caller come from."""
        return f"{self.control_url}/address"

    @property
    def alive(self) -> bool:
        """True while the lab's process runs."""
        return is_running(self.pid, self.started)

    def status(self) -> dict[str, Any]:
        """Return writes per server since the last reset, endpoints, faults and lab time."""
        return self._ask("GET", "/status")

    def reset_counters(self) -> dict[str, Any]:
        """Begin to count writes anew."""
        return self._ask("POST", "/reset-counters")

    def add_fault(
        self, name: str, match: dict[str, str] | None = None, values: dict[str, Any] | None = None, times: int = 1
    ) -> str:
        """Make something go wrong `times` times (0: until cleared); returns the fault's id."""
        fault = {"name": name, "match": match or {}, "values": values or {}, "times": times}
        return str(self._ask("POST", "/faults", fault)["id"])

    def clear_faults(self, name: str = "") -> int:
        """Forget all faults, or all of one name; returns how many."""
        return int(self._ask("DELETE", f"/faults?name={name}")["cleared"])

    def issue_token(self, writable: bool = True) -> str:
        """Return a new token of the lab's Hetzner project."""
        return str(self._ask("POST", "/tokens", {"writable": writable})["token"])

    def issue_certificate(self, host: str) -> tuple[str, str]:
        """Return a certificate for a server on this machine and its key, PEM; `ca_file` vouches for it."""
        pair = self._ask("POST", "/certificates", {"host": host})
        return str(pair["certificate"]), str(pair["key"])

    def add_snapshot(self, talos: str, labels: dict[str, str], architecture: str = "x86") -> int:
        """Put a snapshot of Talos into the project as if it had been built there; returns its id."""
        wanted = {"talos": talos, "labels": labels, "architecture": architecture}
        return int(self._ask("POST", "/snapshots", wanted)["snapshot"]["id"])

    def stop(self) -> None:
        """End the lab's process; what it knows stays in its folder."""
        if self.in_namespace:  # outside, its address is anybody's
            _signal(self, signal.SIGTERM)
        else:
            self._ask_to_stop()
        if not _gone(self, STOP_SECONDS):
            _signal(self, signal.SIGKILL)
            _gone(self, STOP_SECONDS)

    def _ask_to_stop(self) -> None:
        try:
            self._ask("POST", "/stop")
        except SetupError:
            _signal(self, signal.SIGTERM)

    def _ask(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        secret = (self.folder / "secret").read_text().strip()
        headers = {
            "Authorization": f"Bearer {secret}",
            "User-Agent": "tallship-lab",
            "Content-Type": "application/json",
        }
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.control_url + path, data=data, headers=headers, method=method)  # noqa: S310
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=_ANSWER_SECONDS) as answer:
                found: dict[str, Any] = json.load(answer)
        except urllib.error.HTTPError as error:
            raise SetupError(f"the lab refused {method} {path}", detail=error.read().decode().strip()) from error
        except OSError as error:
            raise SetupError(
                f"the lab at {self.control_url} does not answer", detail=str(error), hint=_LOG_HINT
            ) from error
        return found


@dataclass(frozen=True)
class Wanted:
    """What a lab is to be when it has to be started."""

    speed: float
    without: tuple[str, ...] = ()
    network: str = "loopback"
    """Or `namespace`."""
    programs: Path | None = None
    """A folder with real programs, for real API servers."""

    def arguments(self) -> list[str]:
        """Return the lab's command line."""
        words = ["--speed", str(self.speed), f"--without={','.join(sorted(self.without))}", "--network", self.network]
        return words if self.programs is None else [*words, "--programs", str(self.programs.absolute())]


def start(folder: Path, wanted: Wanted) -> LabHandle:
    """Return the lab of that folder, starting its process when none runs.

    Raises SetupError when the folder cannot be written, a port is in use, or the lab does not come up in time.
    """
    _prepare(folder)
    try:
        with FileLock(folder / "start.lock", timeout=START_SECONDS):
            found = find(folder)
            if found is not None:
                return found
            _spawn(folder, wanted)
    except Timeout as timeout:
        raise SetupError(f"another process has been starting the lab in `{folder}` for too long") from timeout
    found = find(folder)
    if found is None:
        raise SetupError("the lab ended as soon as it had started", detail=_last_lines(folder), hint=_LOG_HINT)
    return found


def find(folder: Path) -> LabHandle | None:
    """Return the lab that runs in that folder, or None."""
    known = _known(folder)
    if not known:
        return None
    handle = LabHandle(
        folder=folder,
        pid=int(known["pid"]),
        started=str(known["started"]),
        network=str(known["network"]),
        speed=float(known["speed"]),
        hetzner_endpoint=str(known["hetzner_endpoint"]),
        factory_url=str(known["factory_url"]),
        control_url=str(known["control_url"]),
        in_namespace=bool(known.get("in_namespace", False)),
        programs=_path(known.get("programs")),
    )
    return handle if handle.alive else None


def remembered(folder: Path) -> Wanted | None:
    """Return what the lab of that folder was when it was started last; None when there was none."""
    known = _known(folder)
    if not known:
        return None
    network = "namespace" if known.get("in_namespace") else "loopback"
    return Wanted(float(known["speed"]), tuple(known["without"]), network, _path(known.get("programs")))


def stop(folder: Path) -> bool:
    """End the lab that runs in that folder; False when none does.

    API servers that a killed lab has left running are ended too.
    """
    found = find(folder)
    if found is not None:
        found.stop()
    return _stop_api_servers(folder) or found is not None


def _stop_api_servers(folder: Path) -> bool:
    planes = list((folder / API_SERVERS).glob("*"))
    if not planes:
        return False
    from tallship.localplane import plane  # slow to import, and seldom needed

    stopped = [plane.stop(each) for each in planes]
    return any(stopped)


def _known(folder: Path) -> dict[str, Any]:
    try:
        known: dict[str, Any] = json.loads((folder / "lab.json").read_text())
    except (OSError, ValueError):
        return {}
    return known


def _path(text: Any) -> Path | None:
    return Path(text) if text else None


_LOG_HINT = "see `lab.log` in the lab's folder"


def _prepare(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        hint = "choose a folder of yours, or free some space"
        raise SetupError(f"the lab cannot write to `{folder}`", detail=str(error), hint=hint) from error


def _spawn(folder: Path, wanted: Wanted) -> None:
    command = [sys.executable, "-m", "tallship.lab", "--folder", str(folder), *wanted.arguments()]
    kept = {key: text for key, text in os.environ.items() if not _is_foreign(key)}
    with (folder / "lab.log").open("a") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            start_new_session=True,
            cwd=folder,
            env=kept,
        )
    assert process.stdout is not None  # noqa: S101 - asked for above
    with process.stdout as pipe:
        word = _first_line(pipe)
    if word is None:
        process.kill()
        process.wait()
        raise SetupError(
            f"the lab did not come up within {START_SECONDS:.0f} s", detail=_last_lines(folder), hint=_LOG_HINT
        )
    if not word.get("ready"):
        process.wait()
        detail = word.get("detail") or _last_lines(folder)
        raise SetupError(word.get("error", "the lab did not start"), detail=detail, hint=word.get("hint", _LOG_HINT))
    process.returncode = 0  # it outlives us: nobody waits for it


def _first_line(pipe: IO[bytes]) -> dict[str, Any] | None:
    """Return the one line that the new process says; an empty dict when it died, None when it says nothing in time."""
    ready, _, _ = select.select([pipe], [], [], START_SECONDS)
    if not ready:
        return None
    try:
        word: dict[str, Any] = json.loads(pipe.readline() or b"{}")
    except ValueError:
        return {}
    return word


def _is_foreign(variable: str) -> bool:
    return variable in _NOT_INHERITED or variable.lower().endswith("_proxy")


def _last_lines(folder: Path) -> str:
    try:
        return "\n".join((folder / "lab.log").read_text(errors="replace").splitlines()[-5:])
    except OSError:
        return ""


def _signal(handle: LabHandle, number: signal.Signals) -> None:
    if handle.alive:
        os.kill(handle.pid, number)


def _gone(handle: LabHandle, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while handle.alive:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
