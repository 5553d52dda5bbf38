"""Who answers on the network, asked without a word being said."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable


def listening(hosts: Iterable[str], port: int, timeout: float = 2.0) -> set[str]:
    """Return those hosts that accept a TCP connection at the port within `timeout` seconds; all are asked at once."""
    return asyncio.run(_listening(list(hosts), port, timeout))


async def _listening(hosts: list[str], port: int, timeout: float) -> set[str]:
    found = await asyncio.gather(*(_accepts(host, port, timeout) for host in hosts))
    return {host for host, accepts in zip(hosts, found, strict=True) if accepts}


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
