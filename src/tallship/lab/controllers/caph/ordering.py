"""Finding or ordering the server of an HCloudMachine."""

from __future__ import annotations

from tallship.lab.controllers.caph.hcloud import Document, HCloud, HCloudError
from tallship.lab.controllers.caph.scope import SOURCE, owned_label
from tallship.lab.controllers.conditions import Conditions
from tallship.lab.controllers.informer import CachedApi
from tallship.lab.controllers.ownership import CONTROL_PLANE_LABEL, secret_value
from tallship.lab.kubeclient import Object


class CannotOrder(Exception):
    """The server cannot be ordered until somebody changes something."""

    def __init__(self, reason: str, message: str, severity: str = "Error") -> None:
        super().__init__(message)
        self.reason = reason
        self.severity = severity


class Order:
    """The order of one server."""

    def __init__(self, api: CachedApi, hcloud: HCloud, hetzner_cluster: Object, machine: Object, item: Object) -> None:
        self._api = api
        self._hcloud = hcloud
        self._hetzner_cluster = hetzner_cluster
        self._machine = machine
        self._item = item
        self._spec = item["spec"]
        self._name = item["metadata"]["name"]

    async def find_server(self) -> Document | None:
        """Return the server, by its id, else by its labels; None when there is none."""
        provider_id = self._spec.get("providerID", "")
        if provider_id:
            found = await self._hcloud.find(f"/servers/{provider_id.removeprefix('hcloud://')}")
            if found is not None:
                server: Document = found["server"]
                return server
        selector = ",".join(f"{key}=={value}" for key, value in self._labels().items())
        servers = await self._hcloud.list("/servers", "servers", label_selector=selector)
        if len(servers) > 1:
            text = f"found {len(servers)} servers with name {self._name}"
            await self._api.event(self._item, "MultipleInstances", text, SOURCE, "Warning")
            raise HCloudError(0, "conflict", text)
        return servers[0] if servers else None

    async def place(self) -> Document:
        """Order the server and return it; raises CannotOrder or HCloudError, the latter with its condition set."""
        body = await self._body()
        try:
            server: Document = (await self._hcloud.post("/servers", body))["server"]
        except HCloudError as error:
            if error.code != "rate_limit_exceeded":
                conditions = Conditions(self._item, self._api.now())
                conditions.false("ServerCreateSucceeded", "ServerCreateFailed", "Warning", str(error))
                text = f"Failed to create HCloud server {self._name}: {error}"
                await self._api.event(self._item, "FailedCreateHCloudServer", text, SOURCE, "Warning")
            raise
        text = f"Created new server {server['name']} with ID {server['id']}"
        await self._api.event(self._item, "SuccessfulCreate", text, SOURCE)
        return server

    def _labels(self) -> dict[str, str]:
        controls = CONTROL_PLANE_LABEL in self._machine["metadata"].get("labels", {})
        return {
            owned_label(self._hetzner_cluster): "owned",
            "machine.caph-name": self._name,
            "machine_type": "control_plane" if controls else "worker",
        }

    async def _body(self) -> Document:
        server_type = await self._server_type()
        image = await self._image(server_type["architecture"])
        keys = await self._ssh_keys()
        public = self._spec.get("publicNetwork", {})
        body: Document = {
            "name": self._name,
            "server_type": server_type["name"],
            "image": image["id"],
            "location": self._item["status"]["region"],
            "user_data": self._user_data(),
            "start_after_create": True,
            "labels": self._labels(),
            "automount": False,
            "public_net": {
                "enable_ipv4": public.get("enableIPv4", True),
                "enable_ipv6": public.get("enableIPv6", True),
            },
        }
        if keys:
            body["ssh_keys"] = keys
        network = self._hetzner_cluster.get("status", {}).get("networkStatus")
        if network is not None:
            body["networks"] = [network["id"]]
        if self._spec.get("placementGroupName"):
            body["placement_group"] = await self._placement_group()
        return body

    async def _server_type(self) -> Document:
        name = self._spec["type"]
        found = (await self._hcloud.get("/server_types", name=name))["server_types"]
        if not found:
            raise CannotOrder("ServerTypeNotFound", f"failed to get server type - nil type: {name}")
        server_type: Document = found[0]
        return server_type

    async def _image(self, architecture: str) -> Document:
        """Return the image, by label and by name; what both lists hold is counted together."""
        name = self._spec["imageName"]
        label = f"caph-image-name=={name}"
        found = await self._hcloud.list("/images", "images", architecture=architecture, label_selector=label)
        found += await self._hcloud.list("/images", "images", architecture=architecture, name=name)
        if len(found) == 1:
            return found[0]
        reason, text = "ImageNotFound", f"no image found with name {name}"
        if found:
            reason, text = "ImageAmbiguous", f"image is ambiguous - {len(found)} images have name {name}"
        event = "ImageNameAmbiguous" if found else reason
        await self._api.event(self._item, event, text, SOURCE, "Warning")
        raise CannotOrder(reason, text)

    async def _ssh_keys(self) -> list[int]:
        there = {each["name"]: each["id"] for each in (await self._hcloud.get("/ssh_keys"))["ssh_keys"]}
        wanted = [
            each["name"]
            for each in self._spec.get("sshKeys")
            or (self._hetzner_cluster["spec"].get("sshKeys") or {}).get("hcloud")
            or []
        ]
        ref = self._hetzner_cluster["spec"]["hetznerSecretRef"]
        secret = self._api.get("Secret", ref["name"], self._hetzner_cluster["metadata"]["namespace"]) or {}
        default = secret_value(secret, ref.get("key", {}).get("sshKey") or "hcloud-ssh-key-name")
        wanted += [default] if default and default not in wanted else []
        missing = next((each for each in wanted if each not in there), None)
        if missing is not None:
            raise CannotOrder("SSHKeyNotFound", f"ssh key not found: {missing}")
        return [there[each] for each in wanted]

    async def _placement_group(self) -> int:
        name = self._spec["placementGroupName"]
        for group in self._hetzner_cluster.get("status", {}).get("hcloudPlacementGroups", []):
            if group["name"] == name:
                return int(group["id"])
        text = f"Placement group {name!r} does not exist in cluster"
        raise CannotOrder("InstanceHasNonExistingPlacementGroup", text)

    def _user_data(self) -> str:
        name = self._machine["spec"]["bootstrap"]["dataSecretName"]
        secret = self._api.get("Secret", name, self._item["metadata"]["namespace"]) or {}
        return secret_value(secret, "value")
