"""The way to a Talos API: who we are there, the connections, and what their errors mean."""

from __future__ import annotations

import asyncio
import base64
import ssl
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import urlsplit

import yaml
from google.protobuf.message import DecodeError
from grpclib.client import Channel
from grpclib.const import Status
from grpclib.exceptions import GRPCError, ProtocolError, StreamTerminatedError

from tallship import bounded
from tallship.adapters.shapes import MISREAD, Shape, fitted
from tallship.errors import ApiError, SetupError, Unreachable

Answer = TypeVar("Answer")

PORT = 50000
CONNECT_SECONDS = 10.0
"""How long an endpoint may take to take a connection."""
NO_ANSWER = (Status.UNAVAILABLE, Status.DEADLINE_EXCEEDED)
MAY_PASS = (Status.ABORTED, Status.CANCELLED, Status.RESOURCE_EXHAUSTED)
MAY_PASS_WHEN_REPEATED = (Status.UNKNOWN, Status.INTERNAL)
HINTS = {
    Status.PERMISSION_DENIED: "the talosconfig's role may not do this: `os:reader` looks, `os:admin` changes",
    Status.UNIMPLEMENTED: "the node is a worker, in maintenance mode, or of another Talos release",
    Status.UNAVAILABLE: "the endpoint answers, the node behind it does not",
}
OTHER_HINT = "is the node well? `tallship status` shows it; the same command goes on from here"
UNREADABLE = (*MISREAD, yaml.YAMLError)
"""What reading an answer raises that lacks a part."""
SILENT = "is the node up, and does the firewall let this machine through? `tallship status` looks"
OTHER_IDENTITY = (
    "the machine is of another cluster, in maintenance mode, or the address is not in its `machine.certSANs`"
)


@dataclass(frozen=True)
class Access:
    """Where the API is, whom we trust there, and as whom we speak."""

    endpoints: tuple[str, ...]
    authority: str
    certificate: str
    key: str = field(repr=False)
    nodes: tuple[str, ...] = ()
    """The nodes that the talosconfig names."""

    @classmethod
    def of(cls, path: Path, endpoints: Sequence[str] = ()) -> Access:
        """Return what the current context of a file says. Raises SetupError when it is not one."""
        try:
            return cls.parse(bounded.read_text(path), endpoints)
        except (OSError, bounded.Unreadable) as error:
            raise SetupError(f"{path} cannot be read", detail=str(error), hint=_HINT) from error

    @classmethod
    def parse(cls, talosconfig: str, endpoints: Sequence[str] = ()) -> Access:
        """Return what the current context of a talosconfig says. Raises SetupError when it is not one."""
        try:
            config = bounded.load(talosconfig)
            context = fitted(config["contexts"][config["context"]], _CONTEXT)
            named = tuple(endpoints) or tuple(context.get("endpoints", ()))
            for each in named:
                host_and_port(each)
            ca, certificate, key = (base64.b64decode(context[each]).decode() for each in ("ca", "crt", "key"))
        except (bounded.Unreadable, *MISREAD) as error:
            raise SetupError("the talosconfig cannot be read", detail=str(error)[:200], hint=_HINT) from error
        if not named:
            raise SetupError("the talosconfig names no endpoint", hint=_HINT)
        key = key.replace("ED25519 PRIVATE KEY", "PRIVATE KEY")
        return cls(named, ca, certificate, key, tuple(context.get("nodes", ())))

    def tls(self) -> ssl.SSLContext:
        """Return a context that trusts only the cluster and is its client. Raises SetupError when a part is damaged.

        Talos heads an Ed25519 key `ED25519 PRIVATE KEY`, which OpenSSL does not know; the body is plain PKCS#8.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        try:
            context.load_verify_locations(cadata=self.authority)
            with tempfile.NamedTemporaryFile() as pair:  # ssl takes a client certificate from a file only
                pair.write(f"{self.certificate}\n{self.key}".encode())
                pair.flush()
                context.load_cert_chain(Path(pair.name), password="")  # else a locked key asks on the terminal
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            raise SetupError("the talosconfig cannot be read", detail=str(error), hint=_HINT) from error
        context.set_alpn_protocols(["h2"])
        return context


class Channels:
    """One connection for each endpoint, made when it is first used, all closed at the end."""

    def __init__(self, endpoints: Sequence[str], tls: ssl.SSLContext) -> None:
        self._endpoints = endpoints
        self._tls = tls
        self._open: dict[str, _Connection] = {}

    async def __aenter__(self) -> Channels:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for channel in self._open.values():
            channel.end()
        await asyncio.sleep(0)  # the loop closes a socket in its next turn

    async def first_answer(self, send: Callable[[Channel], Awaitable[Answer]]) -> Answer:
        """Return what the first endpoint that can be reached answers. Raises what the last one met."""
        for endpoint in self._endpoints[:-1]:
            try:
                return await send(self._channel(endpoint))
            except (OSError, StreamTerminatedError, TimeoutError):
                continue
        return await send(self._channel(self._endpoints[-1]))

    async def only_answer(self, send: Callable[[Channel], Awaitable[Answer]]) -> Answer:
        """Return what the first endpoint that takes a connection answers; no other is asked when it breaks off.

        For what must not happen twice: a node that is itself the endpoint may go down while it answers.
        """
        for endpoint in self._endpoints[:-1]:
            channel = self._channel(endpoint)
            try:
                await asyncio.wait_for(channel.__connect__(), CONNECT_SECONDS)
            except (OSError, TimeoutError):
                continue
            return await send(channel)
        return await send(self._channel(self._endpoints[-1]))

    def _channel(self, endpoint: str) -> Channel:
        if endpoint not in self._open:
            host, port = host_and_port(endpoint)
            self._open[endpoint] = _Connection(host, port, ssl=self._tls)
        return self._open[endpoint]


class _Connection(Channel):
    """A channel that ends at once: grpclib begins TLS' farewell and forgets the socket, which then nobody closes."""

    _transport: asyncio.BaseTransport | None = None

    async def _create_connection(self) -> Any:
        self._transport, protocol = await asyncio.get_running_loop().create_connection(
            self._protocol_factory, self._host, self._port, ssl=self._ssl
        )
        return protocol

    def end(self) -> None:
        """Close the connection and its socket."""
        self.close()
        if isinstance(self._transport, asyncio.Transport):
            self._transport.abort()


