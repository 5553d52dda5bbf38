"""The Machine that has left etcd and that nobody will delete.

CACPPT v0.5.12 (siderolabs/cluster-api-control-plane-provider-talos #237): before it deletes a Machine it takes it out
of etcd. When it dies between the two, etcd has one member less than there are Machines, so that its own check of etcd
fails, and it waits for ever. What is left to do is what it was about to do: to delete that Machine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

Document = Mapping[str, Any]

LEFT = "Finished"
"""Talos: the state of service etcd on a machine that has left, until it boots again."""


class Member(Protocol):
    """A member of etcd."""

    @property
    def hostname(self) -> str:
        """The name of its node."""

    @property
    def is_learner(self) -> bool:
        """True until it has a vote."""


class Service(Protocol):
    """One of Talos' services."""

    @property
    def id(self) -> str:
        """Its name."""

    @property
    def state(self) -> str:
        """Talos' word for how it is."""

    @property
    def is_healthy(self) -> bool:
        """True when it runs, and well."""


def stuck_machine(
    machines: Sequence[Document], members: Sequence[Member], services: Mapping[str, Sequence[Service] | Exception]
) -> str | None:
    """Return the name of the Machine to delete, or None while there is any doubt.

    `machines` are the control plane's, `members` what etcd says, `services` what each machine answers, by address.
    Exactly one Machine has left, all the others are members and well, and none is being deleted.
    """
    if any(each["metadata"].get("deletionTimestamp") for each in machines) or any(one.is_learner for one in members):
        return None
    hostnames = {one.hostname for one in members}
    gone = [each for each in machines if _node(each) not in hostnames]
    if len(gone) != 1 or not _node(gone[0]) or len(members) != len(machines) - 1:
        return None
    states = {each["metadata"]["name"]: _etcd(each, services) for each in machines}
    lost = str(gone[0]["metadata"]["name"])
    left = states.pop(lost)
    others_are_well = all(etcd is not None and etcd.is_healthy for etcd in states.values())
    return lost if left is not None and left.state == LEFT and others_are_well else None


def _node(machine: Document) -> str:
    return str(((machine.get("status") or {}).get("nodeRef") or {}).get("name", ""))


def _etcd(machine: Document, services: Mapping[str, Sequence[Service] | Exception]) -> Service | None:
    addresses = {each["address"] for each in (machine.get("status") or {}).get("addresses", [])}
    for address, found in services.items():
        if address in addresses and not isinstance(found, Exception):
            return next((each for each in found if each.id == "etcd"), None)
    return None
