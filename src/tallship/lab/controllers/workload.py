"""The way into the cluster that is being made: clients from its kubeconfig Secret."""

from __future__ import annotations

from tallship.lab.controllers.informer import CachedApi
from tallship.lab.controllers.ownership import secret_value
from tallship.lab.controllers.reconciler import UNREACHABLE
from tallship.lab.kubeclient import KubeClient, KubeRefused, Object, close_all


class WorkloadClients:
    """A client for each kubeconfig that was met; made once, since each costs a TLS context and connections."""

    def __init__(self, api: CachedApi, user_agent: str) -> None:
        self._api = api
        self._user_agent = user_agent
        self._clients: dict[str, KubeClient] = {}
        self._is_closed = False

    def find(self, namespace: str, cluster: str) -> KubeClient | None:
        """Return a client for the cluster, or None while its kubeconfig Secret is missing, and after `close`."""
        secret = self._api.get("Secret", f"{cluster}-kubeconfig", namespace)
        if secret is None or self._is_closed:
            return None
        text = secret_value(secret, "value")
        if text not in self._clients:
            self._clients[text] = KubeClient.from_kubeconfig(text, self._user_agent)
        return self._clients[text]

    async def list_nodes(self, namespace: str, cluster: str) -> list[Object] | None:
        """Return the cluster's Nodes; None when nobody answers."""
        client = self.find(namespace, cluster)
        if client is None:
            return None
        try:
            return await client.list("Node")
        except (KubeRefused, *UNREACHABLE):
            return None

    async def close(self) -> None:
        """Close all connections, for ever."""
        self._is_closed = True
        await close_all(list(self._clients.values()))
