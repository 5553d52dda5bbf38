"""A cluster that has come up, with nodes that register and turn ready as soon as their servers run etcd."""

from __future__ import annotations

import asyncio
from typing import Any

from controller_world import ControllerWorld, Object, manifests

from tallship.lab.controllers.reconciler import UNREACHABLE
from tallship.lab.kubeclient import KubeRefused

ROLE = "node-role.kubernetes.io/control-plane"


class ClusterLife:
    """The workload cluster of a world, and what is done to it."""

    def __init__(self, world: ControllerWorld, replicas: int, **plane: Any) -> None:
        self.world = world
        world.run(world.deploy())
        documents = manifests(world.token, replicas)
        documents[-1]["spec"] |= plane
        world.run(world.apply(*documents))
        world.wait_until(lambda: [each for each in world.machines.list() if each.serves_kubernetes], step=5)
        world.wait(16)  # until the load balancer has looked
        self.client = world.workload()
        world.call(lambda: world.watchers.append(asyncio.create_task(self._register())))

    async def _register(self) -> None:
        """Make a ready Node of every machine that runs etcd, and of every worker that would register."""
        while True:
            for machine in self.world.machines.list():
                if machine.runs_etcd:
                    await self._node(machine.hostname, machine.server_id, {ROLE: ""})
                elif not machine.is_control_plane and machine.kubelet_may_register:
                    await self._node(machine.hostname, machine.server_id, {})
            await self.world.clock.sleep(5)

    async def _node(self, name: str, server_id: int, labels: dict[str, str]) -> None:
        try:
            if await self.client.get("Node", name) is None:
                spec = {"providerID": f"hcloud://{server_id}"}
                meta = {"name": name, "labels": labels}
                node = await self.client.create({"apiVersion": "v1", "kind": "Node", "metadata": meta, "spec": spec})
                await self.set_ready(node["metadata"]["name"], "True")
        except (KubeRefused, *UNREACHABLE):
            return

    async def set_ready(self, name: str, status: str) -> None:
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}
        since = self.world.client_now()
        condition = {"type": "Ready", "status": status, "message": "", "lastTransitionTime": since}
        await self.client.patch(node, {"status": {"conditions": [condition]}}, subresource="status")

    def wait_ready(self, replicas: int, limit: float = 600) -> None:
        """Let time pass until so many Machines run, and no other exists."""

        def ready() -> bool:
            phases = [each.get("status", {}).get("phase") for each in self.world.management.objects("Machine")]
            status = self.plane()["status"]
            return phases == ["Running"] * replicas and status.get("readyReplicas") == replicas

        self.world.wait_until(ready, limit, step=2)

    def plane(self) -> Object:
        """Return the control plane as stored; call it in the lab's thread."""
        return self.world.management.objects("TalosControlPlane")[0]

    def change(self, **spec: Any) -> None:
        """Change the control plane's specification."""
        item = {
            "apiVersion": "controlplane.cluster.x-k8s.io/v1alpha3",
            "kind": "TalosControlPlane",
            "metadata": {"name": "k8s-control-plane", "namespace": "default"},
        }
        self.world.run(self.world.client.patch(item, {"spec": spec}))

    def members(self) -> list[str]:
        """Return the names of etcd's members."""
        machines = self.world.call(self.world.machines.list)
        ids = {each.cluster_id for each in machines}
        return sorted(
            member.hostname
            for key in ids
            for member in self.world.call(lambda key=key: self.world.machines.etcd.members(key))
        )

    def close(self) -> None:
        self.world.run(self.client.close())


def condition(item: Object, kind: str) -> Object:
    """Return a condition of an object; empty when it has none of that type."""
    listed = item.get("status", {}).get("conditions", [])
    return next((each for each in listed if each["type"] == kind), {})
