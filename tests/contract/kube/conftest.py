"""The lab's API server, empty or with Cluster API's definitions, and the clients that speak to it."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from api_lab import ApiLab
from clients import REAL_KUBECONFIG, Cluster, real_kubeconfig

from tallship.lab.kube.schemas import crds


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[ApiLab]:
    made = ApiLab(tmp_path)
    yield made
    made.close()


@pytest.fixture
def capi(lab: ApiLab) -> ApiLab:
    """The lab's server with the definitions of Cluster API and its providers."""
    for definition in crds():
        lab.create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition)
    return lab


@pytest.fixture(params=["lab", "real"])
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A namespace of the lab's server, and the same of a real one where a kubeconfig is named."""
    if request.param == "lab":
        kubeconfig = request.getfixturevalue("lab").kubeconfig()
    else:
        found = real_kubeconfig()
        if found is None:
            pytest.skip(f"no real API server: {REAL_KUBECONFIG} is not set")
        kubeconfig = found
    made = Cluster(kubeconfig, f"tests-{secrets.token_hex(4)}")
    yield made
    made.close()
