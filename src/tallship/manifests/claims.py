"""Which disks at Hetzner the cluster's volumes are, and which of them go with their claims."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Document = Mapping[str, Any]

DRIVER = "csi.hetzner.cloud"
"""hcloud-csi: the name of its driver; a volume's handle is its id at Hetzner."""


@dataclass(frozen=True)
class Claimed:
    """A PersistentVolume that lies at Hetzner."""

    name: str
    volume: int
    """Its id at Hetzner."""
    goes: bool
    """True when it is deleted with its claim: its reclaim policy is Delete."""
    claim: tuple[str, str] | None
    """Namespace and name of who claims it."""


def claimed(volumes: Iterable[Document]) -> list[Claimed]:
    """Return the PersistentVolumes that lie at Hetzner, by name."""
    found = []
    for each in sorted(volumes, key=lambda one: str(one["metadata"]["name"])):
        spec = each["spec"]
        source = spec.get("csi") or {}
        handle = str(source.get("volumeHandle", ""))
        if source.get("driver") != DRIVER or not re.fullmatch(r"[0-9]{1,20}", handle):
            continue
        ref = spec.get("claimRef") or {}
        claim = (str(ref["namespace"]), str(ref["name"])) if ref.get("name") else None
        goes = spec.get("persistentVolumeReclaimPolicy") == "Delete"
        found.append(Claimed(str(each["metadata"]["name"]), int(handle), goes, claim))
    return found


def users(pods: Iterable[Document], claims: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return namespace and name of each Pod that mounts one of the claims: while it does, the claim stays."""
    wanted = set(claims)
    found = []
    for pod in pods:
        meta = pod["metadata"]
        for volume in pod["spec"].get("volumes") or ():
            name = (volume.get("persistentVolumeClaim") or {}).get("claimName")
            if name and (meta["namespace"], name) in wanted:
                found.append((str(meta["namespace"]), str(meta["name"])))
                break
    return sorted(found)
