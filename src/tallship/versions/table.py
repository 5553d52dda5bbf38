"""The version matrix: what was run together, each part's known defects, and the ranges that fit together."""

from __future__ import annotations

from dataclasses import dataclass

from tallship.versions.numbers import Number


@dataclass(frozen=True)
class Defect:
    """Something a version is known to do wrong, and what tallship does about it."""

    what: str
    remedy: str
    source: str


@dataclass(frozen=True)
class Component:
    """One row of the version matrix."""

    title: str
    version: str
    contract: str = ""
    """The Cluster API contract that a provider speaks."""
    defects: tuple[Defect, ...] = ()


COMPONENTS: dict[str, Component] = {
    "cluster-api": Component(
        "Cluster API core",
        "v1.10.10",
        "v1beta1",
        (
            Defect(
                "condition InfrastructureReady of a Cluster mirrors a summary that needs the workload API",
                "probes read `status.infrastructureReady`",
                "Cluster API v1.10: internal/controllers/cluster",
            ),
        ),
    ),
    "caph": Component(
        "Cluster API provider Hetzner",
        "v1.0.7",
        "v1beta1",
        (
            Defect(
                "a HetznerCluster with a load balancer and no `controlPlaneEndpoint` makes the manager crash",
                "`controlPlaneEndpoint` is always written",
                "syself/cluster-api-provider-hetzner #1534, #1600",
            ),
            Defect(
                "two images with one `caph-image-name` are refused, and looked for again after 5 minutes",
                "the image's name holds version, architecture and schematic; a second one is refused by our own probe",
                "CAPH v1.0.7: pkg/services/hcloud/server",
            ),
            Defect(
                "a server seen while `starting` is looked at again after 60 s only",
                "the HetznerCluster gets one annotation per event, which makes CAPH look at once",
                "CAPH v1.0.7: pkg/services/hcloud/server",
            ),
            Defect(
                "there is no firewall",
                "step `firewall` puts one on the label that every server of the cluster has",
                "syself/cluster-api-provider-hetzner #1063",
            ),
        ),
    ),
    "cabpt": Component(
        "Cluster API bootstrap provider Talos",
        "v0.6.11",
        "v1beta1",
        (
            Defect(
                "JSON patches fail for Talos 1.12 and later, whose configuration has two documents",
                "only `strategicPatches` are written, and JSON patches in the cluster file are refused",
                "siderolabs/cluster-api-bootstrap-provider-talos #233",
            ),
            Defect(
                "machinery v1.12.0 panics when `$patch: delete` names something below a section that is absent",
                "the one deletion we write names a label that Talos always generates; others are refused",
                "siderolabs/talos eb8480c4c, in v1.12.2",
            ),
            Defect(
                "without `talosVersion` the host name is set twice, which Talos refuses",
                "`talosVersion` is always written",
                "CABPT v0.6.11: controllers/talosconfig_controller.go",
            ),
        ),
    ),
    "cacppt": Component(
        "Cluster API control plane provider Talos",
        "v0.5.12",
        "v1beta1",
        (
            Defect(
                "a rolling update deadlocks when a member has left etcd and its Machine was not deleted",
                "only that Machine is named as the one to delete",
                "siderolabs/cluster-api-control-plane-provider-talos #237, fixed in v0.5.13",
            ),
            Defect(
                "patches are compared as bytes, so that another spelling replaces every machine",
                "a stored patch that means the same is kept as it is",
                "CACPPT v0.5.12: controllers/controlplane.go",
            ),
            Defect(
                "an empty list of patches never equals the stored one: machines are replaced for ever",
                "an empty list is never written",
                "CACPPT v0.5.12: controllers/controlplane.go",
            ),
            Defect(
                "conditions about etcd and components are true with no machine at all",
                "etcd is asked itself",
                "CACPPT v0.5.12: controllers/taloscontrolplane_controller.go",
            ),
        ),
    ),
    "talos": Component("Talos Linux", "v1.12.2"),
    "kubernetes": Component("Kubernetes", "v1.32.2"),
    "cilium": Component(
        "Cilium",
        "1.18.6",
        defects=(
            Defect(
                "`bpf.masquerade` cuts CoreDNS off while Talos forwards it to the host's DNS",
                "it stays off, and is refused in `addons.cilium.values`",
                "siderolabs/talos #8836",
            ),
        ),
    ),
    "hcloud-ccm": Component(
        "Hetzner CCM",
        "1.29.2",
        defects=(
            Defect(
                "it reads `server.datacenter`, which the API no longer sends since 2026-07-01:"
                " nodes have no zone and region labels",
                "nothing we install needs these labels; 1.30.1 reads the location and still fits Kubernetes 1.32",
                "hetznercloud/hcloud-cloud-controller-manager #1159",
            ),
        ),
    ),
    "talos-ccm": Component(
        "Talos CCM",
        "0.5.4",
        defects=(
            Defect(
                "by default it also initialises nodes, and fights the Hetzner CCM over addresses",
                "only `node-csr-approval` is enabled",
                "siderolabs/talos-cloud-controller-manager: chart values",
            ),
        ),
    ),
}
"""The default set: every row was run together."""

MANAGEMENT_KUBERNETES = ((1, 29), (1, 33))
"""Cluster API v1.10: the Kubernetes versions that may hold its objects."""

WORKLOAD_KUBERNETES = ((1, 27), (1, 33))
"""Cluster API v1.10: the Kubernetes versions it is tested to make."""

TALOS_KUBERNETES: dict[Number, tuple[Number, Number]] = {
    (1, 9): ((1, 27), (1, 32)),
    (1, 10): ((1, 28), (1, 33)),
    (1, 11): ((1, 29), (1, 34)),
    (1, 12): ((1, 30), (1, 35)),
    (1, 13): ((1, 31), (1, 36)),
    (1, 14): ((1, 32), (1, 37)),
}
"""Talos: pkg/machinery/compatibility. Both ends are included."""

TALOS_UPGRADES: dict[Number, tuple[Number, Number]] = {
    (1, 10): ((1, 8, 0), (1, 12, 0)),
    (1, 11): ((1, 9, 0), (1, 13, 0)),
    (1, 12): ((1, 10, 0), (1, 14, 0)),
    (1, 13): ((1, 11, 0), (1, 15, 0)),
    (1, 14): ((1, 12, 0), (1, 16, 0)),
}
"""Talos: a target's installer accepts a machine from the first version on, and below the second."""

MACHINERY = (1, 12)
"""The Talos release whose configuration CABPT v0.6.11 can write."""

CILIUM_KUBERNETES: dict[Number, tuple[Number, Number]] = {(1, 18): ((1, 30), (1, 33))}
"""Cilium: the versions its own tests run on."""

HCLOUD_CCM_DROPS_1_32 = (1, 31)
"""hcloud CCM: from this version on Kubernetes 1.32 is no longer supported."""
