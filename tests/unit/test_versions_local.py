"""The programs of a local management cluster, and where they come from."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from tallship.versions import (
    COMPONENTS,
    LOCAL_COMPONENTS,
    LOCAL_PROGRAMS,
    PROVIDERS,
    ImageFile,
    Release,
    check_management,
)
from tallship.versions.local import ARCHITECTURES, MANAGEMENT_VERSION

GITHUB = "https://github.com/etcd-io/etcd/releases/download/v3.5.21"
PUBLISHED = {
    "etcd": (f"{GITHUB}/etcd-v3.5.21-linux-arm64.tar.gz", f"{GITHUB}/SHA256SUMS", "etcd-v3.5.21-linux-arm64/etcd"),
    "kube-apiserver": (
        "https://dl.k8s.io/release/v1.32.2/bin/linux/arm64/kube-apiserver",
        "https://dl.k8s.io/release/v1.32.2/bin/linux/arm64/kube-apiserver.sha256",
        "",
    ),
    "kube-controller-manager": (
        "https://dl.k8s.io/release/v1.32.2/bin/linux/arm64/kube-controller-manager",
        "https://dl.k8s.io/release/v1.32.2/bin/linux/arm64/kube-controller-manager.sha256",
        "",
    ),
}
CORE = "https://github.com/kubernetes-sigs/cluster-api/releases/download/v1.10.10"
CAPH = "https://github.com/syself/cluster-api-provider-hetzner/releases/download/v1.0.7"
CABPT = "https://github.com/siderolabs/cluster-api-bootstrap-provider-talos/releases/download/v0.6.11"
CACPPT = "https://github.com/siderolabs/cluster-api-control-plane-provider-talos/releases/download/v0.5.12"
IMAGES = {
    "cluster-api": "registry.k8s.io/cluster-api/cluster-api-controller:v1.10.10",
    "caph": "ghcr.io/syself/caph:v1.0.7",
    "cabpt": "ghcr.io/siderolabs/cluster-api-talos-controller:v0.6.11",
    "cacppt": "ghcr.io/siderolabs/cluster-api-control-plane-talos-controller:v0.5.12",
}


def test_programs_come_from_where_they_are_published() -> None:
    releases = {each.name: each.source.of("arm64") for each in LOCAL_PROGRAMS if isinstance(each.source, Release)}
    assert {name: (each.url, each.checksums, each.member) for name, each in releases.items()} == PUBLISHED
    images = {each.name: each.source for each in LOCAL_PROGRAMS if isinstance(each.source, ImageFile)}
    assert {name: each.image for name, each in images.items()} == IMAGES
    assert {each.path for each in images.values()} == {"/manager"}


def test_components_come_from_the_providers_releases() -> None:
    found = {each.name: each.source for each in LOCAL_COMPONENTS if isinstance(each.source, Release)}
    assert {name: (each.url, each.checksums) for name, each in found.items()} == {
        "core-components.yaml": (f"{CORE}/core-components.yaml", ""),
        "infrastructure-components.yaml": (f"{CAPH}/infrastructure-components.yaml", ""),
        "bootstrap-components.yaml": (f"{CABPT}/bootstrap-components.yaml", f"{CABPT}/sha256sum.txt"),
        "control-plane-components.yaml": (f"{CACPPT}/control-plane-components.yaml", f"{CACPPT}/sha256sum.txt"),
    }
    assert not any(each.is_program for each in LOCAL_COMPONENTS)


def test_every_provider_has_its_manager_at_the_pinned_version() -> None:
    versions = {each.name: each.version for each in LOCAL_PROGRAMS}
    assert {each.component: each.version for each in PROVIDERS}.items() <= versions.items()
    assert len(versions) == len(LOCAL_PROGRAMS) == 3 + len(PROVIDERS)


def test_local_kubernetes_is_one_that_cluster_api_runs_on() -> None:
    assert check_management(MANAGEMENT_VERSION) is None
    assert COMPONENTS["cluster-api"].version.startswith("v1.10.")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_address_of_a_release_is_complete(architecture: str) -> None:
    files = (*LOCAL_PROGRAMS, *LOCAL_COMPONENTS)
    for source in (each.source.of(architecture) for each in files if isinstance(each.source, Release)):
        assert {urlsplit(each).scheme for each in (source.url, source.checksums) if each} == {"https"}
        assert not set("{}") & set(source.url + source.checksums + source.member)
