"""A local plane from outside: start it, find it, add programs to it, stop it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import Timeout

from tallship.errors import ProgramError, SetupError
from tallship.localplane import certificates, kubernetes
from tallship.localplane.certificates import Pair
from tallship.localplane.child import END_SECONDS, State
from tallship.localplane.files import Layout, last_lines, read_json, write_private
from tallship.localplane.processes import free_port, gone, is_free, is_running, send, started_at
from tallship.localplane.program import Program
from tallship.localplane.supervisor import end_former

START_SECONDS = 60.0
_ENOUGH_FAILURES = 3
_LOOK_SECONDS = 0.02
_STOP_SECONDS = 4 * END_SECONDS


@dataclass(frozen=True)
class Settings:
    """What a plane is to be."""

    programs: Path
    """A folder that holds etcd, kube-apiserver and kube-controller-manager."""
    address: str = kubernetes.LOOPBACK
    """A loopback address for the API server."""
    port: int = 0
    """The API server's port; 0: a free one, kept from then on."""
    hosts: tuple[str, ...] = ()
    """Further names and addresses that the API server's certificate is good for."""
    services: str = "10.0.0.0/24"
    """The network of Service addresses, CIDR."""
    authority: Pair | None = None
    """Who signs clients' certificates and the API server's; None: an authority of the plane's own."""
    encryption: str = field(default="", repr=False)
    """An EncryptionConfiguration, YAML, for what is stored encrypted; it holds keys."""

    def facts(self) -> dict[str, Any]:
        """Return what must be equal for a running plane to be the one that is wanted; no secrets."""
        given = "" if self.authority is None else self.authority.certificate
        return {
            "programs": str(self.programs.absolute()),
            "address": self.address,
            "port": self.port,
            "hosts": list(self.hosts),
            "services": self.services,
            "authority": given,
            "encrypted": bool(self.encryption),
        }


@dataclass(frozen=True)
class RunningProgram:
    """What the supervisor says of one program."""

    state: State
    pid: int
    """0 while there is no process."""
    restarts: int
    failures: int
    last_end: str
    """How it ended last, such as `exit code 1`; empty when it never did."""
    description: str
    """The mark of the description that it was started by."""
    started: str
    """When its process started, in the kernel's own count."""


