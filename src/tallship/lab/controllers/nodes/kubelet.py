"""One machine's kubelet: its Node, its lease, its request for a serving certificate."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import secrets
from typing import Protocol

from tallship.lab.clock import LabClock, timestamp
from tallship.lab.controllers.nodes import node_documents as documents
from tallship.lab.controllers.nodes import scheduling
from tallship.lab.controllers.nodes.durations import CSR_RETRY, LEASE_RENEWAL
from tallship.lab.controllers.nodes.identity import serving_request
from tallship.lab.controllers.nodes.mirror import (
    PASSING,
    Mirror,
    condition,
    seconds_left,
    with_condition,
)
from tallship.lab.kubeclient import KubeClient, Object

_PRESSURES = {
    "MemoryPressure": ("KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    "DiskPressure": ("KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    "PIDPressure": ("KubeletHasSufficientPID", "kubelet has sufficient PID available"),
}

_CNI_AGENT = "cilium-agent"
_SERVING = "kubernetes.io/kubelet-serving"


class KubeletHost(Protocol):
    """What a kubelet knows of the machine it runs on."""

    @property
    def hostname(self) -> str:
        """The name the node registers with."""

    @property
    def config(self) -> documents.Config:
        """The v1alpha1 document of the machine's configuration."""

    @property
    def talos_version(self) -> str:
        """The version that runs, such as `v1.12.2`."""

    @property
    def boots(self) -> int:
        """How often the machine has booted."""

    @property
    def addresses(self) -> list[str]:
        """Every address of the machine, the public one first."""

    @property
    def images(self) -> list[str]:
        """The images that it has before a Pod needs them."""


class Kubelet:
    """Keeps one Node true to its machine while the machine is up."""

    def __init__(self, host: KubeletHost, client: KubeClient, mirror: Mirror) -> None:
        self.name = host.hostname
        self._host = host
        self._client = client
        self._mirror = mirror
        self._clock: LabClock = mirror.clock
        self._has_registered = False

    @property
    def node_ips(self) -> list[str]:
        """The addresses the node is known by inside the cluster."""
        return documents.node_addresses(self._host.config, self._host.addresses)

    @property
    def has_booted_again(self) -> bool:
        """True when the machine has booted since its Node was last written."""
        node = self._mirror.get("Node", self.name)
        return node is not None and node.get("status", {}).get("nodeInfo") != self._status()["nodeInfo"]

    async def run(self) -> None:
        """Be the kubelet until cancelled."""
        async with asyncio.TaskGroup() as work:
            work.create_task(self._mirror.keep(self._look))
            work.create_task(self._renew_lease())

    async def _look(self) -> float | None:
        node = self._mirror.get("Node", self.name)
        if node is None and self._has_registered:
            return None  # kubelet registers once: a Node that is deleted stays away until the next boot
        if node is None:
            node = await self._register()
        self._has_registered = True
        await self._report(node)
        return await self._ask_for_certificate()

    async def _register(self) -> Object:
        node = self._node()
        made = await self._client.create({key: node[key] for key in ("apiVersion", "kind", "metadata", "spec")})
        images = [{"names": [each], "sizeBytes": 0} for each in self._host.images]
        made["status"] = {**node["status"], "images": images, "conditions": self._conditions([])}
        return self._mirror.put(await self._client.update(made, "status"))

    def _node(self) -> Object:
        host = self._host
        return documents.node(self.name, host.config, self.node_ips, host.talos_version, host.boots)

    def _status(self) -> Object:
        status: Object = self._node()["status"]
        return status

    async def _report(self, node: Object) -> None:
        """Write what changed on the machine: readiness, versions. Addresses belong to the CCM once it is there."""
        status = node.get("status", {})
        conditions = self._conditions(status.get("conditions", []))
        wanted = self._status()
        told = _without_heartbeats(status.get("conditions", [])) == _without_heartbeats(conditions)
        if told and status.get("nodeInfo") == wanted["nodeInfo"]:
            return
        news = {**wanted, **status, "conditions": conditions, "nodeInfo": wanted["nodeInfo"]}
        self._mirror.put(await self._client.update({**node, "status": news}, "status"))

    def _conditions(self, old: list[Object]) -> list[Object]:
        conditions = old
        for kind, (reason, message) in _PRESSURES.items():
            conditions = with_condition(self._clock, conditions, kind, "False", reason, message)
        if network_ready(self._mirror, self.name):
            ready = ("True", "KubeletReady", "kubelet is posting ready status")
        else:
            ready = ("False", "KubeletNotReady", documents.NO_CNI)
        conditions = with_condition(self._clock, conditions, "Ready", *ready)
        return [{"lastHeartbeatTime": timestamp(self._clock), **each} for each in conditions]

    async def _ask_for_certificate(self) -> float | None:
        if not documents.rotates_server_certificates(self._host.config):
            return None
        mine = [each for each in self._mirror.list("CertificateSigningRequest") if self._is_mine(each)]
        if any(not condition(each, "Denied") for each in mine):
            return None
        left = max(
            (seconds_left(self._clock, condition(each, "Denied")["lastTransitionTime"], CSR_RETRY) for each in mine),
            default=0.0,
        )
        if left > 0:
            return left
        self._mirror.put(await self._client.create(self._signing_request()))
        return None

    def _is_mine(self, request: Object) -> bool:
        spec = request["spec"]
        return bool(spec["signerName"] == _SERVING and spec.get("username") == f"system:node:{self.name}")

    def _signing_request(self) -> Object:
        request = serving_request(self.name, self.node_ips)
        return {
            "apiVersion": "certificates.k8s.io/v1",
            "kind": "CertificateSigningRequest",
            "metadata": {"name": f"csr-{secrets.token_hex(3)[:5]}"},
            "spec": {
                "request": base64.b64encode(request.encode()).decode(),
                "signerName": _SERVING,
                "usages": ["digital signature", "server auth"],
                "username": f"system:node:{self.name}",
                "groups": ["system:nodes", "system:authenticated"],
            },
        }

    async def _renew_lease(self) -> None:
        while True:
            with contextlib.suppress(*PASSING):  # while the API server is away, the next renewal tells
                await self._put_lease()
            await self._clock.sleep(LEASE_RENEWAL)

    async def _put_lease(self) -> None:
        renewed = timestamp(self._clock).replace("Z", ".000000Z")
        lease: Object = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": self.name, "namespace": "kube-node-lease"},
            "spec": {"holderIdentity": self.name, "leaseDurationSeconds": 40, "renewTime": renewed},
        }
        await self._client.apply(lease, manager="kubelet")


def network_ready(mirror: Mirror, node: str) -> bool:
    """True when a CNI agent is ready on the node: it has written the configuration that containerd waits for."""
    return any(
        pod["spec"].get("nodeName") == node and scheduling.runs(pod, _CNI_AGENT)
        for pod in mirror.list("Pod", "kube-system")
    )


def _without_heartbeats(conditions: list[Object]) -> list[Object]:
    return [{key: each[key] for key in each if key != "lastHeartbeatTime"} for each in conditions]
