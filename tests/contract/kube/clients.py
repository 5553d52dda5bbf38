"""lightkube, with documents in and out, for the cases that any API server must pass."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightkube
from lightkube.core.exceptions import ApiError
from lightkube.generic_resource import GenericGlobalResource, GenericNamespacedResource, create_api_info
from lightkube.types import PatchType

Document = dict[str, Any]

REAL_KUBECONFIG = "TALLSHIP_TEST_KUBECONFIG"
"""The variable that names a real API server's kubeconfig, so that the same cases run against it too."""

PLURALS = {"ConfigMap": "configmaps", "Deployment": "deployments", "Namespace": "namespaces", "Pod": "pods"}


class Cluster:
    """One API server and a namespace of our own in it."""

    def __init__(self, kubeconfig: Path, namespace: str) -> None:
        config = lightkube.KubeConfig.from_file(kubeconfig).get()
        self.client: Any = lightkube.Client(config, trust_env=False)
        self.namespace = namespace
        self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}, "tests")

    def close(self) -> None:
        """Delete the namespace."""
        self.client.delete(self._resource("v1", "Namespace"), self.namespace)
        self.client.close()

    def apply(self, document: Document, manager: str, force: bool = False) -> Document:
        """Server-side apply as a manager and return what is stored."""
        resource, scope = self._resource(document["apiVersion"], document["kind"]), self._scope(document)
        item = resource({**document, "metadata": {**document["metadata"], **scope}})
        return dict(self.client.apply(item, field_manager=manager, force=force, **scope))

    def create(self, document: Document) -> Document:
        """Create an object."""
        resource, scope = self._resource(document["apiVersion"], document["kind"]), self._scope(document)
        return dict(self.client.create(resource({**document, "metadata": {**document["metadata"], **scope}}), **scope))

    def replace(self, document: Document) -> Document:
        """Replace an object."""
        item = self._resource(document["apiVersion"], document["kind"])(document)
        return dict(self.client.replace(item, field_manager="replacer", **self._scope(document)))

    def patch(self, api_version: str, kind: str, name: str, change: Any, manager: str) -> Document:
        """Merge a change into an object."""
        resource, scope = self._resource(api_version, kind), {"namespace": self.namespace}
        options = {"patch_type": PatchType.MERGE, "field_manager": manager}
        return dict(self.client.patch(resource, name, change, **options, **scope))

    def get(self, api_version: str, kind: str, name: str) -> Document:
        """Return an object."""
        return dict(self.client.get(self._resource(api_version, kind), name, namespace=self.namespace))

    def list(self, api_version: str, kind: str, **options: Any) -> list[Document]:
        """Return all objects of a kind in the namespace."""
        found = self.client.list(self._resource(api_version, kind), namespace=self.namespace, **options)
        return [dict(each) for each in found]

    def delete(self, api_version: str, kind: str, name: str) -> None:
        """Delete an object."""
        self.client.delete(self._resource(api_version, kind), name, namespace=self.namespace)

    def watch(self, api_version: str, kind: str, revision: str) -> Iterator[tuple[str, Document]]:
        """Yield the changes since a revision."""
        options = {"resource_version": revision, "server_timeout": 30}
        for event, item in self.client.watch(self._resource(api_version, kind), namespace=self.namespace, **options):
            yield event, dict(item)

    def _scope(self, document: Document) -> dict[str, str]:
        return {} if document["kind"] == "Namespace" else {"namespace": self.namespace}

    def _resource(self, api_version: str, kind: str) -> Any:
        group, _, version = api_version.rpartition("/")
        shape = GenericGlobalResource if kind == "Namespace" else GenericNamespacedResource
        return type(kind, (shape,), {"_api_info": create_api_info(group, version, kind, PLURALS[kind])})


def real_kubeconfig() -> Path | None:
    """Return the kubeconfig of a real API server, where there is one."""
    named = os.environ.get(REAL_KUBECONFIG)
    return Path(named) if named else None


__all__ = ["REAL_KUBECONFIG", "ApiError", "Cluster", "Document", "real_kubeconfig"]