@dataclass(frozen=True)
class LocalPlane:
    """A plane whose supervisor runs, or ran when it was found."""

    folder: Path
    pid: int
    started: str

    @property
    def kubeconfig(self) -> Path:
        """A kubeconfig of a cluster administrator, context `local`."""
        return Layout(self.folder).kubeconfig

    @property
    def authority(self) -> str:
        """The certificate (PEM) that the plane's serving certificates are signed by; what a `caBundle` holds."""
        return (Layout(self.folder).certificates / "ca.crt").read_text()

    @property
    def is_alive(self) -> bool:
        """True while the supervisor runs."""
        return is_running(self.pid, self.started)

    def programs(self) -> dict[str, RunningProgram]:
        """Return the state of each program."""
        found = read_json(Layout(self.folder).running).get("programs", {})
        return {name: _running(facts) for name, facts in found.items()}

    def log(self, name: str) -> Path:
        """Return a program's log."""
        return Layout(self.folder).log(name)

    def port(self, name: str) -> int:
        """Return a loopback port kept under a name, a free one at first."""
        layout = Layout(self.folder)
        with layout.lock("ports", START_SECONDS):
            kept = read_json(layout.kept)
            ports = kept.setdefault("ports", {})
            if name not in ports:
                ports[name] = free_port(kubernetes.LOOPBACK, ports.values())
                write_private(layout.kept, json.dumps(kept, indent=1))
            return int(ports[name])

    def serving_pair(self, name: str) -> Path:
        """Return a folder with `tls.crt` and `tls.key` for a server on loopback, signed by the plane's authority."""
        folder = Layout(self.folder).certificates / name
        folder.mkdir(exist_ok=True, mode=0o700)
        signer = Pair.read(folder.parent / "ca.crt", folder.parent / "ca.key")
        made = certificates.pair(signer, name, hosts=(kubernetes.LOOPBACK, "localhost"))
        made.write(folder / "tls.crt", folder / "tls.key")
        return folder

    def add(self, program: Program) -> None:
        """Keep a further program running, from now on and after every start of the plane; returns when it is ready.

        One that is there already is replaced when it is described otherwise. Raises ProgramError when it does not
        become ready; it stays then, and is started again and again, until it is removed.
        """
        program.write(Layout(self.folder).programs)
        send(self.pid, self.started, signal.SIGHUP)
        self._wait_ready([program], program.ready_seconds + 2 * END_SECONDS)

    def remove(self, name: str) -> None:
        """End a program and forget it; returns when it has ended. Raises ProgramError when it does not."""
        (Layout(self.folder).programs / f"{name}.json").unlink(missing_ok=True)
        send(self.pid, self.started, signal.SIGHUP)
        deadline = time.monotonic() + 2 * END_SECONDS
        while self.is_alive and name in self.programs():
            if time.monotonic() > deadline:
                raise ProgramError(f"`{name}` does not end", hint=f"see `{self.log(name)}`")
            time.sleep(_LOOK_SECONDS)

    def stop(self) -> None:
        """End all programs, what needs others first, and the supervisor; everything they know stays in the folder."""
        send(self.pid, self.started, signal.SIGTERM)
        if not gone(self.pid, self.started, _STOP_SECONDS):
            send(self.pid, self.started, signal.SIGKILL)  # its children die with it
            gone(self.pid, self.started, END_SECONDS)

    def _wait_ready(self, wanted: Iterable[Program], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        for program in wanted:
            while not self._is_ready(program):
                found = self.programs().get(program.name)
                tired = found is not None and found.description == program.mark and found.failures >= _ENOUGH_FAILURES
                if tired or time.monotonic() > deadline or not self.is_alive:
                    raise self._problem(program.name, found)
                time.sleep(_LOOK_SECONDS)

    def _is_ready(self, program: Program) -> bool:
        found = self.programs().get(program.name)
        return found is not None and found.state is State.READY and found.description == program.mark

    def _problem(self, name: str, found: RunningProgram | None) -> ProgramError:
        if not self.is_alive:
            log = self.log("supervisor")
            return ProgramError("the local plane's supervisor ended", detail=last_lines(log), hint=f"see `{log}`")
        how = f" ({found.last_end})" if found is not None and found.last_end else ""
        log = self.log(name)
        return ProgramError(f"`{name}` does not become ready{how}", detail=last_lines(log), hint=f"see `{log}`")


def start(folder: Path, settings: Settings) -> LocalPlane:
    """Return the plane of that folder when its three programs are ready, starting what does not run.

    A plane that runs with other settings is stopped and started with these; its objects stay.
    Raises SetupError when this machine cannot run one, and ProgramError when a program does not become ready.
    """
    layout = Layout(folder.absolute())
    check(settings.programs)
    try:
        layout.make()
        with layout.lock("start", START_SECONDS):
            return _start(layout, settings)
    except Timeout as timeout:
        raise SetupError(f"another process has been starting the plane in `{folder}` for too long") from timeout
    except OSError as error:
        hint = "choose a folder of yours, or free some space"
        raise SetupError(f"cannot start a local plane in `{folder}`", detail=str(error), hint=hint) from error


def find(folder: Path) -> LocalPlane | None:
    """Return the plane that runs in that folder, or None."""
    known = read_json(Layout(folder).running)
    if not known:
        return None
    found = LocalPlane(folder.absolute(), int(known["pid"]), str(known["started"]))
    return found if found.is_alive else None


def stop(folder: Path) -> bool:
    """End the plane that runs in that folder; False when none does."""
    found = find(folder)
    if found is None:
        return False
    found.stop()
    return True


def check(programs: Path) -> None:
    """Raise SetupError when this machine cannot run a plane of the programs in that folder."""
    if sys.platform != "linux":
        raise SetupError("a local plane needs Linux", hint="use kind, or a cluster you have")
    missing = [name for name in kubernetes.NAMES if not os.access(programs / name, os.X_OK)]
    if missing:
        names = ", ".join(f"`{name}`" for name in missing)
        hint = f"name a folder that holds {', '.join(kubernetes.NAMES)}"
        raise SetupError(f"`{programs}` holds no program {names}", hint=hint)


def _start(layout: Layout, settings: Settings) -> LocalPlane:
    found, kept = find(layout.folder), read_json(layout.kept)
    if found is not None and kept.get("settings") != settings.facts():
        found.stop()
        found = None
    if found is not None:
        try:
            found._wait_ready(_core(layout), START_SECONDS)
        except ProgramError:
            if found.is_alive:
                raise
        else:
            return found
    end_former(layout)
    _describe(layout, settings, kept.get("ports", {}))
    found = _spawn(layout)
    try:
        found._wait_ready(_core(layout), START_SECONDS)
    except BaseException:
        found.stop()
        raise
    return found


def _describe(layout: Layout, settings: Settings, kept_ports: dict[str, int]) -> None:
    """Write everything that the supervisor and its programs read."""
    ports = _ports(settings, kept_ports)
    write_private(layout.kept, json.dumps({"settings": settings.facts(), "ports": ports}, indent=1))
    api = kubernetes.Api(settings.address, ports[kubernetes.API_SERVER], settings.hosts, settings.services)
    kubernetes.write_certificates(layout, api, settings.authority)
    if settings.encryption:
        write_private(layout.encryption, settings.encryption)
    for program in kubernetes.programs(layout, settings.programs.absolute(), api, ports):
        program.write(layout.programs)


def _core(layout: Layout) -> list[Program]:
    return [Program.read(layout.programs / f"{name}.json") for name in kubernetes.NAMES]


def _ports(settings: Settings, kept: dict[str, int]) -> dict[str, int]:
    """Return the plane's ports: those kept, unless somebody else has taken one since. Raises SetupError."""
    ports = dict(kept)
    for name in (kubernetes.ETCD, kubernetes.PEERS, kubernetes.CONTROLLERS, kubernetes.API_SERVER):
        address = settings.address if name == kubernetes.API_SERVER else kubernetes.LOOPBACK
        if name not in ports or not is_free(address, ports[name]):
            ports[name] = free_port(address, ports.values())
    if settings.port:
        if not is_free(settings.address, settings.port):
            raise SetupError(f"port {settings.port} of {settings.address} is in use", hint="end what listens there")
        ports[kubernetes.API_SERVER] = settings.port
    return ports


def _spawn(layout: Layout) -> LocalPlane:
    """Start the supervisor; returns when it has said who it is. Raises ProgramError."""
    with layout.open_log("supervisor") as log:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "tallship.localplane", str(layout.folder)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C and the end of the terminal are not for it
            cwd=layout.home,
            env={"PATH": os.defpath},
        )
    found = LocalPlane(layout.folder, process.pid, started_at(process.pid))
    deadline = time.monotonic() + START_SECONDS
    while read_json(layout.running).get("pid") != process.pid:
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            process.wait()
            raise found._problem("supervisor", None)
        time.sleep(_LOOK_SECONDS)
    process.returncode = 0  # it outlives us: nobody waits for it
    return found


def _running(facts: dict[str, Any]) -> RunningProgram:
    return RunningProgram(**{**facts, "state": State(facts["state"])})
