"""The guide's own order of steps, with only the corrections that it needs to end.

Every step begins when the one before has ended. The corrections: the infrastructure is applied first and the control
plane when the load balancer has its address; `wait-cp` waits for `initialized`, since a control plane is Ready only
after the CNI. Everything else is chosen in the guide's favour: helm does not wait, its waits watch and so see a change
within a second, and there is no preflight. Nothing tells CAPH to look again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

from tallship.engine import Flow, Seen, Step
from tallship.env import Env
from tallship.ops import nudges
from tallship.ops.access import KubeconfigWritten, TalosconfigWritten
from tallship.ops.addons import CiliumInstalled, HetznerCcmInstalled, TalosCcmInstalled
from tallship.ops.cluster import ClusterApplied, ControlPlaneInitialized
from tallship.ops.firewall import FirewallApplied, FirewallMatches
from tallship.ops.health import HealthChecksApplied
from tallship.ops.image import ImageExists
from tallship.ops.management import ManagementRunning, ProvidersInstalled
from tallship.ops.nodes import NodesReady
from tallship.ops.secret import TokenSecretMatches

WATCH = 1.0
"""Seconds after which a waiting `kubectl wait` has seen a change."""

ORDER: tuple[type[Step[Env]], ...] = (
    ImageExists,
    ManagementRunning,
    ProvidersInstalled,
    TokenSecretMatches,
    ClusterApplied,
    ControlPlaneInitialized,
    KubeconfigWritten,
    TalosconfigWritten,
    CiliumInstalled,
    HetznerCcmInstalled,
    TalosCcmInstalled,
    NodesReady,
    HealthChecksApplied,
    FirewallMatches,
    FirewallApplied,
)


class ClusterAppliedUntold(ClusterApplied):
    """The same, and nobody tells Cluster API that the control plane is there now.

    Cluster API v1.10 looks again after 30 s when a reference of the Cluster leads nowhere. It is our correction, not
    the guide, that applies the control plane later: the order that is told shows what remains without that wait.
    """

    def act(self, env: Env, seen: Seen) -> None:
        """Apply, and no more."""
        with mock.patch.object(nudges, "tell"):
            super().act(env, seen)


def flow(*, told: bool = False) -> Flow[Env]:
    """Return the guide's steps, one after another, each watching; with `told` without the wait of our correction."""
    order = [ClusterAppliedUntold if not told and step is ClusterApplied else step for step in ORDER]
    return tuple(type(step.__name__, (step,), {"interval": WATCH})() for step in order)


@contextmanager
def without_nudges() -> Iterator[None]:
    """Leave the controllers to their own polls."""
    with mock.patch.object(nudges.News, "untold", ()):
        yield
