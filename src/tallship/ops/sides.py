"""Where the Cluster API objects are: in the management cluster, in the cluster itself, or on both sides of a move."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tallship.adapters.kube import Kube
from tallship.env import Env
from tallship.errors import ApiError, Unreachable
from tallship.manifests import pivot
from tallship.ops import bootstrap
from tallship.ops.kinds import (
    CLUSTER,
    CONTROL_PLANE,
    HCLOUD_MACHINE,
    HETZNER_CLUSTER,
    MACHINE,
    MACHINE_DEPLOYMENT,
    MACHINE_SET,
    TALOS_CONFIG,
    TALOS_CONFIG_TEMPLATE,
)

Document = dict[str, Any]

MOVED = (
    *(CLUSTER, HETZNER_CLUSTER, CONTROL_PLANE, MACHINE_DEPLOYMENT, MACHINE_SET, MACHINE, HCLOUD_MACHINE),
    *(TALOS_CONFIG, TALOS_CONFIG_TEMPLATE),
)
"""The kinds that tell whether everything has arrived; a move takes more along."""


@dataclass(frozen=True)
class Side:
    """One API server, and the Cluster in it, if there is one."""

    cluster: Document | None

    @property
    def is_active(self) -> bool:
        """True when controllers work on the Cluster here."""
        return self.cluster is not None and not pivot.is_paused(self.cluster)

    @property
    def is_paused(self) -> bool:
        """True when the Cluster is here and nobody works on it."""
        return self.cluster is not None and pivot.is_paused(self.cluster)

    @property
    def is_moving(self) -> bool:
        """True when a move of ours has begun with it."""
        return self.cluster is not None and pivot.is_moving(self.cluster)


def outside(env: Env) -> Side:
    """Return the management cluster's side; one that was deleted holds nothing. Raises Unreachable."""
    cluster = bootstrap.of(env)
    if cluster is not None and not (env.management_kubeconfig.exists() and env.management.is_up()):
        if not cluster.exists():
            return Side(None)
        raise Unreachable(
            f"{cluster.title} does not answer",
            hint="`tallship up --only kind-create` starts it",
        )
    return Side(_find(env.management, env.spec.name))


def inside(env: Env) -> Side:
    """Return the cluster's own side. Raises Unreachable, or SetupError before there is a kubeconfig."""
    return Side(_find(env.workload, env.spec.name))


def moved_objects(kube: Kube) -> list[Document]:
    """Return the objects of Cluster API in one API server, of the kinds that tell whether all have arrived."""
    return [each for kind in MOVED for each in kube.list(*kind, "default")]


def _find(kube: Kube, name: str) -> Document | None:
    try:
        return kube.find(*CLUSTER, name, "default")
    except ApiError as error:
        if error.code == "unknown-kind":
            return None
        raise
