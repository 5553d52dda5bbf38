"""Where kind's clusters live: Kubernetes APIs of one node each, on addresses of the lab."""

from __future__ import annotations

import asyncio
import base64
import re
import ssl

import yaml

from tallship.lab.clock import LabClock
from tallship.lab.controllers.nodes.clusters import Clusters
from tallship.lab.controllers.nodes.node_documents import kind_node
from tallship.lab.kubeclient import KubeClient
from tallship.lab.kubeserver import ClusterFacts, KubeServer, MakeServer
from tallship.lab.store import Store
from tallship.lab.world import Addresses, Authority, load_pair

PORT = 6443
SERVICES = "10.96.0.0/16"
"""kind: the network of Service addresses, when its configuration names none."""
_FIRST, _LAST = 2, 9


class Management:
    """The kind clusters of the lab, running or stopped."""

    def __init__(
        self,
        store: Store,
        clock: LabClock,
        addresses: Addresses,
        clusters: Clusters,
        make_server: MakeServer,
    ) -> None:
        self._store = store
        self._table = store.table("management")
        self._clock = clock
        self._addresses = addresses
        self._clusters = clusters
        self._make_server = make_server
        self._running: dict[str, KubeServer] = {}
        self._changing = asyncio.Lock()

    def names(self) -> list[str]:
        """Return the names of all clusters, running or stopped."""
        return sorted(self._table)

    async def create(self, name: str, image: str) -> None:
        """Make a cluster and start it."""
        number = self._store.next_id("management")  # a cluster of a name that was there before begins empty
        self._table[name] = {"prefix": f"kind-{name}-{number}", "image": image, "runs": False}
        await self.start(name)

    async def start(self, name: str) -> None:
        """Start a cluster that is stopped."""
        await asyncio.shield(self._begin_once(name))  # a server that is cancelled while it binds would never let go

    async def _begin_once(self, name: str) -> None:
        async with self._changing:
            if name not in self._running and name in self._table:
                await self._begin(name)

    async def _begin(self, name: str) -> None:
        address, document = self._address(name), self._table[name]
        authority = self._authority(name)
        api = self._make_server(
            ClusterFacts(document["prefix"], authority.certificate_pem, authority.key_pem, SERVICES)
        )
        tls = authority.server_tls(address, client_authority=authority.certificate_pem)
        self._running[name] = api  # before it serves: a `kind` that is killed meanwhile must find it to end it
        await api.serve(address, PORT, tls)
        self._table[name] = {**document, "runs": True}
        await self._put_node(name, document["image"])
        self._clusters.manage(document["prefix"], lambda agent: self._connect(name, agent), api.write_log)

    async def halt(self, name: str) -> None:
        """Stop a cluster as a reboot of its machine does; it stays stopped until it is started."""
        self._table[name] = {**self._table[name], "runs": False}
        await self._end(name)

    async def delete(self, name: str) -> None:
        """Delete a cluster and all that is in it; one that is not there is fine."""
        if name not in self._table:
            return
        await self._end(name)
        del self._table[name]
        self._addresses.give_back(f"kind/{name}")

    async def resume(self) -> None:
        """Start what ran when an earlier process ended."""
        for name, document in self._table.items():
            if document["runs"]:
                await self.start(name)

    async def stop(self) -> None:
        """End every cluster's process; those that ran will resume."""
        for name in list(self._running):
            await self._end(name)

    def kubeconfig(self, name: str) -> str:
        """Return an administrator's kubeconfig, with the names that kind gives."""
        authority = self._authority(name)
        certificate, key = authority.issue("kubernetes-admin", ("kubeadm:cluster-admins", "system:masters"))
        full = f"kind-{name}"
        cluster = {"certificate-authority-data": _encoded(authority.certificate_pem), "server": self._server(name)}
        user = {"client-certificate-data": _encoded(certificate), "client-key-data": _encoded(key)}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": full, "cluster": cluster}],
            "contexts": [{"name": full, "context": {"cluster": full, "user": full}}],
            "current-context": full,
            "users": [{"name": full, "user": user}],
        }
        return yaml.safe_dump(config)

    async def _end(self, name: str) -> None:
        async with self._changing:
            api = self._running.pop(name, None)
            if api is not None:
                await self._clusters.unmanage(self._table[name]["prefix"])
                await api.stop()

    async def _put_node(self, name: str, image: str) -> None:
        version = re.search(r"v\d+\.\d+\.\d+", image)
        client = self._connect(name, "kubelet")
        node = kind_node(f"{name}-control-plane", version[0] if version else "", self._address(name), self._clock)
        try:
            if await client.get("Node", node["metadata"]["name"]) is None:
                made = await client.create(node)
                made = await client.update({**made, "status": node["status"]}, "status")
                await client.update({**made, "spec": {**made["spec"], "taints": []}})  # a node that is ready has none
        finally:
            await client.close()

    def _connect(self, name: str, user_agent: str) -> KubeClient:
        authority = self._authority(name)
        tls = ssl.create_default_context(cadata=authority.certificate_pem)
        load_pair(tls, *authority.issue("system:kube-controller-manager", ("system:masters",)))
        return KubeClient(self._server(name), tls, user_agent)

    def _authority(self, name: str) -> Authority:
        return Authority(self._store, str(self._table[name]["prefix"]))

    def _address(self, name: str) -> str:
        return self._addresses.take(f"kind/{name}", _FIRST, _LAST)

    def _server(self, name: str) -> str:
        return f"https://{self._address(name)}:{PORT}"


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
