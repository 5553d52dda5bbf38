"""The lab's HTTPS proxy, on real sockets: it leads to the lab's Hetzner and nowhere else."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, closing
from urllib.parse import urlsplit

import hcloud
import pytest

from tallship.lab import daemon
from tallship.lab.daemon import LabHandle
from tallship.lab.proxy import Proxy, Streams

SECONDS = 10.0
"""Real seconds that an answer may take."""
CONNECT = b"CONNECT api.hetzner.cloud:443 HTTP/1.1\r\nHost: api.hetzner.cloud:443\r\n\r\n"
ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabHandle]:
    folder = tmp_path_factory.mktemp("lab")
    yield daemon.start(folder, daemon.Wanted(100.0))
    daemon.stop(folder)


def proxy_url(lab: LabHandle) -> str:
    return str(lab.status()["endpoints"]["proxy"])


def test_unchanged_client_reaches_the_lab_at_the_real_endpoint(lab: LabHandle) -> None:
    client = hcloud.Client(lab.token, timeout=SECONDS)
    assert client._client._endpoint == "https://api.hetzner.cloud/v1"
    with closing(client._client._session) as session:
        session.trust_env, session.verify, session.proxies = False, str(lab.ca_file), {"https": proxy_url(lab)}
        made = client.placement_groups.create("through-the-proxy", "spread").placement_group
        assert [each.id for each in client.placement_groups.get_all()] == [made.id]


def test_certificate_is_valid_for_the_real_name_and_for_the_address(lab: LabHandle) -> None:
    trust = ssl.create_default_context(cafile=str(lab.ca_file))
    endpoint = urlsplit(lab.hetzner_endpoint)
    for name in ("api.hetzner.cloud", str(endpoint.hostname)):
        with (
            socket.create_connection((str(endpoint.hostname), endpoint.port or 0), SECONDS) as raw,
            trust.wrap_socket(raw, server_hostname=name) as wrapped,
        ):
            assert wrapped.getpeercert()


def test_lab_that_ends_ends_its_tunnels(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("short")
    handle = daemon.start(folder, daemon.Wanted(100.0))
    try:
        url = urlsplit(proxy_url(handle))
        with socket.create_connection((str(url.hostname), url.port or 0), SECONDS) as raw:
            raw.sendall(CONNECT)
            assert raw.recv(len(ESTABLISHED), socket.MSG_WAITALL) == ESTABLISHED
            assert daemon.stop(folder)
            assert ended(raw)
    finally:
        daemon.stop(folder)


def ended(raw: socket.socket) -> bool:
    """True when the other side has ended the connection."""
    try:
        return raw.recv(1) == b""
    except ConnectionResetError:
        return True


@asynccontextmanager
async def proxied(answer: Callable[[Streams], Awaitable[None]], **limits: float) -> AsyncIterator[int]:
    """Serve what answers behind a proxy; yields the proxy's port."""

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await answer((reader, writer))
        writer.close()

    behind = await asyncio.start_server(accept, "127.0.0.1", 0)
    proxy = Proxy(behind.sockets[0].getsockname(), **limits)  # type: ignore[arg-type]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    await proxy.serve("127.0.0.1", port)
    try:
        yield port
    finally:
        await proxy.stop()
        behind.close()


async def echo(streams: Streams) -> None:
    reader, writer = streams
    while data := await reader.read(1000):
        writer.write(data)


async def cut(streams: Streams) -> None:
    await streams[0].read(1)
    streams[1].transport.abort()


