"""The image builder's only way in: SSH with a key made for one build."""

from __future__ import annotations

import io
import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass

import paramiko

from tallship.errors import ApiError, Unreachable

logging.getLogger("paramiko").addHandler(logging.NullHandler())  # its errors are ours to tell


@dataclass(frozen=True)
class KeyPair:
    """An ed25519 key pair in OpenSSH's formats."""

    private: str
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

    def run(self, script: str, heard: Callable[[str], None], seconds: float) -> int:
        """Run a bash script as root, handing over each line it prints; returns its exit status.

        Raises Unreachable when the connection breaks or nothing is heard for `seconds`.
        """
        transport = self._connect()
        try:
            channel = transport.open_session(timeout=self._timeout)
            channel.settimeout(seconds)
            channel.set_combine_stderr(True)
            channel.exec_command("bash -s")
            channel.sendall(script.encode())
            channel.shutdown_write()
            with channel.makefile("rb") as lines:
                for line in lines:
                    heard(line.decode(errors="replace").rstrip("\n"))
            return channel.recv_exit_status()
        except (paramiko.SSHException, OSError) as error:
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
