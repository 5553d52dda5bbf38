"""A listening socket behind a firewall, whose connections end with the machine."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping

Doors = Mapping[str, Callable[[str], bool]]
"""The addresses of a machine, the one that it cannot do without first, and which sources each lets in."""
log = logging.getLogger(__name__)


class Listener(socket.socket):
    """Accepts what `admits` lets in, and drops the rest before a byte is read."""

    def __init__(self, address: str, port: int, admits: Callable[[str], bool]) -> None:
        super().__init__(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # asyncio sets TCP_NODELAY by it
        self._admits = admits
        self.is_deaf = False
        self._accepted: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        try:
            self.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.bind((address, port))
        except OSError:
            self.close()
            raise

    def accept(self) -> tuple[socket.socket, tuple[str, int]]:
        """Return the next connection. Raises ConnectionAbortedError for one that is not let in."""
        if self.is_deaf:
            raise BlockingIOError
        connection, peer = super().accept()
        if not self._admits(peer[0]):
            connection.close()
            raise ConnectionAbortedError("not let in")
        self._accepted.add(connection)
        return connection, peer

    def end(self) -> None:
        """End every connection, as a machine without power does."""
        for connection in self._accepted:
            with contextlib.suppress(OSError):  # it has ended already
                connection.shutdown(socket.SHUT_RDWR)


async def cut(opened: Iterable[Listener]) -> None:
    """End every connection, and take no more.

    asyncio (Python 3.11) forgets a connection whose server closes before the round of the loop after its acceptance.
    """
    known = list(opened)
    for listener in known:
        listener.is_deaf = True
    await asyncio.sleep(0)
    for listener in known:
        listener.end()


def listeners(doors: Doors, port: int) -> Iterator[Listener]:
    """Yield a listener for each address; one that a machine of another network has already is left out.

    Raises OSError when the first address is in use.
    """
    for number, (address, admits) in enumerate(doors.items()):
        try:
            yield Listener(address, port, admits)
        except OSError as error:
            if number == 0:
                raise
            log.warning("no machine listens on %s:%s a second time: %s", address, port, error)
