"""The order in which things are made true. The names are the guide's."""

from __future__ import annotations

from tallship.engine import Flow, Lanes
from tallship.env import Env
from tallship.ops.access import KubeconfigWritten, TalosconfigWritten
from tallship.ops.addons import CiliumInstalled, HetznerCcmInstalled, TalosCcmInstalled
from tallship.ops.cluster import ClusterApplied, ControlPlaneInitialized
from tallship.ops.destroy import ClusterDeleted, CredentialsRemoved, LeftoversDeleted, ServicesDeleted
from tallship.ops.firewall import FirewallApplied, FirewallMatches
from tallship.ops.health import HealthChecksApplied
from tallship.ops.image import ImageExists
from tallship.ops.images_ahead import CiliumPulled
from tallship.ops.management import ManagementRunning, ProvidersInstalled
from tallship.ops.nodes import NodesReady
from tallship.ops.pivot import (
    BootstrapDeleted,
    ManagementExported,
    MoveProven,
    ObjectsMoved,
    PivotAllowed,
    ProvidersInstalledInside,
)
from tallship.ops.preflight import Preflight
from tallship.ops.secret import TokenSecretMatches

UP: Flow[Env] = (
    Preflight(),
    Lanes(
        (
            (ImageExists(),),
            (ManagementRunning(), ProvidersInstalled(), TokenSecretMatches()),
            (FirewallMatches(),),
        )
    ),
    ClusterApplied(),
    KubeconfigWritten(),
    Lanes(((ControlPlaneInitialized(),), (CiliumPulled(),))),
    TalosconfigWritten(),
    Lanes(((CiliumInstalled(),), (HetznerCcmInstalled(),), (TalosCcmInstalled(),))),
    NodesReady(),
    HealthChecksApplied(),
    FirewallApplied(),
)

PIVOT: Flow[Env] = (
    PivotAllowed(),
    Lanes(((ManagementExported(),), (ProvidersInstalledInside(),))),
    ObjectsMoved(),
    MoveProven(),
    FirewallMatches(),
    FirewallApplied(),
)

CLEAN: Flow[Env] = (BootstrapDeleted(),)


def destroy(by_label: bool = False) -> Flow[Env]:
    """Return the end of a cluster; `by_label`: the management cluster is gone for good."""
    return (
        ServicesDeleted(),
        ClusterDeleted(by_label),
        LeftoversDeleted(),
        BootstrapDeleted(by_label),
        CredentialsRemoved(),
    )
