"""CACPPT's ways in: to Talos by the talosconfig Secret, to Kubernetes by the kubeconfig Secret."""

from __future__ import annotations

from tallship.lab.controllers.cacppt.talos import Connections, TalosClient, TalosFailed, addresses
from tallship.lab.controllers.informer import CachedApi
from tallship.lab.controllers.ownership import secret_value
from tallship.lab.kubeclient import Object


class Access:
    """The ways into one cluster."""

    def __init__(self, api: CachedApi, connections: Connections, cluster: Object) -> None:
        self._api = api
        self._connections = connections
        self._namespace = cluster["metadata"]["namespace"]
        self._cluster = cluster["metadata"]["name"]

    def client(self, machines: list[Object]) -> TalosClient:
        """Return a client for these machines; raises TalosFailed without a talosconfig or an address."""
        name = f"{self._cluster}-talosconfig"
        secret = self._api.get("Secret", name, self._namespace)
        if secret is None:
            raise TalosFailed("", f'secrets "{name}" not found')
        config = secret_value(secret, "talosconfig")
        return TalosClient(self._connections, config, addresses(machines))
