"""What a patch of `talos.patches` is about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tallship import bounded

OF_CONTROL_PLANES = (
    ("cluster", "etcd"),
    ("cluster", "apiServer"),
    ("cluster", "controllerManager"),
    ("cluster", "scheduler"),
    ("machine", "features", "kubernetesTalosAPIAccess"),
    ("machine", "controlPlane"),
)
"""Talos v1.12: what has no meaning on a worker, or keeps it from taking its configuration."""


def documents(patch: str | Mapping[str, Any]) -> list[Any]:
    """Return the documents of a patch. Raises bounded.Unreadable."""
    return bounded.load_all(patch) if isinstance(patch, str) else [patch]


def is_of_control_planes(patch: str | Mapping[str, Any]) -> bool:
    """True for a patch that says something only a control plane may be told: workers are not given it."""
    return any(_has(document, path) for document in documents(patch) for path in OF_CONTROL_PLANES)


def _has(document: Any, path: tuple[str, ...]) -> bool:
    for key in path:
        if not isinstance(document, dict) or key not in document:
            return False
        document = document[key]
    return True
