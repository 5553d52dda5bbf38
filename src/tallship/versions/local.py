"""The programs of a management cluster that runs as plain processes: which, and where their publishers put them."""

from __future__ import annotations

from dataclasses import dataclass

from tallship.versions.table import COMPONENTS

ARCHITECTURES = ("amd64", "arm64")
"""Of Linux; there is no kube-controller-manager for another system."""
MANAGEMENT_VERSION = "v1.32.2"
"""The Kubernetes of a local management cluster, whatever the cluster's own is; Cluster API v1.10 was run on it."""
ETCD_VERSION = "v3.5.21"


@dataclass(frozen=True)
class Release:
    """A file of a release; `{arch}` in a URL stands for the architecture."""

    url: str
    checksums: str
    """The URL of its sha256, alone or in a list with names."""
    member: str = ""
    """The file that is wanted of it when it is an archive."""

    def of(self, architecture: str) -> Release:
        """Return it for one architecture."""
        url, checksums, member = (each.format(arch=architecture) for each in (self.url, self.checksums, self.member))
        return Release(url, checksums, member)


@dataclass(frozen=True)
class ImageFile:
    """A file of an OCI image, which is there for every architecture."""

    image: str
    path: str


@dataclass(frozen=True)
class LocalProgram:
    """One program by the name of its file."""

    name: str
    version: str
    source: Release | ImageFile


def _etcd() -> LocalProgram:
    root = f"https://github.com/etcd-io/etcd/releases/download/{ETCD_VERSION}"
    stem = f"etcd-{ETCD_VERSION}-linux-{{arch}}"
    return LocalProgram("etcd", ETCD_VERSION, Release(f"{root}/{stem}.tar.gz", f"{root}/SHA256SUMS", f"{stem}/etcd"))


def _kubernetes(name: str) -> LocalProgram:
    url = f"https://dl.k8s.io/release/{MANAGEMENT_VERSION}/bin/linux/{{arch}}/{name}"
    return LocalProgram(name, MANAGEMENT_VERSION, Release(url, f"{url}.sha256"))


def _manager(component: str, image: str) -> LocalProgram:
    version = COMPONENTS[component].version
    return LocalProgram(component, version, ImageFile(f"{image}:{version}", "/manager"))


LOCAL_PROGRAMS: tuple[LocalProgram, ...] = (
    _etcd(),
    _kubernetes("kube-apiserver"),
    _kubernetes("kube-controller-manager"),
    _manager("cluster-api", "registry.k8s.io/cluster-api/cluster-api-controller"),
    _manager("caph", "ghcr.io/syself/caph"),
    _manager("cabpt", "ghcr.io/siderolabs/cluster-api-talos-controller"),
    _manager("cacppt", "ghcr.io/siderolabs/cluster-api-control-plane-talos-controller"),
)
"""Every program of a local management cluster. The image of a provider is what its own components name."""
