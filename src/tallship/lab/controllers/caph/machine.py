"""The HCloudMachine controller: one server from its order to its place behind the load balancer."""

from __future__ import annotations

from tallship.lab.controllers.caph.cluster import has_balancer
from tallship.lab.controllers.caph.hcloud import Document, HCloud, HCloudError
from tallship.lab.controllers.caph.ordering import CannotOrder, Order
from tallship.lab.controllers.caph.scope import RATE_LIMIT_POLL, SOURCE, Scope
from tallship.lab.controllers.caph.server_deletion import FINALIZER, ServerDeletion
from tallship.lab.controllers.conditions import Conditions, is_true
from tallship.lab.controllers.ownership import (
    CONTROL_PLANE_LABEL,
    add_finalizer,
    is_deleting,
    is_paused,
    owner_name,
)
from tallship.lab.controllers.patch import copy_json
from tallship.lab.controllers.reconciler import Again, Outcome
from tallship.lab.kubeclient import Object

POLL = 10.0
POLL_STARTING = 60.0
POLL_NOT_ORDERED = 300.0


class HCloudMachines:
    """Reconciles HCloudMachines."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._api = scope.api

    async def reconcile(self, namespace: str, name: str) -> Outcome:
        """Bring one HCloudMachine a step further."""
        before = self._api.get("HCloudMachine", name, namespace)
        machine = None if before is None else self._api.get("Machine", owner_name(before, "Machine"), namespace)
        if before is None or machine is None:
            return None
        cluster = self._api.get("Cluster", machine["spec"]["clusterName"], namespace)
        if cluster is None or is_paused(cluster, before) or "infrastructureRef" not in cluster["spec"]:
            return None
        hetzner_cluster = self._api.get("HetznerCluster", cluster["spec"]["infrastructureRef"]["name"], namespace)
        if hetzner_cluster is None:
            return None
        after = copy_json(before)
        hcloud = self._scope.client(hetzner_cluster)
        if hcloud is None:
            self._scope.token_missing(after)
            await self._finish(before, after)
            return Again(60)
        if self._scope.rate_limited(after):
            return Again(RATE_LIMIT_POLL)
        Conditions(after, self._api.now()).true("HCloudTokenAvailable")
        if not is_deleting(after) and add_finalizer(after, FINALIZER):
            before = await self._api.save(before, {**before, "metadata": after["metadata"]})
            after["metadata"] = copy_json(before["metadata"])
        step = _Step(self._scope, hcloud, hetzner_cluster, machine, after)
        return await self._run(step, before, after)

    async def _run(self, step: _Step, before: Object, after: Object) -> Outcome:
        try:
            outcome = await (step.delete() if is_deleting(after) else step.converge())
        except HCloudError as error:
            if not self._scope.meet_error(after, error, "reconcile"):
                await self._finish(before, after)
                return Again()
            outcome = None if after.get("status", {}).get("ready") else Again(RATE_LIMIT_POLL)
        await self._finish(before, after)
        return outcome

    async def _finish(self, before: Object, after: Object) -> None:
        Conditions(after, self._api.now()).summarize()
        await self._api.save(before, after)


class _Step:
    """One pass over one HCloudMachine."""

    def __init__(self, scope: Scope, hcloud: HCloud, hetzner_cluster: Object, machine: Object, item: Object) -> None:
        self._scope = scope
        self._api = scope.api
        self._hcloud = hcloud
        self._hetzner_cluster = hetzner_cluster
        self._machine = machine
        self._item = item
        self._status = item.setdefault("status", {})
        self._order = Order(self._api, hcloud, hetzner_cluster, machine, item)

    async def converge(self) -> Outcome:
        """Go on towards a server that serves."""
        regions = self._hetzner_cluster["spec"].get("controlPlaneRegions", [])
        self._status["region"] = self._machine["spec"].get("failureDomain") or next(iter(regions), "")
        conditions = Conditions(self._item, self._api.now())
        secret = self._machine["spec"]["bootstrap"].get("dataSecretName")
        if not secret:
            conditions.false("BootstrapReady", "BootstrapNotReady", "Info", "bootstrap not ready yet")
            return Again(POLL)
        conditions.true("BootstrapReady")
        await self._scope.acquire(secret, self._item)
        server = await self._order.find_server()
        if server is None and self._item["spec"].get("providerID"):
            return self._lost()
        if server is None:
            try:
                server = await self._order.place()
            except CannotOrder as reason:
                conditions.false("ServerCreateSucceeded", reason.reason, reason.severity, str(reason))
                return Again(POLL_NOT_ORDERED)
        conditions.true("ServerCreateSucceeded")
        self._note(server)
        return await self._follow(server)

    def _note(self, server: Document) -> None:
        self._item["spec"]["providerID"] = f"hcloud://{server['id']}"
        self._status["instanceState"] = server["status"]
        self._status["addresses"] = _addresses(server)

    async def _follow(self, server: Document) -> Outcome:
        conditions, state = Conditions(self._item, self._api.now()), server["status"]
        if state == "off":
            await self._hcloud.post(f"/servers/{server['id']}/actions/poweron")
            conditions.false("ServerAvailable", "ServerOff", "Info", "server is switched off")
            return Again(POLL)
        if state == "starting":
            conditions.false("ServerAvailable", "ServerStarting", "Info", "server is starting")
            return Again(POLL_STARTING)
        if state != "running":
            return Again(POLL)  # nothing says so: with no condition the machine counts as Ready
        await self._attach(server)
        await self._add_target(server)
        conditions.true("ServerAvailable")
        self._status["ready"] = True
        return None

    def _lost(self) -> Outcome:
        text = f'hcloud server ("{self._item["spec"]["providerID"]}") no longer available. Setting MachineError.'
        conditions = Conditions(self._item, self._api.now())
        conditions.false("ServerAvailable", "NoHCloudServerFound", "Warning", text)
        self._status |= {"failureReason": "UpdateError", "failureMessage": text}
        return None

    async def _attach(self, server: Document) -> None:
        """Attach the server to the network, unless the HetznerCluster's status, which may be old, knows of it."""
        network = self._hetzner_cluster.get("status", {}).get("networkStatus")
        if network is None or server["id"] in network.get("attachedServers", []):
            return
        try:
            await self._hcloud.post(f"/servers/{server['id']}/actions/attach_to_network", {"network": network["id"]})
        except HCloudError as error:
            if error.code != "server_already_attached":
                raise

    async def _add_target(self, server: Document) -> None:
        """Put the server behind the load balancer, unless the HetznerCluster's status, which may be old, says it is."""
        if CONTROL_PLANE_LABEL not in self._machine["metadata"].get("labels", {}):
            return
        if not has_balancer(self._hetzner_cluster):
            return
        if is_true(self._machine, "PreDrainDeleteHookSucceeded"):
            return
        balancer = self._hetzner_cluster["status"]["controlPlaneLoadBalancer"]
        if any(each["serverID"] == server["id"] for each in balancer.get("targets", [])):
            return
        private = bool(server["private_net"])
        body = {"type": "server", "server": {"id": server["id"]}, "use_private_ip": private}
        try:
            await self._hcloud.post(f"/load_balancers/{balancer['id']}/actions/add_target", body)
        except HCloudError as error:
            if error.code != "target_already_defined":
                raise
            return
        text = f"Added new server {server['name']} with ID {server['id']} to the loadbalancer with ID {balancer['id']}"
        await self._api.event(self._hetzner_cluster, "AddedAsTargetToLoadBalancer", text, SOURCE)

    async def delete(self) -> Outcome:
        """Go on towards no server."""
        deletion = ServerDeletion(self._api, self._hcloud, self._hetzner_cluster, self._machine, self._item)
        return await deletion.step(await self._order.find_server())


def _addresses(server: Document) -> list[Document]:
    found = []
    public = server["public_net"]
    if public.get("ipv4"):
        found.append({"type": "ExternalIP", "address": public["ipv4"]["ip"]})
    if public.get("ipv6"):
        found.append({"type": "ExternalIP", "address": public["ipv6"]["ip"].split("/")[0] + "1"})
    return [*found, *({"type": "InternalIP", "address": each["ip"]} for each in server["private_net"])]
