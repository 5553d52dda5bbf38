"""hcloud-cloud-controller-manager 1.29.2: provider ids, addresses, routes; a client of Kubernetes and Hetzner."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

import aiohttp

from tallship.lab.controllers.nodes import node_documents as documents
from tallship.lab.controllers.nodes import scheduling
from tallship.lab.controllers.nodes.durations import CLOUD_NODE_RETRY, LIFECYCLE_PERIOD, ROUTE_PERIOD
from tallship.lab.controllers.nodes.mirror import PASSING, Mirror, condition, record_event, with_condition
from tallship.lab.controllers.nodes.pods import environment
from tallship.lab.controllers.nodes.values import lookup
from tallship.lab.controllers.patch import copy_json
from tallship.lab.http_session import HttpSession
from tallship.lab.kubeclient import Object

CONTAINER = "hcloud-cloud-controller-manager"
_FATAL = "Cloud provider could not be initialized: hcloud/newCloud"
_AGENT = "hcloud-cloud-controller/v1.29.2 hcloud-go/2.32.0"


class HetznerRefused(Exception):
    """The Hetzner API answered with an error."""

    def __init__(self, status: int, body: dict[str, Any]) -> None:
        error = body.get("error", {})
        super().__init__(f"{error.get('message', status)} ({error.get('code', status)})")
        self.status = status
        self.code = str(error.get("code", ""))


class Hetzner:
    """The calls that the CCM makes, with one token."""

    def __init__(self, session: aiohttp.ClientSession, endpoint: str, tls: ssl.SSLContext, token: str) -> None:
        self._session = session
        self._endpoint = endpoint.rstrip("/")
        self._tls = tls
        self._headers = {"Authorization": f"Bearer {token}", "User-Agent": _AGENT}

    async def call(self, method: str, path: str, body: Any = None, **params: str) -> dict[str, Any]:
        """Send one request and return the body of the answer."""
        url = self._endpoint + path
        async with self._session.request(
            method, url, json=body, params=params, headers=self._headers, ssl=self._tls
        ) as answer:
            found: dict[str, Any] = await answer.json()
            if answer.status >= 400:
                raise HetznerRefused(answer.status, found)
            return found

    async def server(self, node: Object) -> dict[str, Any] | None:
        """Return the node's server: by provider id when it has one, else by name."""
        number = provider_number(node)
        if not number:
            found = await self.call("GET", "/servers", name=node["metadata"]["name"])
            return next(iter(found["servers"]), None)
        try:
            found = await self.call("GET", f"/servers/{number}")
        except HetznerRefused as refused:
            if refused.status == 404:
                return None
            raise
        server: dict[str, Any] = found["server"]
        return server

    async def network(self, wanted: str) -> dict[str, Any] | None:
        """Return a network by its number or its name."""
        if wanted.isdigit():
            try:
                found: dict[str, Any] = (await self.call("GET", f"/networks/{wanted}"))["network"]
            except HetznerRefused as refused:
                if refused.status != 404:
                    raise
            else:
                return found
        networks: list[dict[str, Any]] = (await self.call("GET", "/networks", name=wanted))["networks"]
        return next(iter(networks), None)


