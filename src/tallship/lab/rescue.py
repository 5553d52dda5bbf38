"""The rescue system of the lab's servers: real SSH, a real shell in a private folder, and a file as the disk.

The script that a builder sends runs as it would on a server, with `DISK` naming the file instead of /dev/sda.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import paramiko
from paramiko import common

from tallship.lab.clock import LabClock
from tallship.lab.faults import Faults

log = logging.getLogger(__name__)

PORT = 2222
"""Port 22 needs root on this machine."""
BOOT_SECONDS = 20
"""From power on until the rescue system's SSH answers."""
REFUSED_SECONDS = 60.0
"""How long the fault `ssh-refused` keeps SSH closed when it does not say so itself."""
SCRIPT_SECONDS = 120
"""No script runs longer than this, in real time."""
FULL_DISK = Path("/dev/full")
"""Linux: whoever writes there is told that no space is left."""


class Rescue:
    """The rescue systems that are running; told by the Hetzner API when a server boots into one."""

    def __init__(
        self,
        clock: LabClock,
        faults: Faults,
        folder: Path,
        ca_file: Path,
        wrote: Callable[[int, dict[str, Any]], None],
    ) -> None:
        self._clock = clock
        self._faults = faults
        self._folder = folder
        self._ca_file = ca_file
        self._wrote = wrote
        self._running: dict[int, _Shell] = {}
        self._booting: dict[int, asyncio.Task[None]] = {}

    async def powered_on(self, server: dict[str, Any], user_data: str, image: dict[str, Any]) -> None:
        """Boot the rescue system when that is what the server boots."""
        if image.get("rescue"):
            self._booting[int(server["id"])] = asyncio.create_task(self._boot(server, image))

    async def powered_off(self, server_id: int) -> None:
        """Stop its SSH, or its boot; the disk stays."""
        booting = self._booting.pop(server_id, None)
        if booting is not None:
            booting.cancel()
        shell = self._running.pop(server_id, None)
        if shell is not None:
            shell.stop()

    async def deleted(self, server_id: int) -> None:
        """Forget the server and its disk."""
        await self.powered_off(server_id)
        shutil.rmtree(self._folder / str(server_id), ignore_errors=True)

    async def stop(self) -> None:
        """Stop every rescue system."""
        for server_id in [*self._booting, *self._running]:
            await self.powered_off(server_id)

    async def _boot(self, server: dict[str, Any], image: dict[str, Any]) -> None:
        machine = str(server["name"])
        if self._faults.take("no-rescue", machine=machine):
            return
        await self._clock.sleep(BOOT_SECONDS)
        if refused := self._faults.take("ssh-refused", machine=machine):
            await self._clock.sleep(float(refused.values.get("seconds", REFUSED_SECONDS)))
        server_id = int(server["id"])
        folder = self._folder / str(server_id)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        disk = FULL_DISK if self._faults.take("disk-too-small", machine=machine) else folder / "disk"
        environment = {
            "PATH": f"{_shims(folder)}:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(folder),
            "DISK": str(disk),
            "CURL_CA_BUNDLE": str(self._ca_file),
            "SSL_CERT_FILE": str(self._ca_file),
        }
        address = (str(server["public_net"]["ipv4"]["ip"]), PORT)

        def ended() -> None:
            if disk.is_file():
                self._wrote(server_id, written(disk))

        self._running[server_id] = _Shell(address, list(image.get("ssh_keys", [])), folder, environment, ended)


def written(disk: Path) -> dict[str, Any]:
    """Return what is on a disk: what its first line says, its size, and a hash of every byte."""
    import json

    content = disk.read_bytes()
    facts: dict[str, Any] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    with contextlib.suppress(ValueError):
        facts.update(json.loads(content.split(b"\n", 1)[0]))
    return facts


def _shims(folder: Path) -> Path:
    """Return a folder with `curl` and `xz`, which a rescue system has and this machine may lack."""
    place = folder / "bin"
    place.mkdir(exist_ok=True)
    programs = Path(__file__).parent / "rescue_programs"
    for name in ("curl", "xz"):
        if shutil.which(name) is None:
            shim = place / name
            shim.write_text(f"#!{sys.executable} -I\n{(programs / f'{name}.py').read_text(encoding='utf-8')}")
            shim.chmod(0o755)
    return place


class _Shell(paramiko.ServerInterface):
    """One SSH server that lets the given keys in as root and runs what they send."""

    def __init__(
        self,
        address: tuple[str, int],
        keys: list[str],
        folder: Path,
        environment: dict[str, str],
        ended: Callable[[], None],
    ) -> None:
        self._keys = {key.split()[1] for key in keys if len(key.split()) > 1}
        self._folder = folder
        self._environment = environment
        self._ended = ended
        self._host_key = paramiko.ECDSAKey.generate()
        self._listener = socket.create_server(address)
        self._transports: list[paramiko.Transport] = []
        self._processes: set[subprocess.Popen[bytes]] = set()
        threading.Thread(target=self._serve, daemon=True).start()

    def stop(self) -> None:
        """Close the listener and every connection, and end every script."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for transport in self._transports:
            transport.close()
        for process in list(self._processes):
            _kill(process)

    def get_allowed_auths(self, username: str) -> str:
        """Only keys are let in."""
        return "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        """Let root in with a key that the rescue system was enabled with."""
        known = username == "root" and key.get_base64() in self._keys
        return common.AUTH_SUCCESSFUL if known else common.AUTH_FAILED

    def check_channel_request(self, kind: str, chanid: int) -> int:
        """Allow sessions."""
        return common.OPEN_SUCCEEDED if kind == "session" else common.OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        """Run the command."""
        threading.Thread(target=self._run, args=(channel, command.decode()), daemon=True).start()
        return True

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            transport = paramiko.Transport(connection)
            transport.add_server_key(self._host_key)
            self._transports.append(transport)
            with contextlib.suppress(paramiko.SSHException, EOFError, OSError):
                transport.start_server(server=self)

    def _run(self, channel: paramiko.Channel, command: str) -> None:
        try:
            with channel.makefile("rb") as incoming, self._started(command) as process:
                self._feed(process, incoming.read(), channel)
        except OSError as error:  # the client is gone, or the server with its folder
            log.info("a script ended early: %s", error)
        finally:
            with contextlib.suppress(paramiko.SSHException, EOFError, OSError):
                channel.close()

    @contextlib.contextmanager
    def _started(self, command: str) -> Iterator[subprocess.Popen[bytes]]:
        """Start a script; nothing of it is left afterwards."""
        process = subprocess.Popen(
            ["/bin/bash", "-c", command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=self._folder,
            env=self._environment,
            start_new_session=True,
        )
        self._processes.add(process)
        killer = threading.Timer(SCRIPT_SECONDS, _kill, (process,))
        killer.start()
        try:
            with process:
                try:
                    yield process
                except OSError:
                    _kill(process)
                    raise
        finally:
            killer.cancel()
            self._processes.discard(process)

    def _feed(self, process: subprocess.Popen[bytes], script: bytes, channel: paramiko.Channel) -> None:
        assert process.stdin is not None and process.stdout is not None  # noqa: S101 - both are pipes
        process.stdin.write(script)
        process.stdin.close()
        while said := os.read(process.stdout.fileno(), 2**16):
            channel.sendall(said)
        status = process.wait()
        if status >= 0:
            self._ended()
            channel.send_exit_status(status)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End a script and everything that it has started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