async def exchange(port: int, *said: bytes, eof: bool = False) -> bytes:
    """Say it part by part; returns all that comes until the other side ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(SECONDS):
            for part in said:
                writer.write(part)
                await writer.drain()
            if eof:
                writer.write_eof()
            return await reader.read()
    except OSError as error:
        assert not isinstance(error, TimeoutError)
        return b"reset"
    finally:
        writer.close()


def outcome(
    *said: bytes, eof: bool = False, answer: Callable[[Streams], Awaitable[None]] = echo, **limits: float
) -> bytes:
    async def run() -> bytes:
        async with proxied(answer, **limits) as port:
            return await exchange(port, *said, eof=eof)

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("request_line", "why"),
    [
        (b"CONNECT example.com:443", b"leads to api.hetzner.cloud:443 only"),
        (b"CONNECT api.hetzner.cloud:80", b"leads to api.hetzner.cloud:443 only"),
        (b"CONNECT api.hetzner.cloud", b"leads to api.hetzner.cloud:443 only"),
        (b"CONNECT api.hetzner.cloud:443.example.com:443", b"leads to api.hetzner.cloud:443 only"),
        (b"CONNECT 127.0.0.1:22", b"leads to api.hetzner.cloud:443 only"),
        (b"GET http://api.hetzner.cloud:443/v1/servers", b"takes CONNECT only"),
        (b"POST /v1/servers", b"takes CONNECT only"),
    ],
)
def test_everything_else_is_refused_with_a_word_why(request_line: bytes, why: bytes) -> None:
    said = request_line + b" HTTP/1.1\r\nAuthorization: Bearer very-secret\r\n\r\n"
    head, _, body = outcome(said).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 403 ")
    assert why in head.splitlines()[0]
    assert why in body
    assert b"very-secret" not in head + body


@pytest.mark.parametrize("said", [b"hello\r\n\r\n", b"\x16\x03\x01\r\n\r\n", b"CONNECT api.hetzner.cloud:443\r\n\r\n"])
def test_what_is_not_http_is_refused(said: bytes) -> None:
    assert outcome(said).startswith(b"HTTP/1.1 400 ")


def test_endless_head_is_refused() -> None:
    assert outcome(CONNECT[:-2] + b"X: " + b"x" * 20000).startswith(b"HTTP/1.1 400 ")


def test_name_in_capitals_is_the_same_name() -> None:
    assert outcome(CONNECT.replace(b"api.hetzner", b"API.Hetzner"), eof=True) == ESTABLISHED


def test_tunnel_carries_what_comes_early_and_ends_after_both_sides() -> None:
    assert outcome(CONNECT + b"early", b"late" * 50_000, eof=True) == ESTABLISHED + b"early" + b"late" * 50_000


@pytest.mark.parametrize("said", [b"", b"CONNECT", CONNECT[:-1]])
def test_half_open_connect_ends(said: bytes) -> None:
    began = time.monotonic()
    assert outcome(said, head_seconds=0.05) == b""
    assert time.monotonic() - began < SECONDS / 2


@pytest.mark.parametrize("said", [b"", CONNECT[:-1]])
def test_client_that_leaves_early_is_forgotten(said: bytes) -> None:
    assert outcome(said, eof=True) == b""


def test_idle_tunnel_ends() -> None:
    assert outcome(CONNECT, b"once", idle_seconds=0.1) == ESTABLISHED + b"once"


def test_cut_on_one_side_is_a_cut_on_the_other() -> None:
    assert outcome(CONNECT, b"request", answer=cut) in (ESTABLISHED, b"reset")


def test_more_clients_than_the_limit_are_told_so() -> None:
    async def run() -> tuple[bytes, bytes]:
        async with proxied(echo, connections=1) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(CONNECT)
            await reader.readexactly(len(ESTABLISHED))
            told = await exchange(port)
            writer.close()
            async with asyncio.timeout(SECONDS):
                await reader.read()
                while (later := await exchange(port, CONNECT, eof=True)) != ESTABLISHED:
                    pass  # the first one is not forgotten yet
            return told, later

    told, later = asyncio.run(run())
    assert told.startswith(b"HTTP/1.1 503 ")
    assert later == ESTABLISHED


def test_lab_that_does_not_answer_ends_the_connection() -> None:
    async def run() -> bytes:
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))
            proxy = Proxy(nobody.getsockname())
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                port = int(free.getsockname()[1])
            await proxy.serve("127.0.0.1", port)
            told = await exchange(port, CONNECT)
            await proxy.stop()
            return told

    assert asyncio.run(run()) in (b"", b"reset")
