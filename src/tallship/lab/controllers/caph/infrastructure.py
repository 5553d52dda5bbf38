"""Network, load balancer and placement groups of a HetznerCluster."""

from __future__ import annotations

from tallship.lab.controllers.caph.hcloud import Document, HCloud, HCloudError
from tallship.lab.controllers.caph.scope import SOURCE, owned_label
from tallship.lab.controllers.conditions import Conditions
from tallship.lab.controllers.informer import CachedApi
from tallship.lab.controllers.ownership import generated
from tallship.lab.controllers.reconciler import ProviderCrashed, ReconcileFailed
from tallship.lab.kubeclient import Object


class Infrastructure:
    """Makes what a HetznerCluster asks for, and notes it in its status."""

    def __init__(self, api: CachedApi, hcloud: HCloud, cluster: Object) -> None:
        self._api = api
        self._hcloud = hcloud
        self._cluster = cluster
        self._spec = cluster["spec"]
        self._status = cluster.setdefault("status", {})
        self._name = cluster["metadata"]["name"]
        self._labels = {owned_label(cluster): "owned"}
        self._selector = f"{owned_label(cluster)}==owned"

    async def converge(self) -> None:
        """Make everything; raises HCloudError or ReconcileFailed, with the condition of the part already False."""
        await self._network()
        await self._load_balancer()
        await self._placement_groups()

    def _conditions(self) -> Conditions:
        return Conditions(self._cluster, self._api.now())

    async def _network(self) -> None:
        wanted = self._spec.get("hcloudNetwork", {})
        if not wanted.get("enabled"):
            return
        found = await self._hcloud.list("/networks", "networks", label_selector=self._selector)
        if len(found) > 1:
            raise ReconcileFailed(f"found multiple networks with label {self._selector}")
        try:
            network = found[0] if found else await self._create_network(wanted)
        except HCloudError as error:
            self._conditions().false("NetworkReady", "NetworkReconcileFailed", "Error", str(error))
            raise
        status: Document = {"id": network["id"]}
        if network["servers"]:
            status["attachedServers"] = network["servers"]
        self._status["networkStatus"] = status
        self._conditions().true("NetworkReady")

    async def _create_network(self, wanted: Object) -> Document:
        cidr, subnet = wanted.get("cidrBlock", "10.0.0.0/16"), wanted.get("subnetCidrBlock", "10.0.0.0/24")
        zone = wanted.get("networkZone", "eu-central")
        body = {
            "name": self._name,
            "ip_range": cidr,
            "subnets": [{"type": "cloud", "ip_range": subnet, "network_zone": zone}],
            "labels": self._labels,
            "expose_routes_to_vswitch": False,
        }
        network: Document = (await self._hcloud.post("/networks", body))["network"]
        text = (
            f"Created network with opts {{Name:{self._name} IPRange:{cidr} Subnets:[{{Type:cloud IPRange:{subnet} "
            f"NetworkZone:{zone} Gateway:<nil> VSwitchID:0}}] Routes:[] Labels:map[{owned_label(self._cluster)}:owned] "
            "ExposeRoutesToVSwitch:false}"
        )
        await self._api.event(self._cluster, "NetworkCreated", text, SOURCE)
        return network

    async def _load_balancer(self) -> None:
        wanted = self._spec.get("controlPlaneLoadBalancer", {})
        if not wanted.get("enabled", True):
            return
        try:
            balancer = await self._find_balancer(wanted) or await self._create_balancer(wanted)
            if balancer is None:
                return
            await self._attach_balancer(balancer)
            await self._services(balancer, wanted)
        except HCloudError as error:
            self._conditions().false("LoadBalancerReady", "LoadBalancerCreateFailed", "Error", str(error))
            raise
        self._status["controlPlaneLoadBalancer"] = _balancer_status(balancer)
        self._conditions().true("LoadBalancerReady")

    async def _find_balancer(self, wanted: Object) -> Document | None:
        query = {"label_selector": self._selector}
        if wanted.get("name") and "controlPlaneLoadBalancer" not in self._status:
            query = {"name": wanted["name"]}
        found = await self._hcloud.list("/load_balancers", "load_balancers", **query)
        if len(found) > 1:
            raise ReconcileFailed(f"found {len(found)} load balancers with label {self._selector}")
        return found[0] if found else None

    async def _create_balancer(self, wanted: Object) -> Document | None:
        if wanted.get("name"):  # one that was made beforehand is only ever taken
            text = f"load balancer {wanted['name']!r} not found"
            self._conditions().false("LoadBalancerReady", "LoadBalancerFailedToOwn", "Error", text)
            return None
        endpoint = self._spec.get("controlPlaneEndpoint")
        if endpoint is None:
            raise ProviderCrashed("panic: runtime error: invalid memory address or nil pointer dereference")
        body = {
            "name": generated(f"{self._name}-kube-apiserver"),
            "load_balancer_type": wanted.get("type", "lb11"),
            "algorithm": {"type": wanted.get("algorithm", "round_robin")},
            "location": wanted["region"],
            "labels": self._labels,
            "services": [_service(endpoint["port"], wanted.get("port", 6443))],
            "public_interface": True,
        }
        if "networkStatus" in self._status:
            body["network"] = self._status["networkStatus"]["id"]
        balancer: Document = (await self._hcloud.post("/load_balancers", body))["load_balancer"]
        await self._api.event(self._cluster, "CreateLoadBalancer", "Created load balancer", SOURCE)
        return balancer

    async def _attach_balancer(self, balancer: Document) -> None:
        network = self._status.get("networkStatus", {}).get("id")
        if network is None or any(each["network"] == network for each in balancer["private_net"]):
            return
        try:
            await self._hcloud.post(f"/load_balancers/{balancer['id']}/actions/attach_to_network", {"network": network})
        except HCloudError as error:
            if error.code != "load_balancer_already_attached":
                raise

    async def _services(self, balancer: Document, wanted: Object) -> None:
        """Make the load balancer's services those of the spec; others are deleted."""
        endpoint = self._spec.get("controlPlaneEndpoint") or {"port": 6443}
        services = {endpoint["port"]: _service(endpoint["port"], wanted.get("port", 6443))}
        for extra in wanted.get("extraServices", []):
            service = _service(extra["listenPort"], extra["destinationPort"], extra.get("protocol", "tcp"))
            services[extra["listenPort"]] = service
        there = {each["listen_port"] for each in balancer["services"]}
        actions = f"/load_balancers/{balancer['id']}/actions"
        for port in there - services.keys():
            await self._hcloud.post(f"{actions}/delete_service", {"listen_port": port})
        for port, service in services.items():
            if port not in there:
                await self._hcloud.post(f"{actions}/add_service", service)

    async def _placement_groups(self) -> None:
        wanted = {f"{self._name}-{each['name']}": each for each in self._spec.get("hcloudPlacementGroups", [])}
        try:
            found = await self._list_placement_groups()
            if await self._change_placement_groups(wanted, found):
                found = await self._list_placement_groups()
        except HCloudError as error:
            self._conditions().false("PlacementGroupsSynced", "PlacementGroupsSyncFailed", "Error", str(error))
            raise
        prefix = len(self._name) + 1
        groups = [
            {"id": each["id"], "name": each["name"][prefix:], "type": each["type"]}
            | ({"servers": each["servers"]} if each["servers"] else {})
            for each in found
        ]
        if groups:
            self._status["hcloudPlacementGroups"] = groups
        self._conditions().true("PlacementGroupsSynced")

    async def _list_placement_groups(self) -> list[Document]:
        return await self._hcloud.list("/placement_groups", "placement_groups", label_selector=self._selector)

    async def _change_placement_groups(self, wanted: dict[str, Object], found: list[Document]) -> bool:
        extra = [each for each in found if each["name"] not in wanted]
        missing = [name for name in wanted if name not in {each["name"] for each in found}]
        for each in extra:
            await self._hcloud.delete(f"/placement_groups/{each['id']}")
        for name in missing:
            body = {"name": name, "labels": self._labels, "type": wanted[name].get("type", "spread")}
            await self._hcloud.post("/placement_groups", body)
        return bool(extra or missing)

    async def delete(self) -> None:
        """Delete what the status names: load balancer, network, placement groups."""
        balancer = self._status.get("controlPlaneLoadBalancer", {}).get("id")
        if balancer is not None:
            await self._delete_balancer(balancer)
        network = self._status.get("networkStatus", {}).get("id")
        if network is not None:
            await self._hcloud.delete(f"/networks/{network}")
            await self._api.event(self._cluster, "NetworkDeleted", f"Deleted network with ID {network}", SOURCE)
        for group in self._status.get("hcloudPlacementGroups", []):
            await self._hcloud.delete(f"/placement_groups/{group['id']}")
        await self._api.event(self._cluster, "PlacementGroupsDeleted", "Deleted placement groups", SOURCE)

    async def _delete_balancer(self, balancer: int) -> None:
        if self._spec["controlPlaneLoadBalancer"].get("name"):
            return  # one that was made beforehand is left to whoever made it
        try:
            await self._hcloud.delete(f"/load_balancers/{balancer}")
        except HCloudError as error:
            if error.code != "protected":
                raise
        await self._api.event(self._cluster, "DeleteLoadBalancer", "Deleted load balancer", SOURCE)


def _service(listen: int, destination: int, protocol: str = "tcp") -> Document:
    return {
        "protocol": protocol,
        "listen_port": listen,
        "destination_port": destination,
        "proxyprotocol": False,
    }


def _balancer_status(balancer: Document) -> Document:
    private = next((each["ip"] for each in balancer["private_net"]), "")
    targets = [
        {"type": "server", "serverID": each["server"]["id"]} for each in balancer["targets"] if each["type"] == "server"
    ]
    status = {
        "id": balancer["id"],
        "ipv4": balancer["public_net"]["ipv4"]["ip"],
        "ipv6": balancer["public_net"]["ipv6"]["ip"],
        "internalIP": private,
    }
    return status | ({"targets": targets} if targets else {})
