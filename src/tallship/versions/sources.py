"""Where each part comes from: providers, charts, programs and node images."""

from __future__ import annotations

from dataclasses import dataclass

from tallship.versions.numbers import Number, number
from tallship.versions.table import COMPONENTS

CERT_MANAGER = "v1.19.1"
"""What clusterctl v1.10.10 installs."""


@dataclass(frozen=True)
class Provider:
    """One part of Cluster API as clusterctl names it, and where it runs."""

    component: str
    name: str
    kind: str
    inventory: str
    """The name of its Provider object."""
    namespace: str
    flag: str
    repository: str

    @property
    def version(self) -> str:
        """The pinned version."""
        return COMPONENTS[self.component].version

    @property
    def deployment(self) -> str:
        """The Deployment that runs it."""
        return f"{self.component.replace('cluster-api', 'capi')}-controller-manager"

    @property
    def file(self) -> str:
        """The name of the file with its components."""
        stems = {"CoreProvider": "core", "InfrastructureProvider": "infrastructure", "BootstrapProvider": "bootstrap"}
        return f"{stems.get(self.kind, 'control-plane')}-components.yaml"

    @property
    def url(self) -> str:
        """Where clusterctl finds the components of exactly this version."""
        return f"https://github.com/{self.repository}/releases/{self.version}/{self.file}"


PROVIDERS = (
    Provider(
        "cluster-api",
        "cluster-api",
        "CoreProvider",
        "cluster-api",
        "capi-system",
        "--core",
        "kubernetes-sigs/cluster-api",
    ),
    Provider(
        "caph",
        "hetzner",
        "InfrastructureProvider",
        "infrastructure-hetzner",
        "caph-system",
        "--infrastructure",
        "syself/cluster-api-provider-hetzner",
    ),
    Provider(
        "cabpt",
        "talos",
        "BootstrapProvider",
        "bootstrap-talos",
        "cabpt-system",
        "--bootstrap",
        "siderolabs/cluster-api-bootstrap-provider-talos",
    ),
    Provider(
        "cacppt",
        "talos",
        "ControlPlaneProvider",
        "control-plane-talos",
        "cacppt-system",
        "--control-plane",
        "siderolabs/cluster-api-control-plane-provider-talos",
    ),
)


@dataclass(frozen=True)
class Chart:
    """A Helm chart: `reference` stands on the command line, with `repository` as `--repo` unless it is OCI."""

    component: str
    reference: str
    repository: str
    release: str
    namespace: str = "kube-system"

    @property
    def name(self) -> str:
        """The chart's own name, as a stored release has it."""
        return self.reference.rsplit("/", 1)[-1]


CHARTS: dict[str, Chart] = {
    "cilium": Chart("cilium", "cilium", "https://helm.cilium.io", "cilium"),
    "hcloud-ccm": Chart("hcloud-ccm", "hcloud-cloud-controller-manager", "https://charts.hetzner.cloud", "hccm"),
    "talos-ccm": Chart(
        "talos-ccm",
        "oci://ghcr.io/siderolabs/charts/talos-cloud-controller-manager",
        "",
        "talos-cloud-controller-manager",
    ),
}


@dataclass(frozen=True)
class ProgramRange:
    """Which versions of a program are known to do what we ask of it."""

    name: str
    at_least: Number
    below: Number
    why: str
    how_to_get: str

    def problem(self, version: str) -> str:
        """Return what is wrong with this version of the program, or nothing."""
        if not version:
            return f"{self.name} did not tell its version: {self.why}"
        found = number(version)
        if self.at_least <= found < self.below:
            return ""
        return f"{self.name} {version} is too {'old' if found < self.at_least else 'new'}: {self.why}"


PROGRAMS: dict[str, ProgramRange] = {
    "kind": ProgramRange(
        "kind",
        (0, 27, 0),
        (0, 33, 0),
        "kind 0.27 to 0.32 have a node image that Cluster API v1.10 runs on",
        "`brew install kind`, or https://github.com/kubernetes-sigs/kind/releases/tag/v0.30.0",
    ),
    "clusterctl": ProgramRange(
        "clusterctl",
        (1, 10, 0),
        (1, 11),
        "Cluster API v1.10 is installed and moved by clusterctl 1.10",
        "https://github.com/kubernetes-sigs/cluster-api/releases/tag/v1.10.10",
    ),
    "helm": ProgramRange(
        "helm",
        (3, 8, 0),
        (5,),
        "charts in OCI registries need helm 3.8 or later, and helm 5 is not known",
        "`brew install helm`, or https://github.com/helm/helm/releases",
    ),
}

NODE_IMAGES: dict[str, str] = {
    "0.27": "kindest/node:v1.32.2@sha256:f226345927d7e348497136874b6d207e0b32cc52154ad8323129352923a3142f",
    "0.29": "kindest/node:v1.32.5@sha256:e3b2327e3a5ab8c76f5ece68936e4cafaa82edf58486b769727ab0b3b97a5b0d",
    "0.30": "kindest/node:v1.32.8@sha256:abd489f042d2b644e2d033f5c2d900bc707798d075e8186cb65e3f1367a9d5a1",
    "0.31": "kindest/node:v1.32.11@sha256:5fc52d52a7b9574015299724bd68f183702956aa4a2116ae75a63cb574b35af8",
    "0.32": "kindest/node:v1.33.12@sha256:3f5c8443c620245e4d355cfe09e96a91ead32ceaa569d3f1ca9edf0cb2fe2ff4",
}
"""For each release of kind the image published with it that Cluster API v1.10 can run on."""


def node_image(kind_version: str) -> str | None:
    """Return the node image with its digest for a release of kind; None for a release that is not in the table.

    A release between two in the table gets the older one's image, as kind runs images of older releases too.
    """
    wanted = number(kind_version)[:2]
    known = [release for release in NODE_IMAGES if tuple(map(int, release.split("."))) <= wanted]
    newest = tuple(map(int, list(NODE_IMAGES)[-1].split(".")))
    return NODE_IMAGES[known[-1]] if known and wanted <= newest else None
