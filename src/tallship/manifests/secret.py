"""The Secrets that hold the API token."""

from __future__ import annotations

import base64
from typing import Any

from tallship.manifests.health import MOVE_LABEL
from tallship.spec.names import CCM_SECRET, HETZNER_SECRET, HETZNER_SECRET_KEY, NAMESPACE


def hetzner(token: str) -> dict[str, Any]:
    """Return the Secret CAPH takes the token from; `clusterctl move` takes it along even if CAPH never saw it."""
    return _secret(HETZNER_SECRET, NAMESPACE, {HETZNER_SECRET_KEY: token}, {MOVE_LABEL: ""})


def ccm(token: str, network: str) -> dict[str, Any]:
    """Return the Secret the Hetzner CCM takes the token and the network's id from."""
    return _secret(CCM_SECRET, "kube-system", {"token": token, "network": network}, {})


def _secret(name: str, namespace: str, values: dict[str, str], labels: dict[str, str]) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name, "namespace": namespace}
    if labels:
        metadata["labels"] = labels
    data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", "data": data}
