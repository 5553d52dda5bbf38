"""How long pulling an image takes: the one table, in modelled seconds."""

from __future__ import annotations

PULLS = {
    "cilium/cilium": 25.0,  # ~250 MB compressed from quay.io, at the ~10 MB/s that a small cloud server unpacks
    "cilium/operator": 6.0,  # ~35 MB compressed
    "cilium/hubble": 5.0,  # ~30 MB compressed
    "hcloud-cloud-controller-manager": 4.0,  # ~20 MB compressed from Docker Hub
    "talos-cloud-controller-manager": 4.0,  # ~20 MB compressed from ghcr.io
    "cluster-api-controller": 6.0,  # ~30 MB compressed from registry.k8s.io
    "caph": 8.0,  # the manager and an installer archive beside it
    "talos-controller": 5.0,  # CABPT and CACPPT: one static program each, FROM scratch
    "installer": 25.0,  # ~200 MB compressed from factory.talos.dev, at 10 MB/s and a little for the factory
    "cert-manager": 5.0,  # ~20 MB compressed from quay.io
}
"""Pulling an image for the first time on a node, by what its name contains (sizes: the registries' own listings)."""

ANY_PULL = 5.0
"""Pulling an image that the table does not know."""


def pull_seconds(image: str) -> float:
    """Return how long the first pull of an image takes."""
    return next((seconds for part, seconds in PULLS.items() if part in image), ANY_PULL)
