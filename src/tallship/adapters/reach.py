"""Who answers on the network, asked without a word being said."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Iterable

Target = tuple[str, int]
"""Host and port."""


def listening(hosts: Iterable[str], port: int, timeout: float = 2.0) -> set[str]:
    """Return those hosts that accept a TCP connection at the port within `timeout` seconds; all are asked at once."""
    return asyncio.run(_listening(list(hosts), port, timeout))


async def _listening(hosts: list[str], port: int, timeout: float) -> set[str]:
    found = await asyncio.gather(*(_accepts(host, port, timeout) for host in hosts))
    return {host for host, accepts in zip(hosts, found, strict=True) if accepts}


def answering(targets: Iterable[Target], timeout: float = 1.5) -> set[Target]:
    """Return those targets with which a TLS handshake ends well within `timeout` seconds; all are asked at once.

    A TCP connection alone says little: a load balancer takes it for a service whose targets are all down. Whose
    certificate it is does not matter here, and none is shown: TLS 1.3 asks for ours after the handshake.
    """
    return asyncio.run(_answering(list(targets), timeout))


async def _answering(targets: list[Target], timeout: float) -> set[Target]:
    found = await asyncio.gather(*(_shakes_hands(target, timeout) for target in targets))
    return {target for target, answers in zip(targets, found, strict=True) if answers}


async def _shakes_hands(target: Target, timeout: float) -> bool:
    anybody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    anybody.check_hostname, anybody.verify_mode = False, ssl.CERT_NONE
    anybody.set_alpn_protocols(["h2", "http/1.1"])
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
