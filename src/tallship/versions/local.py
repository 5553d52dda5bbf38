"""What a management cluster of plain processes is made of, and where the publishers put each file."""

from __future__ import annotations

from dataclasses import dataclass

from tallship.versions.numbers import Number, number
from tallship.versions.sources import PROVIDERS, Provider
from tallship.versions.table import COMPONENTS

ARCHITECTURES = ("amd64", "arm64")
"""Of Linux; there is no kube-controller-manager for another system."""
MANAGEMENT_VERSION = "v1.32.2"
"""The Kubernetes of a local management cluster, whatever the cluster's own is; Cluster API v1.10 was run on it."""
ETCD_VERSION = "v3.5.21"
ETCD_BY_MINOR: dict[Number, str] = {(3, 5): ETCD_VERSION, (3, 6): "v3.6.7"}
"""The etcd that opens a snapshot of one of the same minor. Talos v1.12.2 runs the second."""


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


def _etcd(name: str = "etcd", version: str = ETCD_VERSION) -> LocalFile:
    root = f"https://github.com/etcd-io/etcd/releases/download/{version}"
    stem = f"etcd-{version}-linux-{{arch}}"
    return LocalFile(name, version, Release(f"{root}/{stem}.tar.gz", f"{root}/SHA256SUMS", f"{stem}/{name}"))


def _kubernetes(name: str, version: str = MANAGEMENT_VERSION) -> LocalFile:
    url = f"https://dl.k8s.io/release/{version}/bin/linux/{{arch}}/{name}"
    return LocalFile(name, version, Release(url, f"{url}.sha256"))


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


def drill_files(kubernetes: str, etcd: str) -> tuple[LocalFile, ...]:
    """Return what serves a snapshot on this machine; `etcd` is the cluster version that the snapshot names."""
    version = ETCD_BY_MINOR.get(number(etcd)[:2], max(ETCD_BY_MINOR.values(), key=number))
    return (
        _etcd("etcd", version),
        _etcd("etcdutl", version),
        _kubernetes("kube-apiserver", kubernetes),
        _kubernetes("kube-controller-manager", kubernetes),
    )
