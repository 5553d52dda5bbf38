"""Giving a server back: out of the load balancer, shut down, half a minute, deleted."""

from __future__ import annotations

from tallship.lab.controllers.caph.hcloud import Document, HCloud, HCloudError
from tallship.lab.controllers.caph.scope import SOURCE
from tallship.lab.controllers.conditions import Conditions, find
from tallship.lab.controllers.informer import CachedApi
from tallship.lab.controllers.ownership import CONTROL_PLANE_LABEL, drop_finalizer
from tallship.lab.controllers.reconciler import Again, Outcome
from tallship.lab.kubeclient import Object

SHUTDOWN = 30.0
FINALIZER = "infrastructure.cluster.x-k8s.io/hcloudmachine"


class ServerDeletion:
    """The deletion of one HCloudMachine's server."""

    def __init__(self, api: CachedApi, hcloud: HCloud, hetzner_cluster: Object, machine: Object, item: Object) -> None:
        self._api = api
        self._hcloud = hcloud
        self._hetzner_cluster = hetzner_cluster
        self._machine = machine
        self._item = item

    async def step(self, server: Document | None) -> Outcome:
        """Bring the deletion a step further; the finalizer goes with the server."""
        if server is None:
            drop_finalizer(self._item, FINALIZER)
            return None
        await self._remove_target(server)
        asked = find(self._item, "ServerAvailable")
        told_to_stop = asked is not None and asked.get("reason") == "InstanceTerminated"
        if server["status"] == "running" and not told_to_stop:
            await self._hcloud.post(f"/servers/{server['id']}/actions/shutdown")
            conditions = Conditions(self._item, self._api.now())
            text = "Instance has been shut down"
            conditions.false("ServerAvailable", "InstanceTerminated", "Info", text)
            return Again(SHUTDOWN)
        await self._hcloud.delete(f"/servers/{server['id']}")
        name = self._item["metadata"]["name"]
        await self._api.event(self._item, "HCloudServerDeleted", f"HCloud server {name} deleted", SOURCE)
        drop_finalizer(self._item, FINALIZER)
        return None

    async def _remove_target(self, server: Document) -> None:
        balancer = self._hetzner_cluster.get("status", {}).get("controlPlaneLoadBalancer", {}).get("id")
        if balancer is None or CONTROL_PLANE_LABEL not in self._machine["metadata"].get("labels", {}):
            return
        body = {"type": "server", "server": {"id": server["id"]}}
        try:
            await self._hcloud.post(f"/load_balancers/{balancer}/actions/remove_target", body)
        except HCloudError:
            return  # not a target (any more): the second removal always meets this
        text = f"Deleted new server {server['name']} with ID {server['id']} of the loadbalancer  with ID {balancer}"
        await self._api.event(self._hetzner_cluster, "DeletedTargetOfLoadBalancer", text, SOURCE)
