"""The reader of snapshots against a real etcd: what it reads is what etcd says."""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tallship.adapters import talos_snapshot

START_SECONDS = 30


class Etcd:
    """A member of its own, spoken to through etcd's JSON gateway."""

    def __init__(self, url: str) -> None:
        self.url = url

    def ask(self, path: str, **body: Any) -> Any:
        return json.loads(self.raw(path, body))

    def raw(self, path: str, body: Any) -> bytes:
        request = urllib.request.Request(f"{self.url}/v3/{path}", json.dumps(body).encode())  # noqa: S310 loopback
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 loopback
            return bytes(answer.read())

    def put(self, key: str, value: str = "v") -> None:
        self.ask("kv/put", key=encoded(key), value=encoded(value))

    def snapshot(self) -> bytes:
        lines = self.raw("maintenance/snapshot", {}).splitlines()
        return b"".join(base64.b64decode(json.loads(each)["result"].get("blob", "")) for each in lines)


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as probe:
        return int(probe.getsockname()[1])


@pytest.fixture
def etcd(programs: Path, tmp_path: Path) -> Iterator[Etcd]:
    client, peer = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
    options = ["--name=one", f"--data-dir={tmp_path}/data", f"--initial-cluster=one={peer}", "--log-level=error"]
    options += [f"--listen-client-urls={client}", f"--advertise-client-urls={client}", f"--listen-peer-urls={peer}"]
    process = subprocess.Popen([programs / "etcd", *options, f"--initial-advertise-peer-urls={peer}"])
    try:
        member, deadline = Etcd(client), time.monotonic() + START_SECONDS
        while True:
            try:
                member.put("ready")
                break
            except OSError:
                assert process.poll() is None
                assert time.monotonic() < deadline, "etcd does not serve"
                time.sleep(0.1)
        yield member
    finally:
        process.kill()
        process.wait(10)


def test_what_is_read_is_what_etcd_says(etcd: Etcd, tmp_path: Path) -> None:
    for number in range(400):
        etcd.put(f"/registry/pods/default/{number:04}", "x" * (number * 40 % 9000))
    for name in ("a", "b", "c"):
        etcd.put(f"/registry/minions/{name}")
        etcd.put(f"/registry/minions/{name}", "changed")
    etcd.ask("kv/deleterange", key=encoded("/registry/minions/b"))
    etcd.ask(
        "kv/deleterange", key=encoded("/registry/pods/default/0100"), range_end=encoded("/registry/pods/default/0200")
    )
    counted = etcd.ask("kv/range", key=encoded("/registry/"), range_end=encoded("/registry0"), count_only=True)
    content = etcd.snapshot()
    assert hashlib.sha256(content[:-32]).digest() == content[-32:]
    file = tmp_path / "etcd.snapshot"
    file.write_bytes(content)
    facts = talos_snapshot.facts(file)
    assert facts.revision == int(counted["header"]["revision"])
    assert facts.keys == int(counted["count"]) == 302
    assert (facts.nodes, facts.members, facts.term) == (2, ("one",), int(counted["header"]["raft_term"]))
    assert facts.consistent_index > facts.revision
    assert facts.cluster_version.startswith("3.")
