"""Which MachineSet of a MachineDeployment is the current one, and what the others are.

Cluster API v1.10: a MachineSet is current when its template equals the deployment's in all that needs new Machines.
"""

from __future__ import annotations

import json
import zlib
from datetime import datetime

from tallship.lab.clock import LabClock, created, wall
from tallship.lab.controllers.patch import copy_json
from tallship.lab.kubeclient import Object

REVISION = "machinedeployment.clusters.x-k8s.io/revision"
REVISION_HISTORY = "machinedeployment.clusters.x-k8s.io/revision-history"
DESIRED_REPLICAS = "machinedeployment.clusters.x-k8s.io/desired-replicas"
MAX_REPLICAS = "machinedeployment.clusters.x-k8s.io/max-replicas"
TEMPLATE_HASH = "machine-template-hash"

_NOT_COPIED = (
    "kubectl.kubernetes.io/last-applied-configuration",
    "cluster.x-k8s.io/conversion-data",
    REVISION,
    REVISION_HISTORY,
    DESIRED_REPLICAS,
    MAX_REPLICAS,
)
_IN_PLACE = ("clusterName", "readinessGates", "nodeDrainTimeout", "nodeDeletionTimeout", "nodeVolumeDetachTimeout")


def of(item: Object) -> str:
    """Return the revision that a MachineDeployment or MachineSet carries, or an empty string."""
    return str(item["metadata"].get("annotations", {}).get(REVISION, ""))


def template_hash(template: Object) -> int:
    """Return the hash of what in a template needs new Machines."""
    return zlib.crc32(json.dumps(_rollout_fields(template), sort_keys=True).encode())


def differences(current: Object, desired: Object) -> list[str]:
    """Return what makes one template outdated by another, as Machines' conditions say it; empty for equal ones."""
    now, wanted = _rollout_fields(current), _rollout_fields(desired)
    lines = []
    if now.get("version") != wanted.get("version"):
        lines.append(f"Version {now.get('version', 'nil')}, {wanted.get('version', 'nil')} required")
    config, infrastructure = now["bootstrap"].get("configRef"), now["infrastructureRef"]
    if now["bootstrap"] != wanted["bootstrap"]:
        kind = (config or {}).get("kind", "spec.bootstrap.dataSecretName")
        lines.append(f"{kind.removesuffix('Template')} is not up-to-date")
    if infrastructure != wanted["infrastructureRef"]:
        lines.append(f"{infrastructure['kind'].removesuffix('Template')} is not up-to-date")
    if now.get("failureDomain") != wanted.get("failureDomain"):
        now_in, wanted_in = now.get("failureDomain", "nil"), wanted.get("failureDomain", "nil")
        lines.append(f"Failure domain {now_in}, {wanted_in} required")
    return lines


def is_expired(deployment: Object, machine_set: Object, clock: LabClock) -> bool:
    """True when `rolloutAfter` asks for Machines that are younger than this set."""
    after = deployment["spec"].get("rolloutAfter")
    if not after or wall(clock) < datetime.fromisoformat(after):
        return False
    return created(clock, machine_set) < datetime.fromisoformat(after)


def split(deployment: Object, machine_sets: list[Object], clock: LabClock) -> tuple[Object | None, list[Object]]:
    """Return (the current MachineSet or None, the others, oldest first)."""

    def order(item: Object) -> tuple[datetime, str]:
        return created(clock, item), item["metadata"]["name"]

    template = deployment["spec"]["template"]
    fitting = [each for each in machine_sets if not differences(each["spec"]["template"], template)]
    fitting = [each for each in fitting if not is_expired(deployment, each, clock)]
    current = min(fitting, key=lambda each: (-each["spec"]["replicas"], *order(each)), default=None)
    return current, sorted((each for each in machine_sets if each is not current), key=order)


def notes(deployment: Object, others: list[Object], current: Object | None, most: int) -> dict[str, str]:
    """Return the annotations of the current MachineSet, or of one that is to be made; `most` includes the surge."""
    copied = deployment["metadata"].get("annotations", {}).items()
    found = {key: value for key, value in copied if key not in _NOT_COPIED}
    revision = max((int(of(each) or 0) for each in others), default=0) + 1
    if current is not None:
        known, history = int(of(current) or 0), current["metadata"].get("annotations", {}).get(REVISION_HISTORY, "")
        if 0 < known < revision:
            history = f"{history},{known}" if history else str(known)
        revision = max(revision, known)
        found |= {REVISION_HISTORY: history} if history else {}
    desired = deployment["spec"]["replicas"]
    return found | {REVISION: str(revision), DESIRED_REPLICAS: str(desired), MAX_REPLICAS: str(most)}


def _rollout_fields(template: Object) -> Object:
    spec: Object = {key: copy_json(value) for key, value in template["spec"].items() if key not in _IN_PLACE}
    for ref in (spec["infrastructureRef"], spec["bootstrap"].get("configRef")):
        if ref:
            ref["apiVersion"] = ref["apiVersion"].partition("/")[0]
            ref.pop("namespace", None)
    return spec
