"""Stands in for etcd, kube-apiserver and kube-controller-manager: serves their health over TLS and notes its life.

Started as `NAME --flag=value …`; which one it is, its name says. What it notes goes to `life` beside it.
"""

from __future__ import annotations

import http.server
import signal
import ssl
import sys
from pathlib import Path
from urllib.parse import urlsplit

FLAGS = dict(each.removeprefix("--").split("=", 1) for each in sys.argv[1:])
NAME = Path(sys.argv[0]).name


class Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        sick = Path(sys.argv[0]).with_name(f"{NAME}.sick").exists()
        self.send_response(500 if sick else 200)
        self.end_headers()


def note(word: str) -> None:
    with Path(sys.argv[0]).with_name("life").open("a") as life:
        life.write(f"{NAME} {word}\n")


def end(*_: object) -> None:
    note("ends")
    sys.exit(0)


def address() -> tuple[str, int]:
    if "listen-client-urls" in FLAGS:
        url = urlsplit(FLAGS["listen-client-urls"])
        return str(url.hostname), int(url.port or 0)
    return FLAGS["bind-address"], int(FLAGS["secure-port"])


def context() -> ssl.SSLContext:
    made = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=FLAGS.get("trusted-ca-file"))
    certificate = FLAGS.get("cert-file") or FLAGS["tls-cert-file"]
    made.load_cert_chain(certificate, FLAGS.get("key-file") or FLAGS["tls-private-key-file"])
    made.verify_mode = ssl.CERT_REQUIRED if "client-cert-auth" in FLAGS else ssl.CERT_NONE
    return made


signal.signal(signal.SIGTERM, end)
note("starts")
server = http.server.HTTPServer(address(), Health)
server.socket = context().wrap_socket(server.socket, server_side=True)
server.serve_forever(poll_interval=0.02)
