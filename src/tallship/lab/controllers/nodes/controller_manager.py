"""kube-controller-manager's share: silent nodes, their taints and Pods, Pod networks, serving certificates."""

from __future__ import annotations

import base64
from collections.abc import Callable

from tallship.lab.clock import created
from tallship.lab.controllers.nodes import node_documents as documents
from tallship.lab.controllers.nodes.durations import EVICTION, NODE_MONITOR_GRACE
from tallship.lab.controllers.nodes.identity import ClusterAuthority
from tallship.lab.controllers.nodes.mirror import Mirror, condition, seconds_left, with_condition
from tallship.lab.controllers.patch import copy_json
from tallship.lab.kubeclient import Object

_BY_READINESS = {
    "True": [],
    "False": [(documents.NOT_READY, "NoSchedule"), (documents.NOT_READY, "NoExecute")],
    "Unknown": [(documents.UNREACHABLE, "NoSchedule"), (documents.UNREACHABLE, "NoExecute")],
}

_STOPPED = "Kubelet stopped posting node status."


class ControllerManager:
    """Runs once for each workload cluster, as long as an API server of it answers."""

    def __init__(
        self,
        mirror: Mirror,
        authority: ClusterAuthority,
        config: documents.Config,
        alive: Callable[[str], bool],
    ) -> None:
        self._mirror = mirror
        self._client = mirror.client
        self._clock = mirror.clock
        self._authority = authority
        self._config = config
        self._alive = alive

    async def run(self) -> None:
        """Keep at it until cancelled."""
        await self._mirror.keep(self._look)

    async def _look(self) -> float | None:
        dues = [await self._look_at_node(node) for node in self._mirror.list("Node")]
        for request in self._mirror.list("CertificateSigningRequest"):
            await self._sign(request)
        await self._collect_pods()
        return min((due for due in dues if due is not None), default=None)

    async def _look_at_node(self, node: Object) -> float | None:
        node = await self._give_pod_network(node)
        due = None
        if not self._alive(node["metadata"]["name"]):
            due = await self._watch_silence(node)
        node = self._mirror.get("Node", node["metadata"]["name"]) or node
        await self._taint(node)
        return due

    async def _give_pod_network(self, node: Object) -> Object:
        if node["spec"].get("podCIDR"):
            return node
        taken = {each["spec"].get("podCIDR", "") for each in self._mirror.list("Node")}
        free = documents.pod_cidr(self._config, taken)
        if not free:
            return node
        node = copy_json(node)
        node["spec"] |= {"podCIDR": free, "podCIDRs": [free]}
        return self._mirror.put(await self._client.update(node))

    async def _watch_silence(self, node: Object) -> float | None:
        """Make a silent node Unknown when its lease has run out, and evict its Pods later."""
        name = node["metadata"]["name"]
        ready = condition(node, "Ready")
        if ready.get("status") == "Unknown":
            left = seconds_left(self._clock, ready["lastTransitionTime"], EVICTION)
            if left == 0:
                await self._evict(name)
            return left or None
        lease = await self._client.get("Lease", name, "kube-node-lease")
        renewed = lease["spec"]["renewTime"] if lease else created(self._clock, node).isoformat()
        left = seconds_left(self._clock, renewed, NODE_MONITOR_GRACE)
        if left == 0:
            await self._make_unknown(node)
        return left or EVICTION

    async def _make_unknown(self, node: Object) -> None:
        node = copy_json(node)
        conditions = node["status"].get("conditions", [])
        for kind in ("MemoryPressure", "DiskPressure", "PIDPressure", "Ready"):
            conditions = with_condition(self._clock, conditions, kind, "Unknown", "NodeStatusUnknown", _STOPPED)
        node["status"]["conditions"] = conditions
        self._mirror.put(await self._client.update(node, "status"))
        for pod in self._pods_on(node["metadata"]["name"]):
            await self._make_unready(pod)

    async def _make_unready(self, pod: Object) -> None:
        pod = copy_json(pod)
        conditions = pod.get("status", {}).get("conditions", [])
        pod["status"]["conditions"] = with_condition(self._clock, conditions, "Ready", "False", "NodeNotReady")
        self._mirror.put(await self._client.update(pod, "status"))

    async def _evict(self, node: str) -> None:
        for pod in self._pods_on(node):
            if any(owner["kind"] == "DaemonSet" for owner in pod["metadata"].get("ownerReferences", [])):
                continue
            await self._delete(pod)

    async def _taint(self, node: Object) -> None:
        ready = condition(node, "Ready").get("status")
        if ready is None:
            return
        old = node["spec"].get("taints", [])
        ours = (documents.NOT_READY, documents.UNREACHABLE)
        wanted = _BY_READINESS[ready]
        kept = [each for each in old if each["key"] not in ours or (each["key"], each["effect"]) in wanted]
        have = {(each["key"], each["effect"]) for each in kept}
        new = kept + [{"key": key, "effect": effect} for key, effect in wanted if (key, effect) not in have]
        if new != old:
            node = copy_json(node)
            node["spec"]["taints"] = new
            self._mirror.put(await self._client.update(node))

    async def _sign(self, request: Object) -> None:
        status = request.get("status", {})
        approved = condition(request, "Approved") and not condition(request, "Denied")
        if (
            not approved
            or status.get("certificate")
            or request["spec"]["signerName"] != "kubernetes.io/kubelet-serving"
        ):
            return
        wanted = base64.b64decode(request["spec"]["request"]).decode()
        request = copy_json(request)
        certificate = self._authority.sign_serving_request(wanted)
        request["status"]["certificate"] = base64.b64encode(certificate.encode()).decode()
        self._mirror.put(await self._client.update(request, "status"))

    async def _collect_pods(self) -> None:
        """Delete Pods whose node is gone."""
        nodes = {each["metadata"]["name"] for each in self._mirror.list("Node")}
        for pod in self._mirror.list("Pod"):
            if pod["spec"].get("nodeName") and pod["spec"]["nodeName"] not in nodes:
                await self._delete(pod)

    async def _delete(self, pod: Object) -> None:
        await self._client.delete("Pod", pod["metadata"]["name"], pod["metadata"]["namespace"])
        self._mirror.drop(pod)

    def _pods_on(self, node: str) -> list[Object]:
        return [pod for pod in self._mirror.list("Pod") if pod["spec"].get("nodeName") == node]
