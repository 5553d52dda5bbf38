"""What follows a deletion: dependents whose owners are gone, and what was in a namespace."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from tallship.lab.clock import LabClock
from tallship.lab.kube.errors import RefusedRequest
from tallship.lab.kube.objects import Objects
from tallship.lab.kube.resources import Resource
from tallship.lab.kube.writes import Options, Writes

Document = dict[str, Any]

DELAY_SECONDS = 0.5
"""From an owner's end until the controller manager deletes a dependent."""
OPTIONS = Options("kube-controller-manager")


class GarbageCollector:
    """The garbage collector and the namespace controller of one cluster."""

    def __init__(
        self, objects: Objects, writes: Writes, clock: LabClock, resources: Callable[[], Iterable[Resource]]
    ) -> None:
        self._objects = objects
        self._writes = writes
        self._clock = clock
        self._resources = resources
        self._tasks: set[asyncio.Task[None]] = set()
        self._due = False

    def wake(self, delay: float = DELAY_SECONDS) -> None:
        """Look for garbage a little later."""
        if not self._due:
            self._due = True
            task = asyncio.get_running_loop().create_task(self._later(delay))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def stop(self) -> None:
        """Forget what was planned."""
        for task in list(self._tasks):
            task.cancel()

    async def _later(self, delay: float) -> None:
        await self._clock.sleep(delay)
        self._due = False
        if self._collect():
            self.wake()

    def _collect(self) -> bool:
        """Delete what has lost all its owners or its namespace; True when something waits for another look."""
        namespaces = next(each for each in self._resources() if each.kind == "Namespace")
        ending = {
            each["metadata"]["name"]
            for each in self._objects.list(namespaces)
            if "deletionTimestamp" in each["metadata"]
        }
        everything = [(resource, each) for resource in self._resources() for each in self._objects.list(resource)]
        alive = {each["metadata"]["uid"] for _, each in everything}
        left: set[str] = set()
        deleted = False
        for resource, each in everything:
            metadata = each["metadata"]
            owners = [owner["uid"] for owner in metadata.get("ownerReferences", [])]
            orphaned = bool(owners) and not any(uid in alive for uid in owners)
            in_ending = metadata.get("namespace") in ending
            if in_ending:
                left.add(metadata["namespace"])
            if (orphaned or in_ending) and "deletionTimestamp" not in metadata:
                self._delete(resource, each)
                deleted = True
        for name in ending - left:
            self._objects.drop(namespaces, self._objects.find(namespaces, "", name) or {})
        return deleted

    def _delete(self, resource: Resource, each: Document) -> None:
        metadata = each["metadata"]
        try:
            self._writes.delete(resource, metadata.get("namespace", ""), metadata["name"], OPTIONS)
        except RefusedRequest as refusal:
            if refusal.reason != "NotFound":
                raise
