"""The order in which things are made true. The names are the guide's."""

from __future__ import annotations

from tallship.engine import Flow, Lanes
from tallship.env import Env
from tallship.ops.access import KubeconfigWritten, TalosconfigWritten
from tallship.ops.addons import CiliumInstalled, HetznerCcmInstalled, TalosCcmInstalled
from tallship.ops.bootstrap_manifests import ManifestsSynced
from tallship.ops.cluster import ClusterApplied, ControlPlaneInitialized
from tallship.ops.destroy import (
    ClusterDeleted,
    CredentialsRemoved,
    DeletionAllowed,
    ImagesDeleted,
    LeftoversDeleted,
    ServicesDeleted,
)
from tallship.ops.destroy_volumes import VolumesReleased
from tallship.ops.firewall import FirewallApplied, FirewallMatches
from tallship.ops.health import HealthChecksApplied
from tallship.ops.image import ImageExists, WorkersImageExists
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
from tallship.ops.rollout import ControlPlaneRolledOut
from tallship.ops.secret import TokenSecretMatches
from tallship.ops.upgrade import ChangeAllowed, FileSays
from tallship.ops.upgrade_in_place import InPlaceAllowed, TalosUpgradedInPlace
from tallship.ops.workers import WorkersApplied, WorkersReady

UP: Flow[Env] = (
    Preflight(),
    Lanes(
        (
            (ImageExists(),),
            (WorkersImageExists(),),
            (ManagementRunning(), ProvidersInstalled(), TokenSecretMatches()),
            (FirewallMatches(),),
        )
    ),
    ClusterApplied(),
    KubeconfigWritten(),
    Lanes(((ControlPlaneInitialized(), WorkersApplied()), (CiliumPulled(),))),
    TalosconfigWritten(),
    Lanes(((CiliumInstalled(),), (HetznerCcmInstalled(),), (TalosCcmInstalled(),))),
    ControlPlaneRolledOut(),
    NodesReady(),
    WorkersReady(),
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


def change(file: FileSays, first: Flow[Env] = (), *, saved: Flow[Env] = (), makes_servers: bool = True) -> Flow[Env]:
    """Return the flow of a change that the cluster file is to say: allowed, written down, then made true.

    `saved` is a backup that is made before anything changes; `first` what must be done before all that `up` does.
    """
    return (ChangeAllowed(makes_servers), *saved, file, *first, *UP, ManifestsSynced())


def upgrade_in_place(file: FileSays, *, saved: Flow[Env] = ()) -> Flow[Env]:
    """Return the flow that upgrades Talos on the servers that there are; new ones get the new version too."""
    upgrade = TalosUpgradedInPlace()
    return (InPlaceAllowed(upgrade), *saved, file, upgrade, *UP, ManifestsSynced())


def destroy(by_label: bool = False, *, images: bool = False, volumes: bool = False) -> Flow[Env]:
    """Return the end of a cluster.

    `by_label`: the management cluster is gone for good. `images`: its snapshots go too. `volumes`: those on its servers
    go even when the cluster cannot say whether they should be kept.
    """
    return (
        DeletionAllowed(),
        ServicesDeleted(),
        VolumesReleased(volumes),
        ClusterDeleted(by_label),
        LeftoversDeleted(),
        *((ImagesDeleted(),) if images else ()),
        BootstrapDeleted(by_label),
        CredentialsRemoved(),
    )
