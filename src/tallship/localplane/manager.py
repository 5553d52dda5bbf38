"""A controller manager as a program of a plane: flags that it knows, ports of its own, webhooks on loopback.

controller-runtime: every manager has its own set of flags; what cannot be told by one stays at its default. A webhook
server without flags listens on port 9443 and reads its certificate from `$TMPDIR/k8s-webhook-server/serving-certs`.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tallship.errors import ProgramError
from tallship.localplane.files import Layout
from tallship.localplane.kubernetes import API_SERVER, LOOPBACK
from tallship.localplane.plane import LocalPlane
from tallship.localplane.program import Probe, Program

WEBHOOK_PORT = 9443
HELP_SECONDS = 20.0
_CERTIFICATES = Path("k8s-webhook-server") / "serving-certs"
_HEALTH = ("health-addr", "health-probe-bind-address")
_OFF = ("leader-elect", "enable-leader-election")
_METRICS = ("diagnostics-address", "metrics-bind-address", "metrics-bind-addr")


def webhook_port(plane: LocalPlane, name: str, flags: frozenset[str]) -> int:
    """Return the port on which a manager serves its webhooks."""
    return plane.port(f"{name}-webhooks") if "webhook-port" in flags else WEBHOOK_PORT


def known_flags(program: Path) -> frozenset[str]:
    """Return the flags that a manager knows, as it says itself. Raises ProgramError when it does not run here."""
    try:
        done = subprocess.run([program, "--help"], capture_output=True, text=True, timeout=HELP_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ProgramError(f"`{program}` does not run here", detail=str(error), hint="fetch it again") from error
    return frozenset(re.findall(r"^\s*-{1,2}([a-z][a-z-]+)", done.stdout + done.stderr, re.MULTILINE))


def describe(
    plane: LocalPlane, name: str, program: Path, flags: frozenset[str], environment: Mapping[str, str]
) -> Program:
    """Return the manager as a program of the plane, with a certificate for its webhooks."""
    certificates = plane.serving_pair(name)
    if "webhook-cert-dir" not in flags:
        _put_by_default(plane, certificates)
    health = f"{LOOPBACK}:{plane.port(f'{name}-health')}"
    wanted = {
        "webhook-port": webhook_port(plane, name, flags),
        "webhook-cert-dir": certificates,
        **dict.fromkeys(_OFF, "false"),  # nobody else wants to lead
        **dict.fromkeys(_HEALTH, health),
        **dict.fromkeys(_METRICS, "0"),
    }
    arguments = [f"--{flag}={value}" for flag, value in wanted.items() if flag in flags]
    if flags.isdisjoint(_HEALTH):
        authority = str(Layout(plane.folder).certificates / "ca.crt")
        probe = Probe(f"https://{LOOPBACK}:{WEBHOOK_PORT}/", authority, or_absent=True)
    else:
        probe = Probe(f"http://{health}/readyz", or_absent=True)
    return Program(
        name,
        (str(program), *arguments),
        {**environment, "KUBECONFIG": str(plane.kubeconfig)},
        probe,
        after=(API_SERVER,),
    )


def _put_by_default(plane: LocalPlane, certificates: Path) -> None:
    folder = Layout(plane.folder).home / _CERTIFICATES
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for file in ("tls.crt", "tls.key"):
        shutil.copy(certificates / file, folder / file)
