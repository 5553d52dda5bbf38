"""An upgrade of Talos in place: what is noted of it on a Machine, what forbids it, and whom a drain evicts.

Cluster API knows nothing of such an upgrade, so the note on the Machine is all there is to go on from.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tallship import versions
from tallship.manifests import conditions

Document = Mapping[str, Any]

MARK = "tallship.dev/upgrade"
"""On the Machine whose node is being upgraded: to which version, from which, in which boot it was, what is done."""
SKIP_REMEDIATION = "cluster.x-k8s.io/skip-remediation"
"""Cluster API: a MachineHealthCheck leaves a Machine with this annotation alone, whatever its value is."""
OURS = "tallship-upgrade"
"""The value by which we know our own annotations from somebody else's."""
CORDONED = "tallship.dev/cordoned"
"""On a Node that we have cordoned: nobody else's cordon is taken back."""
LIFECYCLE = (1, 13)
"""Talos: from this release on an installer runs beside the system, and drain and reboot are the client's."""

_MARK = re.compile(r"to (?P<target>\S+) from (?P<before>\S+) in boot (?P<boot>\S+?)(?P<installed>, installed)?")


@dataclass(frozen=True)
class Mark:
    """The note of an upgrade that was begun."""

    target: str
    before: str
    boot_id: str
    """What the node's kernel called its boot before."""
    is_installed: bool = False
    """True when the installer has run beside the old system, and only the reboot is left."""

    @property
    def text(self) -> str:
        """The annotation's value."""
        done = ", installed" if self.is_installed else ""
        return f"to {self.target} from {self.before} in boot {self.boot_id}{done}"


def mark_of(machine: Document) -> Mark | None:
    """Return what is noted on a Machine, or None."""
    found = _MARK.fullmatch((machine["metadata"].get("annotations") or {}).get(MARK, ""))
    return Mark(found["target"], found["before"], found["boot"], bool(found["installed"])) if found else None


def marking(machine: Document, mark: Mark) -> dict[str, Any]:
    """Return the change of a Machine that notes an upgrade, and keeps remediation away while it lasts."""
    skips = SKIP_REMEDIATION in (machine["metadata"].get("annotations") or {})
    return _annotations({MARK: mark.text} | ({} if skips else {SKIP_REMEDIATION: OURS}))


def unmarking(machine: Document) -> dict[str, Any]:
    """Return the change of a Machine that ends the note; somebody else's wish to skip remediation stays."""
    ours = (machine["metadata"].get("annotations") or {}).get(SKIP_REMEDIATION) == OURS
    return _annotations({MARK: None} | ({SKIP_REMEDIATION: None} if ours else {}))


def cordoning() -> dict[str, Any]:
    """Return the change of a Node that nobody has cordoned."""
    return {**_annotations({CORDONED: OURS}), "spec": {"unschedulable": True}}


def uncordoning() -> dict[str, Any]:
    """Return the change of a Node that we have cordoned."""
    return {**_annotations({CORDONED: None}), "spec": {"unschedulable": None}}


def is_cordoned(node: Document) -> bool:
    """True for a Node that takes no new Pods."""
    return bool(node.get("spec", {}).get("unschedulable"))


def is_cordoned_by_us(node: Document) -> bool:
    """True for a Node whose cordon is ours to take back."""
    return CORDONED in (node["metadata"].get("annotations") or {})


def to_evict(pods: Iterable[Document], node: str) -> list[Document]:
    """Return the Pods that a drain evicts: those of the node but mirror Pods, DaemonSets' and nobody's.

    Talos v1.12: pkg/kubernetes leaves the same ones.
    """
    return [pod for pod in pods if pod.get("spec", {}).get("nodeName") == node and _is_evicted(pod)]


def _is_evicted(pod: Document) -> bool:
    owners = [each["kind"] for each in pod["metadata"].get("ownerReferences") or () if each.get("controller")]
    is_mirror = "kubernetes.io/config.mirror" in (pod["metadata"].get("annotations") or {})
    has_ended = (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")
    return bool(owners) and "DaemonSet" not in owners and not is_mirror and not has_ended


def uses_lifecycle(version: str) -> bool:
    """True for a node whose installer runs beside its system."""
    return versions.number(version)[:2] >= LIFECYCLE


def refusals(current: Mapping[str, str], kubernetes: Iterable[str], target: str) -> list[str]:
    """Return what forbids an upgrade whatever state the cluster is in.

    `current` is the Talos version of each node, `kubernetes` the kubelets' versions. Nothing at the node checks the
    latter, and its installer checks the former only after the drain.
    """
    found = []
    for name, version in sorted(current.items()):
        problem = versions.check_upgrade(version, target) if version != target else None
        if problem is not None:
            found.append(f"{name}: {problem.message}: {problem.hint}")
    low, high = versions.TALOS_KUBERNETES.get(versions.number(target)[:2], ((), (99,)))
    found += [
        f"Talos {target} does not run Kubernetes {version}, but {versions.dotted(low)} to {versions.dotted(high)}"
        for version in sorted(set(kubernetes))
        if not low <= versions.number(version)[:2] <= high
    ]
    return found


def kubelet_version(node: Document) -> str:
    """Return the version of a Node's kubelet, or nothing."""
    return str(((node.get("status") or {}).get("nodeInfo") or {}).get("kubeletVersion") or "")


@dataclass(frozen=True)
class Comeback:
    """With which Talos a server of a control plane or a pool would come back if it were replaced now."""

    version: str
    """What its image has; empty where nothing tells."""
    others: Mapping[str, str]
    """The nodes that run another version, each with it."""

    @property
    def text(self) -> str:
        """Say it to a person; nothing where all is one."""
        if not self.others:
            return ""
        told = ", ".join(f"{name} runs {version}" for name, version in sorted(self.others.items()))
        return f"a server that is replaced would come back with Talos {self.version}, but {told}"

    @property
    def hint(self) -> str:
        """How both become one; nothing where they are."""
        running = sorted(set(self.others.values()), key=versions.number)
        if not running:
            return ""
        return (
            f"`tallship upgrade --talos {running[-1]}` replaces the servers one by one, from an image of that version"
        )


def comeback(owner: Document, templates: Iterable[Document], nodes: Iterable[Document]) -> Comeback:
    """Return with which Talos version a replaced node would come back, and which nodes run another.

    CAPH makes a server from the image that its HCloudMachineTemplate names; an upgrade in place does not change that.
    `owner` is a TalosControlPlane or a MachineDeployment, `templates` HCloudMachineTemplates, `nodes` the owner's.
    """
    spec = owner["spec"]
    made_from = spec.get("infrastructureTemplate") or spec["template"]["spec"]["infrastructureRef"]
    template = next((each for each in templates if conditions.name(each) == made_from["name"]), None)
    image = str(template["spec"]["template"]["spec"].get("imageName", "")) if template else ""
    config = (spec.get("controlPlaneConfig") or {}).get("controlplane") or {}
    told = re.search(r"v\d+\.\d+\.\d+", image)
    version = told[0] if told else str(config.get("talosVersion") or "")
    running = {conditions.name(each): conditions.talos_version(each) for each in nodes}
    others = {name: each for name, each in running.items() if each and each != version} if version else {}
    return Comeback(version, others)


def _annotations(values: Mapping[str, str | None]) -> dict[str, Any]:
    return {"metadata": {"annotations": dict(values)}}
