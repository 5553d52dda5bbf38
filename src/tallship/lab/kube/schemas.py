"""The CustomResourceDefinitions of Cluster API and its providers, made of compact facts."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

CLUSTERCTL_LABEL = "clusterctl.cluster.x-k8s.io"
_TALOS = {f"cluster.x-k8s.io/{contract}": "v1alpha3" for contract in ("v1alpha3", "v1alpha4", "v1beta1")}
CONTRACTS = {
    "infrastructure.cluster.x-k8s.io": {"cluster.x-k8s.io/v1beta1": "v1beta1"},
    "bootstrap.cluster.x-k8s.io": _TALOS,
    "controlplane.cluster.x-k8s.io": _TALOS,
    "cluster.x-k8s.io": {"cluster.x-k8s.io/v1beta1": "v1beta1"},
}
"""Which version of a group speaks which contract; the providers' release files carry these labels."""

PROVIDER_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "providerName": {"type": "string"},
        "type": {"type": "string"},
        "version": {"type": "string"},
        "watchedNamespace": {"type": "string"},
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": {"type": "object"},
    },
}
"""clusterctl's inventory, which clusterctl itself installs."""


@cache
def definitions() -> dict[str, dict[str, Any]]:
    """Return the facts of each kind."""
    text = (Path(__file__).parent / "schemas.json").read_text(encoding="utf-8")
    found: dict[str, dict[str, Any]] = json.loads(text)
    found["Provider"] = {
        "group": "clusterctl.cluster.x-k8s.io",
        "version": "v1alpha3",
        "scope": "Namespaced",
        "names": {"kind": "Provider", "plural": "providers", "singular": "provider"},
        "subresources": {},
        "columns": [
            {"name": "Type", "type": "string", "jsonPath": ".type"},
            {"name": "Provider", "type": "string", "jsonPath": ".providerName"},
            {"name": "Version", "type": "string", "jsonPath": ".version"},
        ],
        "schema": PROVIDER_SCHEMA,
    }
    return found


def crds(*groups: str) -> list[dict[str, Any]]:
    """Return installable definitions of some groups, or of all."""
    return [_crd(facts) for facts in definitions().values() if not groups or facts["group"] in groups]


def _crd(facts: dict[str, Any]) -> dict[str, Any]:
    names = {"listKind": facts["names"]["kind"] + "List", **facts["names"]}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{facts['names']['plural']}.{facts['group']}",
            "labels": {CLUSTERCTL_LABEL: "", **CONTRACTS.get(facts["group"], {})},
        },
        "spec": {
            "group": facts["group"],
            "names": names,
            "scope": facts["scope"],
            "versions": [
                {
                    "name": facts["version"],
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": facts["schema"]},
                    "subresources": facts["subresources"],
                    "additionalPrinterColumns": facts["columns"],
                }
            ],
        },
    }
