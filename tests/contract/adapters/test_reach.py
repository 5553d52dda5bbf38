"""Which hosts accept a connection."""

from __future__ import annotations

import socket

from tallship.adapters import reach


def test_only_hosts_that_listen_are_returned() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert reach.listening(["127.0.0.1", "127.0.0.2", "127.0.0.3"], port) == {"127.0.0.1"}


def test_nobody_is_asked_when_there_is_nobody() -> None:
    assert reach.listening([], 1) == set()
