"""Talos cloud controller manager with `node-csr-approval`: approves kubelets' serving certificates."""

from __future__ import annotations

import base64

from tallship.lab.clock import timestamp
from tallship.lab.controllers.nodes import node_documents as documents
from tallship.lab.controllers.nodes import scheduling
from tallship.lab.controllers.nodes.identity import requested_addresses
from tallship.lab.controllers.nodes.mirror import Mirror, condition
from tallship.lab.controllers.patch import copy_json
from tallship.lab.kubeclient import Object

CONTAINER = "talos-cloud-controller-manager"
_CONTROLLER = "node-csr-approval"


class TalosCcm:
    """The program in the container `talos-cloud-controller-manager`."""

    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror
        self._client = mirror.client
        self._refused: set[str] = set()

    async def problem(self, pod: Object) -> str:
        """Return why the manager cannot start; its credentials are a volume, so nothing else is needed."""
        return ""

    async def run(self) -> None:
        """Approve while a Pod of the manager is ready; until cancelled."""
        await self._mirror.keep(self._look)

    async def _look(self) -> float | None:
        if not any(_approves(pod) for pod in self._mirror.list("Pod") if scheduling.runs(pod, CONTAINER)):
            return None
        for request in self._mirror.list("CertificateSigningRequest"):
            name = request["metadata"]["name"]
            decided = condition(request, "Approved") or condition(request, "Denied") or name in self._refused
            if request["spec"]["signerName"] == "kubernetes.io/kubelet-serving" and not decided:
                await self._decide(request)
        return None

    async def _decide(self, request: Object) -> None:
        """Approve a request for a node's own addresses; it acts on new requests only, so a refused one stays."""
        name = str(request["spec"].get("username", "")).removeprefix("system:node:")
        node = self._mirror.get("Node", name)
        if node is None:
            return
        wanted = base64.b64decode(request["spec"]["request"]).decode()
        names, addresses = requested_addresses(wanted)
        known = {each["address"] for each in node["status"].get("addresses", [])}
        known |= set(node["metadata"].get("annotations", {}).get(documents.PROVIDED_IP, "").split(","))
        if not set(addresses) <= known or not set(names) <= {*known, name}:
            self._refused.add(request["metadata"]["name"])
            return
        request = copy_json(request)
        now = timestamp(self._mirror.clock)
        request.setdefault("status", {})["conditions"] = [
            {
                "type": "Approved",
                "status": "True",
                "reason": "NodeCSRApproval",
                "message": "This CSR was approved by Talos Cloud Controller Manager",
                "lastUpdateTime": now,
                "lastTransitionTime": now,
            }
        ]
        self._mirror.put(await self._client.update(request, "approval"))


def _approves(pod: Object) -> bool:
    container = next(each for each in pod["spec"]["containers"] if each["name"] == CONTAINER)
    arguments = [*container.get("command", []), *container.get("args", [])]
    chosen = next((each for each in arguments if each.startswith("--controllers=")), "")
    return _CONTROLLER in chosen or not chosen
