"""What must stay secret, looked for in every byte that every command writes, and in what programs are started with."""

from __future__ import annotations

import base64
import os
import re
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml
from command_line import WORDS
from real_lab import SPEED, RealLab

from tallship.adapters.kube import Kube
from tallship.lab import daemon

pytestmark = pytest.mark.timeout(400)
CREDENTIAL = {("kubeconfig",), ("talosconfig",)}
"""Commands whose purpose is a secret: a person gets it, a program its path."""
SECRET_KEY = re.compile(r"(^|\.)(key|token|secret|passphrase|secretboxEncryptionSecret|.*[tT]oken|.*-key-data)$")
PUBLIC = ("tls.crt", "ca.crt", "cert", "crt", "hcloud-host")
PRIVATE_FILES = ("exports/", "backups/", "kubeconfig", "talosconfig", "management.kubeconfig", "lab/", "programs/")
"""Where in the state folder a secret may be."""
RECORD = """#!/bin/sh
{{ printf '%s\\n' "$0" "$@"; tr '\\0' '\\n' < /proc/$$/environ; }} >> {record}
exec {real} "$@"
"""
COMMANDS: dict[tuple[str, ...], tuple[str, ...]] = {
    ("tools",): ("--lab",),
    ("validate",): (),
    ("plan",): ("--lab",),
    ("up",): ("--lab",),
    ("status",): ("--lab",),
    ("diagnose",): ("--lab", "--bundle", "bundle.tar.gz"),
    ("logs",): ("caph", "--lab"),
    ("kubeconfig",): ("--lab",),
    ("talosconfig",): ("--lab",),
    ("render",): ("tree",),
    ("lab", "status"): (),
    ("lab", "env"): (),
    ("lab", "fault"): (),
    ("lab", "provider"): ("nothing.yaml", "--port", "9443", "--to", "provider"),
    ("firewall", "show"): ("--lab",),
    ("firewall", "apply"): ("--lab",),
    ("firewall", "allow"): ("198.51.100.7/32", "--lab"),
    ("image", "build"): ("--lab",),
    ("image", "list"): ("--lab",),
    ("image", "prune"): ("--lab", "--yes"),
    ("backup", "save"): ("--lab",),
    ("backup", "list"): ("--lab",),
    ("backup", "prune"): ("--lab", "--keep-last", "1", "--yes"),
    ("backup", "drill"): ("--lab",),
    ("backup", "restore"): ("--lab", "--yes"),
    ("scale",): ("3", "--lab", "--yes"),
    ("upgrade",): ("--kubernetes", "v1.30.0", "--lab", "--yes"),
    ("pivot",): ("--lab",),
    ("clean",): ("--lab", "--yes"),
    ("destroy",): ("--lab", "--yes", "--timeout", "1"),
    ("init",): ("--file", "other.yaml"),
    ("lab", "up"): (),
    ("lab", "down"): (),
}
"""Every command, in an order in which each finds something to do or to refuse."""


class Voyage:
    """A lab, everything that was said in it, and what its programs were started with."""

    def __init__(self, folder: Path) -> None:
        self.lab = RealLab(folder)
        self.record = folder / "record"
        self.said: dict[str, str] = {}
        """By command line: its stdout and stderr."""
        self.secrets: set[str] = set()

    def listen(self) -> None:
        """Put a recorder before each of the lab's programs."""
        programs = self.lab.state / "lab" / "bin"
        hidden = self.lab.folder / "hidden"
        shutil.copytree(programs, hidden)
        for program in (each for each in programs.iterdir() if os.access(each, os.X_OK)):
            program.write_text(RECORD.format(record=self.record, real=hidden / program.name))
            program.chmod(0o755)

    def sail(self) -> None:
        """Say every command, for a person and for a program; whether it succeeds is another test's question."""
        for words, more in COMMANDS.items():
            if words == ("pivot",):
                self.collect()
            for way in (("--verbose",), ("--output", "json")):
                line = (*words, *more, *way)
                if words in CREDENTIAL and way != ("--output", "json"):
                    continue
                process = self.lab.start(*line)
                out, err = process.communicate(timeout=self.lab.seconds)
                assert process.returncode != 70, f"{line}: {err}"
                self.said[" ".join(line)] = out + err

    def collect(self) -> None:
        """Take down every secret that there is by now."""
        state = self.lab.state
        self.secrets.add(self.lab.handle.token)
        for name in ("kubeconfig", "talosconfig", "management.kubeconfig"):
            self.secrets |= set(secrets_in(yaml.safe_load((state / name).read_text())))
        for name in ("kubeconfig", "management.kubeconfig"):
            with closing(Kube(state / name)) as kube:
                for secret in kube.list("v1", "Secret"):
                    self.secrets |= set(secrets_of(secret))


