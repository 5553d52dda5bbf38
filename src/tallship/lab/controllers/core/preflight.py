"""What a MachineSet waits for before it makes a Machine.

Cluster API v1.10: its preflight checks are on by default. A control plane counts as provisioning until it reports a
version, and as upgrading while it reports an older one than it should have.
"""

from __future__ import annotations

import re

from tallship.lab.controllers.core.references import referenced
from tallship.lab.controllers.informer import CachedApi
from tallship.lab.kubeclient import Object

SKIP = "machineset.cluster.x-k8s.io/skip-preflight-checks"
STABLE, SKEW = "ControlPlaneIsStable", "KubernetesVersionSkew"

PREFLIGHT_RETRY = 15.0
"""Cluster API v1.10: until the checks are made again."""

_MOST_SKEW = 3
"""Minor versions that a kubelet may be older than the control plane."""


def obstacles(api: CachedApi, cluster: Object, machine_set: Object) -> list[str]:
    """Return why no Machine may be made now, in Cluster API's words; empty when it may."""
    notes = machine_set["metadata"].get("annotations", {}).get(SKIP, "")
    skipped = {each.strip() for each in notes.split(",")}
    plane = referenced(api, cluster, cluster["spec"].get("controlPlaneRef"))
    if "All" in skipped or plane is None or "version" not in plane["spec"]:
        return []
    found = [] if STABLE in skipped else _unstable(plane)
    wanted = machine_set["spec"]["template"]["spec"].get("version")
    return found + ([] if SKEW in skipped or not wanted else _skewed(plane["spec"]["version"], wanted))


def _unstable(plane: Object) -> list[str]:
    known = plane.get("status", {}).get("version", "")
    meta = plane["metadata"]
    who, which = f"{plane['kind']} {meta['namespace']}/{meta['name']}", f'("{STABLE}" preflight check failed)'
    if not known:
        return [f"{who} is provisioning {which}"]
    return [f"{who} is upgrading {which}"] if _numbers(plane["spec"]["version"]) > _numbers(known) else []


def _skewed(plane: str, wanted: str) -> list[str]:
    older = _numbers(plane)[1] - _numbers(wanted)[1]
    if 0 <= older <= _MOST_SKEW:
        return []
    text = (
        f"MachineSet version ({wanted.removeprefix('v')}) and ControlPlane version ({plane.removeprefix('v')}) "
        "do not conform to the kubernetes version skew policy as MachineSet version is "
    )
    too = "higher than ControlPlane version"
    if older > 0:
        too = f"more than {_MOST_SKEW} minor versions older than the ControlPlane version"
    return [f'{text}{too} ("{SKEW}" preflight check failed)']


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(each) for each in re.findall(r"\d+", version)[:3])
