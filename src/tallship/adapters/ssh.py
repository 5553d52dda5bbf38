"""The image builder's only way in: SSH with a key made for one build."""

from __future__ import annotations

import io
import logging
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import paramiko

from tallship.errors import ApiError, Interrupted, Unreachable

TICK = 0.5
"""Seconds between two looks whether somebody wants to stop."""
CHUNK = 64 * 1024
BEGIN_ANEW = "run the same command again: it begins anew"
logging.getLogger("paramiko").addHandler(logging.NullHandler())  # its errors are ours to tell


@dataclass(frozen=True)
class KeyPair:
    """An ed25519 key pair in OpenSSH's formats."""

    private: str = field(repr=False)
    public: str


def new_key_pair() -> KeyPair:
    """Return a key pair that nobody has seen before."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH
    private = key.private_bytes(encoding, form, serialization.NoEncryption()).decode()
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return KeyPair(private, public.decode())


class Rescue:
    """A server in its rescue system, which has a new host key at each boot.

    The key of the first connection is kept for this build; nothing secret is sent through it.
    """

    def __init__(self, host: str, port: int, key: KeyPair, timeout: float = 15) -> None:
        self._address = (host, port)
        self._key = paramiko.Ed25519Key.from_private_key(io.StringIO(key.private))
        self._timeout = timeout
        self._host_key: paramiko.PKey | None = None

    def is_up(self) -> bool:
        """True when it lets the key in."""
        try:
            self._connect().close()
        except Unreachable:
            return False
        return True

    def run(self, script: str, heard: Callable[[str], None], stop: threading.Event, silence: float) -> int:
        """Run a bash script as root, handing over each line it prints; returns its exit status.

        Raises Unreachable when the connection breaks or nothing is heard for `silence` seconds, and Interrupted when
        `stop` is set: the script then ends by itself, because nobody reads what it says.
        """
        transport = self._connect()
        try:
            channel = transport.open_session(timeout=self._timeout)
            channel.set_combine_stderr(True)
            with _at_most(self._timeout, transport):
                channel.exec_command("bash -s")
                channel.sendall(script.encode())
                channel.shutdown_write()
            channel.settimeout(TICK)
            for line in _lines(channel, stop, silence):
                heard(line)
            with _at_most(self._timeout, transport):
                return channel.recv_exit_status()
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise Unreachable(f"the connection to the builder broke: {error}") from error
        finally:
            transport.close()

    def _connect(self) -> paramiko.Transport:
        try:
            connection = socket.create_connection(self._address, timeout=self._timeout)
        except OSError as error:
            raise Unreachable(f"no SSH at {self._address[0]}: {error}") from error
        transport = paramiko.Transport(connection)
        try:
            transport.start_client(timeout=self._timeout)
            host_key = transport.get_remote_server_key()
            if self._host_key is not None and host_key != self._host_key:
                raise ApiError("the builder's host key changed during the build", hint="run the same command again")
            self._host_key = host_key
            transport.auth_publickey("root", self._key)
        except (paramiko.SSHException, EOFError, OSError) as error:
            transport.close()
            raise Unreachable(f"SSH at {self._address[0]} is not ready: {error}") from error
        return transport


@contextmanager
def _at_most(seconds: float, transport: paramiko.Transport) -> Iterator[None]:
    """Close the connection when the block lasts longer: paramiko waits for ever for the answers to these requests."""
    watch = threading.Timer(seconds, transport.close)
    watch.daemon = True
    watch.start()
    try:
        yield
    finally:
        watch.cancel()


def _lines(channel: paramiko.Channel, stop: threading.Event, silence: float) -> Iterator[str]:
    """Yield what is said, line by line; a program that tells its progress ends a line with a carriage return."""
    rest, last = b"", time.monotonic()
    while True:
        if stop.is_set():
            raise Interrupted("stopped while the builder wrote its disk", hint=BEGIN_ANEW)
        try:
            part = channel.recv(CHUNK)
        except TimeoutError:
            if time.monotonic() - last > silence:
                raise Unreachable(f"the builder said nothing for {silence:.0f} s") from None
            continue
        *lines, rest = re.split(rb"[\r\n]+", rest + part)
        yield from (line.decode(errors="replace") for line in (lines if part else [rest]) if line)
        if not part:
            return
        last = time.monotonic()
