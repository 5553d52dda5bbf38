"""Access to the Talos API from inside the cluster: Talos' own kind ServiceAccount, and the Secrets it stands for."""

from __future__ import annotations

import asyncio
import base64
import contextlib

from tallship.lab.controllers.nodes import node_documents as documents
from tallship.lab.controllers.nodes.mirror import PASSING, Mirror
from tallship.lab.kubeclient import Object

_KIND = "ServiceAccount.talos.dev"
_AGAIN = 1.0
"""Seconds until the kind is installed, or watched, anew."""


class TalosAccess:
    """What Talos' control plane does when `machine.features.kubernetesTalosAPIAccess` is on."""

    def __init__(self, mirror: Mirror, config: documents.Config) -> None:
        self._client = mirror.client
        self._mirror = mirror
        self._clock = mirror.clock
        access = documents.section(config, "machine", "features", "kubernetesTalosAPIAccess")
        self._enabled = bool(access.get("enabled"))
        self._roles = set(access.get("allowedRoles") or [])
        self._namespaces = set(access.get("allowedKubernetesNamespaces") or [])

    async def run(self) -> None:
        """Keep at it until cancelled; does nothing where access is off."""
        while self._enabled:
            with contextlib.suppress(*PASSING):  # the API server is away
                if self._mirror.complete:
                    await self._client.apply(_DEFINITION, manager="talos")
                    async for event, account in self._client.watch(_KIND):
                        if event != "DELETED":
                            await self._grant(account)
            await self._clock.sleep(_AGAIN)
        await asyncio.Event().wait()

    async def _grant(self, account: Object) -> None:
        meta = account["metadata"]
        roles = set(account.get("spec", {}).get("roles", []))
        if meta["namespace"] not in self._namespaces or not roles <= self._roles:
            return  # Talos says so in the account's status and makes no Secret
        if self._mirror.get("Secret", meta["name"], meta["namespace"]) is None:
            self._mirror.put(await self._client.create(_secret(account)))


def _secret(account: Object) -> Object:
    meta = account["metadata"]
    owner = {"apiVersion": "talos.dev/v1alpha1", "kind": "ServiceAccount", "name": meta["name"], "uid": meta["uid"]}
    config = base64.b64encode(b"context: default\ncontexts: {}\n").decode()
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": meta["name"], "namespace": meta["namespace"], "ownerReferences": [owner]},
        "type": "Opaque",
        "data": {"config": config},
    }


_ROLES: Object = {"type": "array", "items": {"type": "string"}}

_DEFINITION: Object = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "serviceaccounts.talos.dev"},
    "spec": {
        "group": "talos.dev",
        "scope": "Namespaced",
        "names": {
            "kind": "ServiceAccount",
            "listKind": "ServiceAccountList",
            "plural": "serviceaccounts",
            "singular": "serviceaccount",
            "shortNames": ["tsa"],
        },
        "versions": [
            {
                "name": "v1alpha1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {"type": "object", "properties": {"roles": _ROLES}},
                            "status": {"type": "object", "properties": {"failureReason": {"type": "string"}}},
                        },
                    }
                },
            }
        ],
    },
}
