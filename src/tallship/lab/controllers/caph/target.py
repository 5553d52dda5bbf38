"""What CAPH does inside the cluster that it made: wait for it, leave the token there, decide signing requests."""

from __future__ import annotations

import asyncio
import base64

from tallship.lab.controllers.caph.csr import SigningRequests
from tallship.lab.controllers.caph.scope import Scope, token_key
from tallship.lab.controllers.conditions import Conditions
from tallship.lab.controllers.patch import copy_json
from tallship.lab.controllers.reconciler import UNREACHABLE, Again, Key, Outcome
from tallship.lab.controllers.workload import WorkloadClients
from tallship.lab.kubeclient import KubeClient, KubeRefused, Object


class TargetCluster:
    """The workload clusters of all HetznerClusters."""

    def __init__(self, scope: Scope, clients: WorkloadClients) -> None:
        self._scope = scope
        self._api = scope.api
        self._clients = clients
        self._approvers: dict[Key, asyncio.Task[None]] = {}
        self._group: asyncio.TaskGroup | None = None

    async def run(self) -> None:
        """Keep the parts that run inside the clusters until cancelled."""
        try:
            async with asyncio.TaskGroup() as self._group:
                await asyncio.get_running_loop().create_future()
        finally:
            await self._clients.close()
            await self._scope.close()

    async def converge(self, cluster: Object, item: Object) -> Outcome:
        """Do what can be done in the cluster; ask for another try, later each time, until it answers.

        CAPH v1.0.7: this growing delay is what the Secret in kube-system waits for.
        """
        conditions = Conditions(item, self._api.now())
        namespace, name = item["metadata"]["namespace"], cluster["metadata"]["name"]
        client = self._clients.find(namespace, name)
        if client is None:
            text = "kubeconfig not found (yet)"
            conditions.false("TargetClusterReady", "KubeConfigNotFound", "Info", text)
            return Again()
        await self._scope.acquire(f"{name}-kubeconfig", item)
        if not await client.ready():
            text = "target cluster not ready"
            conditions.false("TargetClusterReady", "TargetClusterControlPlaneNotReady", "Info", text)
            return Again()
        conditions.true("TargetClusterReady")
        self._approve(item, client)
        return await self._leave_token(item, client, conditions)

    def forget(self, namespace: str, name: str) -> None:
        """Stop what runs for a HetznerCluster that is gone."""
        task = self._approvers.pop((namespace, name), None)
        if task is not None:
            task.cancel()

    def _approve(self, item: Object, client: KubeClient) -> None:
        key = (item["metadata"]["namespace"], item["metadata"]["name"])
        if self._group is not None and key not in self._approvers:
            requests = SigningRequests(self._api, client, key[0])
            self._approvers[key] = self._group.create_task(requests.run())

    async def _leave_token(self, item: Object, client: KubeClient, conditions: Conditions) -> Outcome:
        if item["spec"].get("skipCreatingHetznerSecretInWorkloadCluster"):
            return None
        try:
            await self._put_secret(item, client)
        except (KubeRefused, *UNREACHABLE) as error:
            conditions.false("TargetClusterSecretReady", "ControlPlaneNotReady", "Error", str(error))
            return Again()
        conditions.true("TargetClusterSecretReady")
        return None

    async def _put_secret(self, item: Object, client: KubeClient) -> None:
        name = item["spec"]["hetznerSecretRef"]["name"]
        secret = self._api.get("Secret", name, item["metadata"]["namespace"]) or {}
        key, keys = token_key(item), item["spec"]["hetznerSecretRef"].get("key", {})
        endpoint = item["spec"]["controlPlaneEndpoint"]
        data = {
            key: secret.get("data", {}).get(key, ""),
            "apiserver-host": _encoded(endpoint["host"]),
            "apiserver-port": _encoded(str(endpoint["port"])),
            keys.get("hetznerRobotUser") or "hetzner-robot-user": "",
            keys.get("hetznerRobotPassword") or "hetzner-robot-password": "",
        }
        if "networkStatus" in item["status"]:
            data["network"] = _encoded(str(item["status"]["networkStatus"]["id"]))
        found = await client.get("Secret", name, "kube-system")
        if found is None:
            meta = {"name": name, "namespace": "kube-system"}
            await client.create({"apiVersion": "v1", "kind": "Secret", "metadata": meta, "data": data})
        elif found.get("data") != data:
            await client.update({**copy_json(found), "apiVersion": "v1", "kind": "Secret", "data": data})


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