class HcloudCcm:
    """The program in the container `hcloud-cloud-controller-manager`."""

    def __init__(self, mirror: Mirror, endpoint: str, tls: ssl.SSLContext) -> None:
        self._mirror = mirror
        self._client = mirror.client
        self._clock = mirror.clock
        self._endpoint = endpoint
        self._tls = tls
        self._http = HttpSession()

    async def close(self) -> None:
        """Close all connections."""
        await self._http.close()

    async def problem(self, pod: Object) -> str:
        """Return why the manager cannot start: no token, one that is refused, or a network that is not there."""
        settings = self._settings(pod)
        if not settings.get("HCLOUD_TOKEN"):
            return f"{_FATAL}: environment variable HCLOUD_TOKEN is required"
        hetzner = self._hetzner(settings)
        try:
            network = settings.get("HCLOUD_NETWORK", "")
            if network and await hetzner.network(network) is None:
                return f"{_FATAL}: Network {network} not found"
            await hetzner.call("GET", "/locations")
        except HetznerRefused as refused:
            return f"{_FATAL}: {refused}"
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            return f"{_FATAL}: {error}"
        return ""

    async def run(self) -> None:
        """Be the cloud controllers while a Pod of the manager is ready; until cancelled."""
        async with asyncio.TaskGroup() as work:
            work.create_task(self._mirror.keep(self._initialize_nodes))
            work.create_task(self._every(ROUTE_PERIOD, self._reconcile_routes))
            work.create_task(self._every(LIFECYCLE_PERIOD, self._remove_nodes))

    async def _every(self, seconds: float, look: Any) -> None:
        while True:
            if self._pod() is not None:
                try:
                    await look()
                except (*PASSING, HetznerRefused):
                    pass  # the next period tries again, as the real one does
            await self._clock.sleep(seconds)

    async def _initialize_nodes(self) -> float | None:
        pod = self._pod()
        waiting = [node for node in self._mirror.list("Node") if _uninitialized(node)]
        if pod is None or not waiting:
            return None
        settings = self._settings(pod)
        matched = [await self._initialize(node, settings) for node in waiting]
        if all(matched):
            await self._reconcile_routes()
            return None
        return CLOUD_NODE_RETRY

    async def _initialize(self, node: Object, settings: dict[str, str]) -> bool:
        """Make a node known to the cloud; False when its server, or its address there, is not found."""
        try:
            server = await self._hetzner(settings).server(node)
        except HetznerRefused as refused:
            return await self._cannot(node, f"failed to get instance metadata: {refused}")
        if server is None:
            return await self._cannot(node, f"failed to get instance metadata for node {node['metadata']['name']}")
        addresses = node_addresses(server, settings.get("HCLOUD_NETWORK", ""))
        provided = node["metadata"].get("annotations", {}).get(documents.PROVIDED_IP, "")
        for address in filter(None, provided.split(",")):
            if address not in [each["address"] for each in addresses]:
                return await self._cannot(
                    node, f"failed to get node address from cloud provider that matches ip: {address}"
                )
        await self._label(node, server, addresses)
        return True

    async def _label(self, node: Object, server: dict[str, Any], addresses: list[Object]) -> None:
        node = copy_json(node)
        node.setdefault("status", {})["addresses"] = addresses
        node = await self._client.update(node, "status")
        # 1.29.2 reads zone and region from `datacenter`, which the API no longer sends: those labels stay away.
        kind = server["server_type"]["name"]
        node["metadata"].setdefault("labels", {}).update(
            {
                "beta.kubernetes.io/instance-type": kind,
                "instance.hetzner.cloud/provided-by": "cloud",
                "node.kubernetes.io/instance-type": kind,
                **_zone_labels(server),
            }
        )
        node["spec"]["providerID"] = f"hcloud://{server['id']}"
        node["spec"]["taints"] = [each for each in node["spec"]["taints"] if each["key"] != documents.UNINITIALIZED]
        self._mirror.put(await self._client.update(node))

    async def _cannot(self, node: Object, message: str) -> bool:
        await record_event(self._client, self._clock, node, "cloud-node-controller", "FailedToInitializeNode", message)
        return False

    async def _reconcile_routes(self) -> None:
        """Give every node's Pod network a route in the Hetzner network, and tell the node so."""
        pod = self._pod()
        settings = self._settings(pod) if pod else {}
        enabled = settings.get("HCLOUD_NETWORK_ROUTES_ENABLED", "true") == "true"
        if not settings.get("HCLOUD_NETWORK") or not enabled:
            return
        hetzner = self._hetzner(settings)
        network = await hetzner.network(settings["HCLOUD_NETWORK"])
        if network is None:
            return
        routes = {route["destination"]: route["gateway"] for route in network["routes"]}
        for node in self._mirror.list("Node"):
            await self._route(hetzner, network, routes, node)
        await self._remove_routes(hetzner, network, routes)

    async def _route(self, hetzner: Hetzner, network: dict[str, Any], routes: dict[str, str], node: Object) -> None:
        pods, gateway = node["spec"].get("podCIDR", ""), _internal(node)
        if not provider_number(node) or not pods or not gateway:
            return
        path = f"/networks/{network['id']}/actions"
        if routes.get(pods) not in (None, gateway):
            await hetzner.call("POST", f"{path}/delete_route", {"destination": pods, "gateway": routes.pop(pods)})
        if pods not in routes:
            await hetzner.call("POST", f"{path}/add_route", {"destination": pods, "gateway": gateway})
            routes[pods] = gateway
        if condition(node, "NetworkUnavailable").get("status") != "False":
            node = copy_json(node)
            made = ("False", "RouteCreated", "RouteController created a route")
            node.setdefault("status", {})["conditions"] = with_condition(
                self._clock, node.setdefault("status", {}).get("conditions", []), "NetworkUnavailable", *made
            )
            self._mirror.put(await self._client.update(node, "status"))

    async def _remove_routes(self, hetzner: Hetzner, network: dict[str, Any], routes: dict[str, str]) -> None:
        wanted = {node["spec"].get("podCIDR", "") for node in self._mirror.list("Node")}
        for destination, gateway in list(routes.items()):
            if destination not in wanted:
                path = f"/networks/{network['id']}/actions/delete_route"
                await hetzner.call("POST", path, {"destination": destination, "gateway": gateway})

    async def _remove_nodes(self) -> None:
        """Delete Nodes that are not ready and whose server is gone."""
        pod = self._pod()
        silent = [n for n in self._mirror.list("Node") if condition(n, "Ready").get("status") != "True"]
        if pod is None:
            return
        hetzner = self._hetzner(self._settings(pod))
        for node in silent:
            if provider_number(node) and await hetzner.server(node) is None:
                await self._client.delete("Node", node["metadata"]["name"])
                self._mirror.drop(node)

    def _pod(self) -> Object | None:
        """The Pod that does the work: the leader, when there are several."""
        running = [pod for pod in self._mirror.list("Pod") if scheduling.runs(pod, CONTAINER)]
        return next(iter(running), None)

    def _settings(self, pod: Object) -> dict[str, str]:
        return environment(pod, CONTAINER, lookup(self._mirror, pod["metadata"]["namespace"]))

    def _hetzner(self, settings: dict[str, str]) -> Hetzner:
        return Hetzner(self._http.get(), self._endpoint, self._tls, settings["HCLOUD_TOKEN"])