def translated(error: Exception, node: str, *, is_repeated: bool = True) -> ApiError:
    """Return the project's own error for what a call to the node met. Raises the error when it is a bug of ours.

    Talos: what fails behind a call is UNKNOWN, whether it passes or not; so one that may be repeated is.
    """
    if isinstance(error, GRPCError):
        status, told = Status(error.status), str(error.message or "no message")
        if status in NO_ANSWER:
            return Unreachable(f"Talos on {node} does not answer", code=status.name, detail=told, hint=_hint(status))
        may_pass = status in MAY_PASS or (is_repeated and status in MAY_PASS_WHEN_REPEATED)
        return ApiError(f"Talos on {node}: {told}", code=status.name, hint=_hint(status), may_pass=may_pass)
    if isinstance(error, ssl.SSLCertVerificationError):
        return Unreachable(f"Talos on {node}: {error.verify_message}", code="CERTIFICATE", hint=OTHER_IDENTITY)
    if isinstance(error, OSError | StreamTerminatedError | TimeoutError):
        detail = str(error) or "no answer in time"
        return Unreachable(f"Talos on {node} cannot be reached", code="UNAVAILABLE", detail=detail, hint=SILENT)
    if isinstance(error, DecodeError | ProtocolError):
        return malformed(node, "a call", error)
    raise error


def malformed(node: str, call: str, error: Exception) -> ApiError:
    """Return the error for an answer that has not the parts it must have."""
    return ApiError(
        f"Talos on {node} did not answer {call} as Talos does",
        code="MALFORMED",
        detail=repr(error)[:200],
        hint="is the node of a Talos release that this release of tallship knows? `tallship status` shows it",
        may_pass=True,
    )


def failure(reply: Any, node: str) -> ApiError | None:
    """Return the error that a reply carries in its own metadata, as apid writes it for one of several nodes."""
    for message in getattr(reply, "messages", ()):
        if message.metadata.error:
            code = message.metadata.status.code
            status = Status(code) if code in _CODES else Status.UNKNOWN
            return translated(GRPCError(status, message.metadata.error), node)
    return None


_CODES = {each.value for each in Status} - {Status.OK.value}


def _hint(status: Status) -> str:
    return HINTS.get(status, OTHER_HINT)


def host_and_port(endpoint: str) -> tuple[str, int]:
    """Return where an endpoint is: a name or an address, with or without a port, IPv6 with or without brackets.

    Raises ValueError for what is none.
    """
    if endpoint.count(":") > 1 and not endpoint.startswith("["):
        return endpoint, PORT
    parts = urlsplit(f"//{endpoint}")
    if not parts.hostname or not endpoint.isprintable():
        raise ValueError("an endpoint is no address")
    return parts.hostname, parts.port or PORT


_HINT = "`tallship up --only talosconfig` fetches it again"
_CONTEXT: Shape = {"ca!": str, "crt!": str, "key!": str, "endpoints": [str], "nodes": [str]}
