"""Managers as programs of a plane: what they are told is what they say they understand."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from tallship.errors import ProgramError
from tallship.localplane import manager
from tallship.localplane.plane import LocalPlane

ALL = ("webhook-port", "webhook-cert-dir", "health-addr", "leader-elect", "diagnostics-address", "kubeconfig")


def program(folder: Path, text: str, code: int = 0) -> Path:
    """Return a program that prints a help text on stderr, as Go's programs do, and ends with this code."""
    file = folder / "manager"
    file.write_text(f"#!/bin/sh\ncat >&2 <<'END'\n{text}\nEND\nexit {code}\n")
    file.chmod(0o755)
    return file


@pytest.mark.parametrize("code", [0, 2])
def test_flags_are_those_of_its_help(tmp_path: Path, code: int) -> None:
    text = """Usage of manager:
      --webhook-port int       Webhook Server port (default 9443), see --other
  -v, --verbosity Level        number
      -kubeconfig string
        Paths to a kubeconfig."""
    found = manager.known_flags(program(tmp_path, text, code))
    assert {"webhook-port", "kubeconfig"} <= found
    assert "other" not in found


def test_program_that_does_not_run_is_told(tmp_path: Path) -> None:
    (tmp_path / "manager").write_bytes(b"\x7fELF, but not really")
    (tmp_path / "manager").chmod(0o755)
    with pytest.raises(ProgramError, match="does not run here"):
        manager.known_flags(tmp_path / "manager")


def test_manager_with_every_flag_gets_ports_of_its_own_and_one_of_two_health_flags(running: LocalPlane) -> None:
    made = manager.describe(running, "capi", Path("/bin/true"), frozenset(ALL), {"HTTPS_PROXY": "http://proxy"})
    given = dict(word.removeprefix("--").split("=", 1) for word in made.argv[1:])
    assert set(given) == set(ALL) - {"kubeconfig"}
    assert int(given["webhook-port"]) == manager.webhook_port(running, "capi", frozenset(ALL)) != manager.WEBHOOK_PORT
    assert (given["leader-elect"], given["diagnostics-address"]) == ("false", "0")
    assert made.probe is not None
    assert made.probe.url == f"http://{given['health-addr']}/readyz"
    assert made.environment == {"HTTPS_PROXY": "http://proxy", "KUBECONFIG": str(running.kubeconfig)}
    assert (Path(given["webhook-cert-dir"]) / "tls.key").exists()


def test_manager_without_flags_finds_its_certificate_where_it_looks(running: LocalPlane) -> None:
    made = manager.describe(running, "caph", Path("/bin/true"), frozenset({"leader-elect"}), {})
    assert made.argv == ("/bin/true", "--leader-elect=false")
    assert made.probe is not None
    assert made.probe.url == "https://127.0.0.1:9443/"
    key = running.folder / "home" / "k8s-webhook-server" / "serving-certs" / "tls.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
