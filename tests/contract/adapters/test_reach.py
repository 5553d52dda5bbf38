"""Which hosts accept a connection, and which of them speak TLS."""

from __future__ import annotations

import socket
import ssl
import threading

from tallship.adapters import reach
from tallship.lab.store import Store
from tallship.lab.world import Authority


def test_only_hosts_that_listen_are_returned() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert reach.listening(["127.0.0.1", "127.0.0.2", "127.0.0.3"], port) == {"127.0.0.1"}


def test_nobody_is_asked_when_there_is_nobody() -> None:
    assert reach.listening([], 1) == set()
    assert reach.answering([]) == set()


def test_only_who_ends_a_tls_handshake_answers() -> None:
    tls = Authority(Store(), "lab").server_tls("127.0.0.1")
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_server(("127.0.0.2", 0)) as silent,
        socket.create_server(("127.0.0.3", 0)) as rude,
    ):
        threads = [threading.Thread(target=_serve, args=(each, tls)) for each in (server, rude)]
        for thread in threads:
            thread.start()
        speaks, waits, hangs_up = (each.getsockname()[:2] for each in (server, silent, rude))
        closed = ("127.0.0.4", waits[1])
        found = reach.answering([speaks, waits, hangs_up, closed], timeout=0.5)
        for thread in threads:
            thread.join(5)
    assert found == {speaks}


def _serve(server: socket.socket, tls: ssl.SSLContext) -> None:
    """Shake hands with one client, or hang up at once on 127.0.0.3."""
    server.settimeout(5)
    connection, _ = server.accept()
    with connection:
        if server.getsockname()[0] == "127.0.0.3":
            return
        with tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False) as speaking:
            speaking.do_handshake()
