"""PURE: what is known of the releases of Talos: which machines each installs itself on, its kernel, its calls."""

from __future__ import annotations

import hashlib
import re

Number = tuple[int, ...]

UPGRADES: dict[Number, tuple[Number, Number]] = {
    (1, 10): ((1, 8, 0), (1, 12, 0)),
    (1, 11): ((1, 9, 0), (1, 13, 0)),
    (1, 12): ((1, 10, 0), (1, 14, 0)),
    (1, 13): ((1, 11, 0), (1, 15, 0)),
    (1, 14): ((1, 12, 0), (1, 16, 0)),
}
"""Talos: pkg/machinery/compatibility. An installer accepts a machine from the first version on, below the second."""

LIFECYCLE: Number = (1, 13)
"""From this release on there are LifecycleService and ImageService."""

INSTALLER = re.compile(
    r"(?:factory\.talos\.dev/(?:(?:hcloud|metal)-)?installer/(?P<schematic>[0-9a-f]{64})|ghcr\.io/siderolabs/installer)"
    r":(?P<version>v\d+\.\d+\.\d+)"
)
"""Image Factory: `PLATFORM-installer/SCHEMATIC:VERSION`, before that `installer/…`; the other one has no extensions."""


def number(version: str) -> Number:
    """Return `(1, 12, 2)` for `v1.12.2`."""
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def refusal(host: str, target: str) -> str:
    """Return what the target's installer says against a machine of the host's version, or nothing."""
    low, too_new = UPGRADES[number(target)[:2]]
    if number(host) < low:
        return f"host version {host[1:]} is too old to upgrade to Talos {target[1:]}"
    if number(host) >= too_new:
        return f"host version {host[1:]} is too new to downgrade to Talos {target[1:]}"
    return ""


def kernel(version: str) -> str:
    """Return the kernel of a release, `6.18.5-talos` for v1.12.2; made up for others, and another for each."""
    major, minor, patch = number(version)
    return f"6.{major * 6 + minor}.{patch + 3}-talos"


def boot_id(hostname: str, boots: int) -> str:
    """Return what the kernel calls a machine's boot of that number."""
    digits = hashlib.sha256(f"{hostname} {boots}".encode()).hexdigest()
    return re.sub(r"^(.{8})(.{4})(.{4})(.{4})(.{12}).*$", r"\1-\2-\3-\4-\5", digits)
