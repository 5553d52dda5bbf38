"""Everything that is known of a cluster at one moment, as plain data: what the rules of a diagnosis look at."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tallship.manifests.conditions import CONTROL_PLANE_ROLE
from tallship.manifests.deadlock import Member, Service
from tallship.spec import Spec
from tallship.spec.names import CLUSTER_LABEL

Document = Mapping[str, Any]


@dataclass(frozen=True)
class Ends:
    """A certificate of this person, and its end."""

    what: str
    days: int
    """Whole days until then; negative when it is over."""
    hint: str


@dataclass
class Picture:
    """One look. What could not be seen is absent, and `unseen` says why."""

    spec: Spec
    today: datetime
    management: dict[str, list[Document]] = field(default_factory=dict)
    """Objects of the API that holds Cluster API's now, by kind."""
    workload: dict[str, list[Document]] = field(default_factory=dict)
    """Objects of the cluster's own API, by kind."""
    other_side: list[Document] = field(default_factory=list)
    """Clusters of this name in the API that does not hold Cluster API's objects now."""
    hetzner: dict[str, list[Document]] = field(default_factory=dict)
    """What Hetzner's project holds, by collection; servers and load balancers only those of the cluster."""
    members: Sequence[Member] | None = None
    services: Mapping[str, Sequence[Service] | Exception] = field(default_factory=dict)
    """Talos' services, by the node's private address."""
    stages: Mapping[str, str] = field(default_factory=dict)
    """How far each machine has come, with what it waits for, by its private address."""
    etcd_errors: list[str] = field(default_factory=list)
    """What the members' own etcd says is wrong."""
    alarms: list[str] = field(default_factory=list)
    certificates: list[Ends] = field(default_factory=list)
    firewall: list[str] = field(default_factory=list)
    """What is wrong with the firewall."""
    logs: dict[str, list[str]] = field(default_factory=dict)
    """The last lines of each controller, by its name."""
    unseen: dict[str, str] = field(default_factory=dict)
    """Why a part could not be seen."""

    def the(self, kind: str) -> Document | None:
        """Return the one object of a kind where Cluster API is, or None."""
        return next(iter(self.management.get(kind, ())), None)

    def machines(self) -> Iterator[tuple[Document, Document | None]]:
        """Yield each Machine with its HCloudMachine."""
        servers = {each["metadata"]["name"]: each for each in self.management.get("HCloudMachine", ())}
        for machine in self.management.get("Machine", ()):
            yield machine, servers.get(machine["spec"]["infrastructureRef"]["name"])

    @property
    def nodes(self) -> list[Document]:
        """The cluster's Nodes."""
        return self.workload.get("Node", [])

    @property
    def hosts(self) -> list[Document]:
        """The Nodes; where the cluster's API gives none, what Hetzner knows of its servers, in a Node's shape."""
        return self.nodes or [_as_node(each) for each in self.hetzner.get("servers", ())]


def of_cluster(found: Iterable[Document], name: str) -> list[Document]:
    """Return the Cluster API objects of one cluster: a management cluster may hold several in one namespace."""
    return [each for each in found if _cluster_of(each) in ("", name)]


def _cluster_of(item: Document) -> str:
    """Return the name of the Cluster that an object is of, or nothing where it does not say."""
    meta = item["metadata"]
    if item.get("kind") == "Cluster":
        return str(meta["name"])
    owners = (each["name"] for each in meta.get("ownerReferences") or () if each.get("kind") == "Cluster")
    label = (meta.get("labels") or {}).get(CLUSTER_LABEL)
    return str(label or (item.get("spec") or {}).get("clusterName") or next(owners, ""))


def _as_node(server: Document) -> Document:
    """Return a server as its Node: CAPH v1.0.7 names both alike, and labels control planes at Hetzner."""
    public = ((server.get("public_net") or {}).get("ipv4") or {}).get("ip")
    addresses = [*(each["ip"] for each in server.get("private_net") or ()), *([public] if public else ())]
    is_plane = (server.get("labels") or {}).get("machine_type") == "control_plane"
    return {
        "metadata": {"name": server["name"], "labels": {CONTROL_PLANE_ROLE: ""} if is_plane else {}},
        "status": {"addresses": [{"type": "InternalIP", "address": each} for each in addresses]},
    }
