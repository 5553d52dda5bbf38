"""How far a roll-out of the control plane is: which Machines are as they should be, and which one cannot become so.

CACPPT v0.5.12 replaces a Machine unless Kubernetes version, template and configuration are those of the control plane.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tallship.manifests.conditions import config_of
from tallship.manifests.rollout import is_on_delete, same_config

Document = Mapping[str, Any]

CLONED_FROM = "cluster.x-k8s.io/cloned-from-name"
"""Cluster API: on what was made from a template, the template's name."""


@dataclass(frozen=True)
class Roll:
    """The Machines of a control plane, by name."""

    wanted: int
    current: tuple[str, ...]
    outdated: tuple[str, ...]
    deleting: tuple[str, ...]
    making: tuple[str, ...]
    """Those of `current` that are not running yet, each with its phase."""
    failed: Mapping[str, str]
    """Machines whose server can never serve, and why; none of them has become a node."""

    @property
    def is_done(self) -> bool:
        """True when every Machine is as it should be, and there are as many as there should be."""
        return not (self.outdated or self.deleting or self.making) and len(self.current) == self.wanted

    @property
    def text(self) -> str:
        """Say how far it is, for a person."""
        told = [f"{len(self.current) - len(self.making)} of {self.wanted} servers are as they should be"]
        told += [f"{each} is being made" for each in self.making]
        told += [f"{each} is going" for each in self.deleting]
        return "; ".join(told)


def look(
    plane: Document, machines: Sequence[Document], servers: Sequence[Document], configs: Sequence[Document]
) -> Roll:
    """Return how far the control plane is; `servers` are HCloudMachines, `configs` TalosConfigs."""
    server_of = {each["metadata"]["name"]: each for each in servers}
    config_named = {each["metadata"]["name"]: each for each in configs}
    current, outdated, deleting, making, failed = [], [], [], [], {}
    for machine in sorted(machines, key=lambda each: str(each["metadata"]["name"])):
        name, spec = machine["metadata"]["name"], machine["spec"]
        server = server_of.get(spec["infrastructureRef"]["name"])
        if machine["metadata"].get("deletionTimestamp"):
            deleting.append(name)
            continue
        if why := _failure(machine, server):
            failed[name] = why
        if is_current(plane, machine, server, config_named.get(config_of(spec))):
            current.append(name)
            phase = (machine.get("status") or {}).get("phase") or "Pending"
            if phase != "Running":
                making.append(f"{name} ({phase})")
        else:
            outdated.append(name)
    wanted = int(plane["spec"].get("replicas", 1))
    return Roll(wanted, tuple(current), tuple(outdated), tuple(deleting), tuple(making), failed)


def is_current(plane: Document, machine: Document, server: Document | None, config: Document | None) -> bool:
    """True when CACPPT would not replace the Machine; what is not there is not compared."""
    spec = plane["spec"]
    if is_on_delete(plane):
        return True
    if machine["spec"].get("version") != spec["version"]:
        return False
    if server is not None:
        made_from = (server["metadata"].get("annotations") or {}).get(CLONED_FROM)
        if made_from != spec["infrastructureTemplate"]["name"]:
            return False
    return config is None or same_config(config["spec"], spec["controlPlaneConfig"]["controlplane"])


def _failure(machine: Document, server: Document | None) -> str:
    """Return why the server of a Machine that is no node yet will never serve, or nothing."""
    if (machine.get("status") or {}).get("nodeRef"):
        return ""
    for each in (server or {}, machine):
        status = each.get("status") or {}
        if status.get("failureReason") or status.get("failureMessage"):
            return f"{status.get('failureReason', '')}: {status.get('failureMessage', '')}".strip(": ")
    return ""
