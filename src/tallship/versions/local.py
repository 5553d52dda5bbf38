"""What a management cluster of plain processes is made of, and where the publishers put each file."""

from __future__ import annotations

from dataclasses import dataclass

from tallship.versions.sources import PROVIDERS, Provider
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
    """The URL of its sha256, alone or in a list with names; empty where its publisher gives none."""
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
class LocalFile:
    """One file of a local management cluster."""

    name: str
    version: str
    source: Release | ImageFile
    is_program: bool = True


def _etcd() -> LocalFile:
    root = f"https://github.com/etcd-io/etcd/releases/download/{ETCD_VERSION}"
    stem = f"etcd-{ETCD_VERSION}-linux-{{arch}}"
    return LocalFile("etcd", ETCD_VERSION, Release(f"{root}/{stem}.tar.gz", f"{root}/SHA256SUMS", f"{stem}/etcd"))


def _kubernetes(name: str) -> LocalFile:
    url = f"https://dl.k8s.io/release/{MANAGEMENT_VERSION}/bin/linux/{{arch}}/{name}"
    return LocalFile(name, MANAGEMENT_VERSION, Release(url, f"{url}.sha256"))


def _manager(component: str, image: str) -> LocalFile:
    version = COMPONENTS[component].version
    return LocalFile(component, version, ImageFile(f"{image}:{version}", "/manager"))


def _components(provider: Provider) -> LocalFile:
    root = f"https://github.com/{provider.repository}/releases/download/{provider.version}"
    checksums = f"{root}/sha256sum.txt" if provider.component in ("cabpt", "cacppt") else ""
    return LocalFile(provider.file, provider.version, Release(f"{root}/{provider.file}", checksums), is_program=False)


LOCAL_PROGRAMS: tuple[LocalFile, ...] = (
    _etcd(),
    _kubernetes("kube-apiserver"),
    _kubernetes("kube-controller-manager"),
    _manager("cluster-api", "registry.k8s.io/cluster-api/cluster-api-controller"),
    _manager("caph", "ghcr.io/syself/caph"),
    _manager("cabpt", "ghcr.io/siderolabs/cluster-api-talos-controller"),
    _manager("cacppt", "ghcr.io/siderolabs/cluster-api-control-plane-talos-controller"),
)
"""Every program of a local management cluster. The image of a provider is what its own components name."""

LOCAL_COMPONENTS: tuple[LocalFile, ...] = tuple(map(_components, PROVIDERS))
"""The components of every provider. Cluster API and CAPH publish no checksums of theirs."""
