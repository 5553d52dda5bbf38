"""The table of versions, and what it says about other choices."""

from __future__ import annotations

import re

import pytest

from tallship.versions import (
    CHARTS,
    COMPONENTS,
    NODE_IMAGES,
    PROGRAMS,
    PROVIDERS,
    TALOS_KUBERNETES,
    Choice,
    check,
    check_management,
    check_upgrade,
    dotted,
    node_image,
    number,
)

GUIDE = {
    "Cluster API core": ("v1.10.10", "v1beta1"),
    "Cluster API provider Hetzner": ("v1.0.7", "v1beta1"),
    "Cluster API bootstrap provider Talos": ("v0.6.11", "v1beta1"),
    "Cluster API control plane provider Talos": ("v0.5.12", "v1beta1"),
    "Talos Linux": ("v1.12.2", ""),
    "Kubernetes": ("v1.32.2", ""),
    "Cilium": ("1.18.6", ""),
    "Hetzner CCM": ("1.29.2", ""),
    "Talos CCM": ("0.5.4", ""),
}


def test_the_default_set_is_the_guides_matrix() -> None:
    assert {each.title: (each.version, each.contract) for each in COMPONENTS.values()} == GUIDE
    assert check(Choice()) == []


@pytest.mark.parametrize(
    ("component", "word"),
    [
        ("cacppt", "deadlock"),
        ("hcloud-ccm", "datacenter"),
        ("cabpt", "JSON patches"),
        ("cabpt", "$patch: delete"),
        ("caph", "controlPlaneEndpoint"),
    ],
)
def test_known_defects_have_a_remedy_and_a_source(component: str, word: str) -> None:
    (found,) = [each for each in COMPONENTS[component].defects if word in each.what]
    assert found.remedy
    assert found.source


def test_providers_are_named_as_clusterctl_names_them() -> None:
    assert [(each.deployment, each.inventory) for each in PROVIDERS] == [
        ("capi-controller-manager", "cluster-api"),
        ("caph-controller-manager", "infrastructure-hetzner"),
        ("cabpt-controller-manager", "bootstrap-talos"),
        ("cacppt-controller-manager", "control-plane-talos"),
    ]
    assert PROVIDERS[1].url == (
        "https://github.com/syself/cluster-api-provider-hetzner/releases/v1.0.7/infrastructure-components.yaml"
    )


def test_charts_know_their_own_names() -> None:
    assert [each.name for each in CHARTS.values()] == [
        "cilium",
        "hcloud-cloud-controller-manager",
        "talos-cloud-controller-manager",
    ]
    assert all(each.reference.startswith("oci://") != bool(each.repository) for each in CHARTS.values())


@pytest.mark.parametrize(("talos", "kubernetes"), [(t, k) for t, ends in TALOS_KUBERNETES.items() for k in ends])
def test_both_ends_of_a_range_work(talos: tuple[int, ...], kubernetes: tuple[int, ...]) -> None:
    choice = Choice(talos=f"v{dotted(talos)}.0", kubernetes=f"v{dotted(kubernetes)}.0")
    assert [each for each in check(choice) if each.fatal] == []


@pytest.mark.parametrize("kubernetes", ["v1.29.9", "v1.36.0"])
def test_kubernetes_outside_of_a_talos_range_is_refused(kubernetes: str) -> None:
    fatal = [each for each in check(Choice(kubernetes=kubernetes)) if each.fatal]
    assert [(each.path, each.hint) for each in fatal] == [
        (("kubernetes", "version"), "Talos 1.12 runs Kubernetes 1.30 to 1.35")
    ]


def test_every_version_that_is_none_is_named() -> None:
    paths = [each.path[0] for each in check(Choice("a", "b", "c", "d", "e"))]
    assert paths == ["talos", "kubernetes", "addons", "addons", "addons"]


@pytest.mark.parametrize(
    ("version", "numbers"), [("v1.2.3", (1, 2, 3)), ("1.2.3-rc.1+x", (1, 2, 3)), ("1.2", ()), ("v01.2.3", ()), ("", ())]
)
def test_versions_as_numbers(version: str, numbers: tuple[int, ...]) -> None:
    assert number(version) == numbers


def test_node_images_are_pinned_and_run_cluster_api() -> None:
    for image in NODE_IMAGES.values():
        found = re.fullmatch(r"kindest/node:(v[0-9.]+)@sha256:[0-9a-f]{64}", image)
        assert found is not None
        assert check_management(found[1]) is None


@pytest.mark.parametrize(
    ("kind", "image"), [("0.30.0", "0.30"), ("0.28.0", "0.27"), ("0.32.1", "0.32"), ("0.26.0", ""), ("0.40.0", "")]
)
def test_each_release_of_kind_has_its_image(kind: str, image: str) -> None:
    assert node_image(kind) == NODE_IMAGES.get(image)


@pytest.mark.parametrize(
    ("program", "version", "told"),
    [
        ("kind", "0.30.0", ""),
        ("kind", "0.26.0", "kind 0.26.0 is too old"),
        ("kind", "0.32.9", ""),
        ("kind", "0.33.0", "kind 0.33.0 is too new"),
        ("clusterctl", "v1.10.10", ""),
        ("clusterctl", "v1.9.5", "too old"),
        ("clusterctl", "v1.11.0", "too new"),
        ("helm", "v3.19.0", ""),
        ("helm", "v4.3.1", ""),
        ("helm", "v3.7.2", "too old"),
        ("helm", "v5.0.0", "too new"),
        ("clusterctl", "", "did not tell its version"),
    ],
)
def test_programs_outside_of_their_range_are_told(program: str, version: str, told: str) -> None:
    found = PROGRAMS[program].problem(version)
    assert (told in found) if told else not found


@pytest.mark.parametrize(
    ("version", "fits"), [("v1.28.0", False), ("v1.29.0", True), ("v1.33.9", True), ("v1.34.0", False)]
)
def test_management_clusters_have_a_range(version: str, fits: bool) -> None:
    assert (check_management(version) is None) == fits


@pytest.mark.parametrize(
    ("current", "target", "fits"),
    [
        ("v1.10.0", "v1.12.2", True),
        ("v1.9.5", "v1.12.2", False),
        ("v1.13.9", "v1.12.2", True),
        ("v1.14.0", "v1.12.2", False),
        ("v1.12.2", "v1.13.0", True),
    ],
)
def test_talos_upgrades_have_a_range(current: str, target: str, fits: bool) -> None:
    assert (check_upgrade(current, target) is None) == fits
