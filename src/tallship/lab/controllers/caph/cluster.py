"""The HetznerCluster controller."""

from __future__ import annotations

from tallship.lab.controllers.caph.hcloud import HCloud, HCloudError
from tallship.lab.controllers.caph.infrastructure import Infrastructure
from tallship.lab.controllers.caph.scope import RATE_LIMIT_POLL, SECRET_FINALIZER, Scope
from tallship.lab.controllers.caph.target import TargetCluster
from tallship.lab.controllers.conditions import Conditions, is_true
from tallship.lab.controllers.ownership import (
    CLUSTER_LABEL,
    add_finalizer,
    drop_finalizer,
    drop_owner,
    is_deleting,
    is_paused,
    owner_name,
)
from tallship.lab.controllers.patch import copy_json
from tallship.lab.controllers.reconciler import Again, Outcome, ReconcileFailed
from tallship.lab.kubeclient import Object

FINALIZER = "infrastructure.cluster.x-k8s.io/hetznercluster"
WAIT_FOR_MACHINES = 10.0


class HetznerClusters:
    """Reconciles HetznerClusters."""

    def __init__(self, scope: Scope, target: TargetCluster) -> None:
        self._scope = scope
        self._api = scope.api
        self._target = target

    async def reconcile(self, namespace: str, name: str) -> Outcome:
        """Bring one HetznerCluster a step further."""
        before = self._api.get("HetznerCluster", name, namespace)
        cluster_name = "" if before is None else owner_name(before, "Cluster")
        if before is None:
            self._target.forget(namespace, name)
            return None
        cluster = self._api.get("Cluster", cluster_name, namespace) if cluster_name else None
        if cluster is None or is_paused(cluster, before):
            return None
        after = copy_json(before)
        hcloud = self._scope.client(before)
        if hcloud is None:
            self._scope.token_missing(after)
            await self._finish(before, after)
            return Again(60)
        await self._scope.acquire(before["spec"]["hetznerSecretRef"]["name"], before, SECRET_FINALIZER)
        if self._scope.rate_limited(after):
            return Again(RATE_LIMIT_POLL)
        Conditions(after, self._api.now()).true("HCloudTokenAvailable")
        if is_deleting(before):
            return await self._delete(before, after, hcloud)
        if add_finalizer(after, FINALIZER):
            before = await self._api.save(before, {**before, "metadata": after["metadata"]})
            after["metadata"] = copy_json(before["metadata"])
        return await self._converge(cluster, before, after, hcloud)

    async def _converge(self, cluster: Object, before: Object, after: Object, hcloud: HCloud) -> Outcome:
        regions = after["spec"].get("controlPlaneRegions", [])
        status = after.setdefault("status", {})
        status["failureDomains"] = {region: {"controlPlane": True} for region in regions}
        try:
            await Infrastructure(self._api, hcloud, after).converge()
        except HCloudError as error:
            known = self._scope.meet_error(after, error, "converge")
            await self._finish(before, after)
            return Again(RATE_LIMIT_POLL) if known else Again()
        except ReconcileFailed:
            await self._finish(before, after)
            raise
        self._set_endpoint(after)
        outcome = await self._target.converge(cluster, after)
        await self._finish(before, after)
        return outcome

    def _set_endpoint(self, item: Object) -> None:
        conditions, status = Conditions(item, self._api.now()), item["status"]
        endpoint = item["spec"].get("controlPlaneEndpoint") or {}
        balancer = status.get("controlPlaneLoadBalancer", {})
        if balancer.get("ipv4") and not endpoint.get("host"):
            endpoint = {"host": balancer["ipv4"], "port": endpoint.get("port") or 6443}
            item["spec"]["controlPlaneEndpoint"] = endpoint
        if endpoint.get("host") and endpoint.get("port"):
            conditions.true("ControlPlaneEndpointSet")
            status["ready"] = True
        else:
            text = "enabled LoadBalancer but load balancer not ready yet"
            conditions.false("ControlPlaneEndpointSet", "ControlPlaneEndpointNotSet", "Warning", text)

    async def _delete(self, before: Object, after: Object, hcloud: HCloud) -> Outcome:
        meta = after["metadata"]
        labels = {CLUSTER_LABEL: meta.get("labels", {}).get(CLUSTER_LABEL, meta["name"])}
        if self._api.list("HCloudMachine", meta["namespace"], labels):
            return Again(WAIT_FOR_MACHINES)
        await self._release_secret(after)
        try:
            await Infrastructure(self._api, hcloud, after).delete()
        except HCloudError as error:
            known = self._scope.meet_error(after, error, "delete")
            await self._finish(before, after)
            return Again(RATE_LIMIT_POLL) if known else Again()
        self._target.forget(meta["namespace"], meta["name"])
        drop_finalizer(after, FINALIZER)
        await self._api.save(before, after)
        return None

    async def _release_secret(self, item: Object) -> None:
        secret = self._api.get("Secret", item["spec"]["hetznerSecretRef"]["name"], item["metadata"]["namespace"])
        if secret is not None:
            released = copy_json(secret)
            drop_owner(released, "HetznerCluster", item["metadata"]["name"])
            drop_finalizer(released, SECRET_FINALIZER)
            await self._api.save(secret, released)

    async def _finish(self, before: Object, after: Object) -> None:
        Conditions(after, self._api.now()).summarize()
        await self._api.save(before, after)


def has_balancer(hetzner_cluster: Object) -> bool:
    """True when the load balancer can take targets."""
    return is_true(hetzner_cluster, "LoadBalancerReady") and "controlPlaneLoadBalancer" in hetzner_cluster.get(
        "status", {}
    )
