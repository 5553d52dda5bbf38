"""A pool of workers in a world whose cluster has come up, and what is done to it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import worked_pool
from cluster_life import ClusterLife
from controller_world import ControllerWorld, Object

CLUSTER_KINDS = ("MachineDeployment", "MachineSet", "Machine", "HCloudMachine", "TalosConfig")


class WorkerPool:
    """The MachineDeployment of `worked_pool` and its Machines."""

    def __init__(self, life: ClusterLife) -> None:
        self.life = life
        self.world: ControllerWorld = life.world
        self.most = 0
        """The most Machines that there were at once since `watch`."""
        self.fewest_ready = 99

    def apply(self, replicas: int = 2, **changes: Any) -> None:
        """Apply the pool's documents."""
        self.world.run(self.world.apply(*worked_pool.documents(replicas, **changes)))

    def scale(self, replicas: int) -> None:
        """Change the number of replicas alone."""
        self.patch({"spec": {"replicas": replicas}})

    def patch(self, body: Object, kind: str = "MachineDeployment", name: str = worked_pool.POOL) -> None:
        """Patch an object of Cluster API's own group."""
        meta = {"name": name, "namespace": "default"}
        item = {"apiVersion": "cluster.x-k8s.io/v1beta1", "kind": kind, "metadata": meta}
        self.world.run(self.world.client.patch(item, body))

    def deployment(self) -> Object:
        return self.world.get("MachineDeployment", worked_pool.POOL)

    def status(self) -> Object:
        """Return the deployment's status; call it in the lab's thread."""
        found = self.world.management.objects("MachineDeployment")
        status: Object = found[0].get("status", {}) if found else {}
        return status

    def machines(self) -> list[Object]:
        """Return the pool's Machines; call it in the lab's thread."""
        label = "cluster.x-k8s.io/deployment-name"
        return [each for each in self.world.management.objects("Machine") if label in each["metadata"]["labels"]]

    def names(self) -> set[str]:
        return {each["metadata"]["name"] for each in self.world.call(self.machines)}

    def wait_ready(self, replicas: int, limit: float = 600) -> None:
        """Let time pass until so many replicas are up to date and available, and no other Machine is there."""

        def ready() -> bool:
            (deployment,) = self.world.management.objects("MachineDeployment")
            status = deployment.get("status", {})
            if status.get("observedGeneration") != deployment["metadata"]["generation"]:
                return False
            counts = [status.get(f"{each}Replicas") for each in ("ready", "available", "updated")]
            return counts == [replicas] * 3 and len(self.machines()) == replicas == status["replicas"]

        self.world.wait_until(ready, limit, step=2)

    def watch(self) -> None:
        """Note from now on how many Machines there are, and how many replicas are ready."""
        self.most, self.fewest_ready = 0, 99

        async def look() -> None:
            while True:
                self.most = max(self.most, len(self.machines()))
                self.fewest_ready = min(self.fewest_ready, self.status().get("readyReplicas", 99))
                await self.world.clock.sleep(1)

        self.world.call(lambda: self.world.watchers.append(asyncio.create_task(look())))

    def wait_gone(self, what: Callable[[], list[Object]], limit: float = 300) -> None:
        self.world.wait_until(lambda: not what(), limit, step=2)