def node_addresses(server: dict[str, Any], network: str) -> list[Object]:
    """Return what the CCM says a server's addresses are: IPv4 only, the private one only with a network."""
    addresses: list[Object] = [{"type": "Hostname", "address": server["name"]}]
    public = server["public_net"].get("ipv4")
    if public:
        addresses.append({"type": "ExternalIP", "address": public["ip"]})
    if network:
        addresses += [{"type": "InternalIP", "address": each["ip"]} for each in server["private_net"]]
    return addresses


def provider_number(node: Object) -> str:
    """Return the server's number in `hcloud://NUMBER`; empty when the node has no provider id."""
    return str(node["spec"].get("providerID", "")).removeprefix("hcloud://")


def _zone_labels(server: dict[str, Any]) -> dict[str, str]:
    place = server.get("datacenter")
    if not place:
        return {}
    zone, region = place["name"], place["location"]["name"]
    return {"topology.kubernetes.io/zone": zone, "topology.kubernetes.io/region": region}


def _uninitialized(node: Object) -> bool:
    return any(each["key"] == documents.UNINITIALIZED for each in node["spec"].get("taints", []))


def _internal(node: Object) -> str:
    addresses = node.setdefault("status", {}).get("addresses", [])
    return next((each["address"] for each in addresses if each["type"] == "InternalIP"), "")
