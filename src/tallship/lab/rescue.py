"""The rescue system of the lab's servers: real SSH, a real shell in a private folder, and a file as the disk.

The script that a builder sends runs as it would on a server, with `DISK` naming the file instead of /dev/sda.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import paramiko
from paramiko import common

from tallship.lab.clock import LabClock

PORT = 2222
"""Port 22 needs root on this machine."""
BOOT_SECONDS = 20
"""From power on until the rescue system's SSH answers."""
SCRIPT_SECONDS = 120
"""No script runs longer than this, in real time."""


class Rescue:
    """The rescue systems that are running; told by the Hetzner API when a server boots into one."""

    def __init__(
        self, clock: LabClock, folder: Path, ca_file: Path, wrote: Callable[[int, dict[str, Any]], None]
    ) -> None:
        self._clock = clock
        self._folder = folder
        self._ca_file = ca_file
        self._wrote = wrote
        self._running: dict[int, _Shell] = {}
        self._booting: set[asyncio.Task[None]] = set()

    async def powered_on(self, server: dict[str, Any], user_data: str, image: dict[str, Any]) -> None:
        """Boot the rescue system when that is what the server boots."""
        if image.get("rescue"):
            task = asyncio.create_task(self._boot(server, image))
            self._booting.add(task)
            task.add_done_callback(self._booting.discard)

    async def powered_off(self, server_id: int) -> None:
        """Stop its SSH; the disk stays."""
        shell = self._running.pop(server_id, None)
        if shell is not None:
            shell.stop()

    async def deleted(self, server_id: int) -> None:
        """Forget the server and its disk."""
        await self.powered_off(server_id)
        shutil.rmtree(self._folder / str(server_id), ignore_errors=True)

    async def stop(self) -> None:
        """Stop every rescue system."""
        for task in self._booting:
            task.cancel()
        for server_id in list(self._running):
            await self.powered_off(server_id)

    async def _boot(self, server: dict[str, Any], image: dict[str, Any]) -> None:
        await self._clock.sleep(BOOT_SECONDS)
        server_id = int(server["id"])
        folder = self._folder / str(server_id)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        environment = {
            "PATH": f"{_shims(folder)}:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(folder),
            "DISK": str(folder / "disk"),
            "CURL_CA_BUNDLE": str(self._ca_file),
            "SSL_CERT_FILE": str(self._ca_file),
        }
        address = (str(server["public_net"]["ipv4"]["ip"]), PORT)

        def ended() -> None:
            disk = folder / "disk"
            if disk.exists():
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
        threading.Thread(target=self._serve, daemon=True).start()

    def stop(self) -> None:
        """Close the listener and every connection."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for transport in self._transports:
            transport.close()

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
        with channel.makefile("rb") as incoming:
            script = incoming.read()
        process = subprocess.Popen(
            ["/bin/bash", "-c", command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=self._folder,
            env=self._environment,
            start_new_session=True,
        )
        killer = threading.Timer(SCRIPT_SECONDS, lambda: os.killpg(process.pid, 9))
        killer.start()
        assert process.stdin is not None and process.stdout is not None  # noqa: S101 - both are pipes
        try:
            process.stdin.write(script)
            process.stdin.close()
            for line in process.stdout:
                channel.sendall(line)
            status = process.wait()
            self._ended()
            channel.send_exit_status(status)
        except OSError:
            os.killpg(process.pid, 9)
        finally:
            killer.cancel()
            process.stdout.close()
            process.wait()
            channel.close()
