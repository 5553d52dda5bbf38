"""Who answers on the network, asked without a word being said."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

Target = tuple[str, int]
"""Host and port."""
Asked = TypeVar("Asked")
SIDE_BY_SIDE = 100
"""Connections at a time: a process may have as few as 256 open files."""


def listening(hosts: Iterable[str], port: int, timeout: float = 2.0) -> set[str]:
    """Return those hosts that accept a TCP connection at the port within `timeout` seconds; many are asked at once."""
    return asyncio.run(_those(hosts, lambda host: _accepts(host, port, timeout)))


def answering(targets: Iterable[Target], timeout: float = 1.5) -> set[Target]:
    """Return those targets with which a TLS handshake ends well within `timeout` seconds; many are asked at once.

    A TCP connection alone says little: a load balancer takes it for a service whose targets are all down. Whose
    certificate it is does not matter here, and none is shown: TLS 1.3 asks for ours after the handshake.
    """
    anybody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    anybody.check_hostname, anybody.verify_mode = False, ssl.CERT_NONE
    anybody.set_alpn_protocols(["h2", "http/1.1"])
    return asyncio.run(_those(targets, lambda target: _shakes_hands(target, anybody, timeout)))


async def _those(all_of_them: Iterable[Asked], ask: Callable[[Asked], Awaitable[bool]]) -> set[Asked]:
    """Return those who say yes."""
    asked, turn = list(all_of_them), asyncio.Semaphore(SIDE_BY_SIDE)

    async def in_turn(one: Asked) -> bool:
        async with turn:
            return await ask(one)

    found = await asyncio.gather(*map(in_turn, asked))
    return {one for one, says_yes in zip(asked, found, strict=True) if says_yes}


async def _shakes_hands(target: Target, anybody: ssl.SSLContext, timeout: float) -> bool:
    try:
        async with asyncio.timeout(timeout):
            _, writer = await asyncio.open_connection(*target, ssl=anybody)
    except OSError:  # TimeoutError and ssl.SSLError are two
        return False
    writer.transport.abort()  # closing TLS politely waits for the other side
    return True


async def _accepts(host: str, port: int, timeout: float) -> bool:
    try:
        async with asyncio.timeout(timeout):
            _, writer = await asyncio.open_connection(host, port)
    except OSError:  # TimeoutError is one
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True