def secrets_of(document: dict[str, Any]) -> Iterator[str]:
    """Yield what a Secret object hides, as it is stored and as it is used."""
    for key, stored in (document.get("data") or {}).items():
        text = base64.b64decode(stored).decode(errors="replace")
        if key in PUBLIC or len(text) < 12 or "://" in text[:12]:
            continue
        if ":" in text and "\n" in text and "PRIVATE KEY" not in text[:60]:
            yield from secrets_in(list(yaml.safe_load_all(text)))
        elif key in ("token", "hcloud", "tls.key") or "PRIVATE KEY" in text:
            yield from forms(text)


def secrets_in(document: Any, key: str = "") -> Iterator[str]:
    """Yield the secrets of a document: what stands under a key that is named so."""
    if isinstance(document, dict):
        for name, value in document.items():
            yield from secrets_in(value, str(name))
    elif isinstance(document, list):
        for value in document:
            yield from secrets_in(value, key)
    elif isinstance(document, str) and SECRET_KEY.search(key) and len(document) >= 12:
        yield from forms(document)


def forms(secret: str) -> Iterator[str]:
    """Yield a secret's text as somebody may write it: whole, without base64, and line by line."""
    texts = [secret]
    if re.fullmatch(r"[A-Za-z0-9+/\n]+=*\n?", secret) and len(secret) > 60:
        texts.append(base64.b64decode(secret).decode(errors="replace"))
    for text in texts:
        yield from (line for line in text.splitlines() if len(line) >= 12 and not line.startswith("-----"))


def test_every_command_was_said() -> None:
    assert set(COMMANDS) == {tuple(words) for words in WORDS}


def test_no_command_writes_or_hands_on_a_secret(tmp_path: Path) -> None:
    """One test, as all of it is about one voyage: every command, twice."""
    voyage = Voyage(tmp_path)
    try:
        voyage.lab.run("lab", "up", "--speed", SPEED)
        voyage.listen()
        voyage.sail()
        assert len(voyage.secrets) > 30
        assert telling_commands(voyage) == set()
        no_program_was_started_with_a_secret(voyage)
        no_log_journal_or_bundle_holds_a_secret(voyage)
        who_is_not_the_owner_reads_no_secret(voyage)
    finally:
        daemon.stop(voyage.lab.state / "lab")


def telling_commands(voyage: Voyage) -> set[str]:
    return {line for line, text in voyage.said.items() if any(secret in text for secret in voyage.secrets)}


def no_program_was_started_with_a_secret(voyage: Voyage) -> None:
    text = voyage.record.read_text()
    assert "kind\ncreate\n" in text and "helm" in text
    assert [secret for secret in voyage.secrets if secret in text] == []
    assert "HCLOUD_TOKEN=" not in text


def no_log_journal_or_bundle_holds_a_secret(voyage: Voyage) -> None:
    files = {path: path.read_bytes() for path in voyage.lab.state.rglob("*") if path.is_file()}
    with tarfile.open(voyage.lab.folder / "bundle.tar.gz") as bundle:
        for member in bundle:
            if (content := bundle.extractfile(member)) is not None:
                files[Path(member.name)] = content.read()
    found = {path for path, content in files.items() if any(each.encode() in content for each in voyage.secrets)}
    state = voyage.lab.state
    assert [path for path in found if not path.is_relative_to(state)] == []
    assert {name for path in found if not (name := str(path.relative_to(state))).startswith(PRIVATE_FILES)} == set()
    assert any(path.suffix == ".jsonl" for path in files)


def who_is_not_the_owner_reads_no_secret(voyage: Voyage) -> None:
    state = voyage.lab.state
    assert state.stat().st_mode & 0o077 == 0
    written = [path for path in voyage.lab.folder.rglob("*") if path.is_file() and state not in path.parents]
    secret = [path for path in written if any(each.encode() in path.read_bytes() for each in voyage.secrets)]
    assert [path for path in secret if path.stat().st_mode & 0o077] == []
