"""What Talos does with its own Node around an upgrade: cordon it, drain it, and take its own cordon back."""

from __future__ import annotations

import contextlib
from typing import Protocol

from tallship.lab.controllers.nodes.mirror import PASSING, Mirror
from tallship.lab.controllers.patch import copy_json
from tallship.lab.kubeclient import Object

MARK = "talos.dev/cordoned"
"""Talos v1.12: the annotation on a Node that it has cordoned itself."""
_CORDONS = ("upgrading",)
_UNCORDONS = ("booting", "running")


class Upgraded(Protocol):
    """What is asked of a machine, and told to it."""

    @property
    def stage(self) -> str:
        """Talos' word for how far the machine has come."""

    @property
    def has_stopped_services(self) -> bool:
        """True when an upgrade has stopped everything but the Talos API."""

    @property
    def kubelet_may_register(self) -> bool:
        """True while kubelet runs and has what it needs to reach an API server."""

    def note_upgrade(self, key: str) -> None:
        """Remember when something of the upgrade happened first: `cordoned_at`, `drained_at`."""


async def follow(mirror: Mirror, name: str, machine: Upgraded) -> None:
    """Do what a machine's stage asks for; what the API server does not take now is done at the next look.

    Talos v1.12: who has cordoned the Node first has to take the cordon back: only a Node with the mark is uncordoned.
    """
    node = mirror.get("Node", name)
    if node is None:
        return
    with contextlib.suppress(*PASSING):
        if machine.stage in _CORDONS and not machine.has_stopped_services:
            if not node["spec"].get("unschedulable"):
                await _put(mirror, node, is_cordoned=True)
            machine.note_upgrade("cordoned_at")
            await _drain(mirror, name, machine)
        elif machine.stage in _UNCORDONS and machine.kubelet_may_register and MARK in _annotations(node):
            await _put(mirror, node, is_cordoned=False)


async def _put(mirror: Mirror, node: Object, *, is_cordoned: bool) -> None:
    node = copy_json(node)
    annotations = node["metadata"].setdefault("annotations", {})
    if is_cordoned:
        node["spec"]["unschedulable"] = True
        annotations[MARK] = "true"
    else:
        node["spec"].pop("unschedulable", None)
        del annotations[MARK]
    mirror.put(await mirror.client.update(node))


async def _drain(mirror: Mirror, name: str, machine: Upgraded) -> None:
    """Evict what a controller makes again elsewhere; a Pod that may not go now is tried again at the next look."""
    for pod in mirror.list("Pod"):
        if pod["spec"].get("nodeName") == name and _is_evicted(pod):
            await mirror.client.evict(pod)
            mirror.drop(pod)
    machine.note_upgrade("drained_at")


def _is_evicted(pod: Object) -> bool:
    """True unless it is a mirror Pod, a DaemonSet's, or nobody's (Talos v1.12: pkg/kubernetes)."""
    owners = [each["kind"] for each in pod["metadata"].get("ownerReferences", []) if each.get("controller")]
    is_mirror = "kubernetes.io/config.mirror" in pod["metadata"].get("annotations", {})
    return bool(owners) and "DaemonSet" not in owners and not is_mirror


def _annotations(node: Object) -> Object:
    found: Object = node["metadata"].get("annotations", {})
    return found
