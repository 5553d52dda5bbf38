"""What follows a deletion: dependents whose owners are gone, and what was in a namespace or of a definition's kind.

Source: Kubernetes v1.32, garbage collector and namespace controller of kube-controller-manager.
"""

from __future__ import annotations

import asyncio
from contextvars import Context
from typing import Any

from tallship.lab.clock import LabClock
from tallship.lab.kube.catalog import Catalog
from tallship.lab.kube.definitions import CLEANUP
from tallship.lab.kube.deletion import FOREGROUND, ORPHAN
from tallship.lab.kube.objects import Change, Objects
from tallship.lab.kube.options import Options
from tallship.lab.kube.resources import Resource
from tallship.lab.kube.writes import Writes

Document = dict[str, Any]
Everything = list[tuple[Resource, Document]]

DELAY_SECONDS = 0.5
"""From an owner's end until the controller manager acts on a dependent."""


class GarbageCollector:
    """The garbage collector and the namespace controller of one cluster."""

    def __init__(self, objects: Objects, writes: Writes, clock: LabClock, catalog: Catalog) -> None:
        self._objects = objects
        self._writes = writes
        self._clock = clock
        self._catalog = catalog
        self._task: asyncio.Task[None] | None = None
        self._runs = False

    def start(self) -> None:
        """Begin; first comes what an earlier process left to be done."""
        if not self._runs:
            self._runs = True
            self._wake()

    def stop(self) -> None:
        """Forget what was planned; `start` looks at everything again."""
        self._runs = False
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def notice(self, change: Change) -> None:
        """Look for garbage a little later, if this change can have made some."""
        metadata = change.new["metadata"]
        before = change.old["metadata"].get("ownerReferences") if change.old else None
        new_owners = metadata.get("ownerReferences") != before
        if change.kind == "DELETED" or "deletionTimestamp" in metadata or new_owners:
            self._wake()

    def _wake(self) -> None:
        if self._runs and self._task is None:
            # In a context of its own, so that it does not count as the request that made the garbage being held.
            self._task = asyncio.get_running_loop().create_task(self._later(), context=Context())

    async def _later(self) -> None:
        await self._clock.sleep(DELAY_SECONDS)
        self._task = None
        self._collect()

    def _collect(self) -> None:
        everything = [(resource, each) for resource in self._catalog for each in self._objects.list(resource)]
        owners = Owners(everything)
        for resource, each in everything:
            current = self._objects.find(resource, each["metadata"].get("namespace", ""), each["metadata"]["name"])
            if current is each:  # nothing before it in this round has changed it
                self._look_at(resource, each, owners)
        self._end_namespaces(everything)

    def _look_at(self, resource: Resource, each: Document, owners: Owners) -> None:
        metadata = each["metadata"]
        finalizers = metadata.get("finalizers", [])
        if "deletionTimestamp" in metadata:
            if ORPHAN in finalizers:
                self._orphan(resource, each, owners)
            elif FOREGROUND in finalizers:
                self._delete_dependents(resource, each, owners)
            elif CLEANUP in finalizers:
                self._delete_instances(resource, each)
            return
        solid, waiting, gone = owners.standing(metadata)
        if solid and (waiting or gone):
            self._writes.put(resource, _without_owners(each, waiting | gone), each)
        elif waiting or gone:
            blocked = bool(waiting) and bool(owners.dependents(metadata["uid"]))
            self._delete(resource, each, "Foreground" if blocked else "Background")

    def _orphan(self, resource: Resource, owner: Document, owners: Owners) -> None:
        uid = owner["metadata"]["uid"]
        for kind, dependent in owners.dependents(uid):
            self._writes.put(kind, _without_owners(dependent, {uid}), dependent)
        self._writes.finalize(resource, owner, ORPHAN)

    def _delete_dependents(self, resource: Resource, owner: Document, owners: Owners) -> None:
        """Dependents go by their own standing; the owner goes when none that blocks it is left."""
        uid = owner["metadata"]["uid"]
        references = [ref for _, each in owners.dependents(uid) for ref in each["metadata"]["ownerReferences"]]
        if not any(ref["uid"] == uid and ref.get("blockOwnerDeletion") for ref in references):
            self._writes.finalize(resource, owner, FOREGROUND)

    def _delete_instances(self, resource: Resource, definition: Document) -> None:
        instances = self._catalog.find(definition["metadata"]["name"])
        left = list(self._objects.list(instances)) if instances else []
        for each in left:
            if instances and "deletionTimestamp" not in each["metadata"]:
                self._delete(instances, each)
        if not left:
            self._writes.finalize(resource, definition, CLEANUP)

    def _end_namespaces(self, everything: Everything) -> None:
        namespaces = self._catalog["namespaces"]
        ending = {each["metadata"]["name"] for each in self._objects.list(namespaces) if _is_ending(each)}
        left = [(resource, each) for resource, each in everything if each["metadata"].get("namespace") in ending]
        for resource, each in left:
            current = self._objects.find(resource, each["metadata"]["namespace"], each["metadata"]["name"])
            if current is each and not _is_ending(each):
                self._delete(resource, each)
        for name in ending - {each["metadata"]["namespace"] for _, each in left}:
            namespace = self._objects.get(namespaces, "", name)
            self._objects.drop(namespaces, namespace, namespace)

    def _delete(self, resource: Resource, each: Document, propagation: str = "Background") -> None:
        metadata = each["metadata"]
        options = Options(propagation=propagation)
        self._writes.delete(resource, metadata.get("namespace", ""), metadata["name"], options)


class Owners:
    """Who owns what, at one moment."""

    def __init__(self, everything: Everything) -> None:
        self._there = {each["metadata"]["uid"]: each["metadata"] for _, each in everything}
        self._dependents: dict[str, Everything] = {}
        for resource, each in everything:
            for reference in each["metadata"].get("ownerReferences", ()):
                self._dependents.setdefault(reference["uid"], []).append((resource, each))

    def dependents(self, uid: str) -> Everything:
        """Return what an object owns."""
        return self._dependents.get(uid, [])

    def standing(self, metadata: Document) -> tuple[set[str], set[str], set[str]]:
        """Return the uids of an object's owners: that stand, that wait for their dependents' end, that are gone.

        An owner in another namespace is no owner.
        """
        solid, waiting, gone = set(), set(), set()
        for reference in metadata.get("ownerReferences", ()):
            owner = self._there.get(reference["uid"])
            if owner is None or owner.get("namespace", metadata.get("namespace")) != metadata.get("namespace"):
                gone.add(reference["uid"])
            elif "deletionTimestamp" in owner and FOREGROUND in owner.get("finalizers", ()):
                waiting.add(reference["uid"])
            else:
                solid.add(reference["uid"])
        return solid, waiting, gone


def _is_ending(each: Document) -> bool:
    return "deletionTimestamp" in each["metadata"]


def _without_owners(each: Document, uids: set[str]) -> Document:
    kept = [ref for ref in each["metadata"]["ownerReferences"] if ref["uid"] not in uids]
    metadata = {key: value for key, value in each["metadata"].items() if key != "ownerReferences"}
    return {**each, "metadata": {**metadata, **({"ownerReferences": kept} if kept else {})}}
