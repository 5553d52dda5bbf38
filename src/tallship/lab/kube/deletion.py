"""Deleting objects: at once, or when what holds them lets go."""

from __future__ import annotations

from typing import Any

from tallship.lab.clock import LabClock, timestamp
from tallship.lab.kube import errors
from tallship.lab.kube.objects import Objects
from tallship.lab.kube.options import Options
from tallship.lab.kube.resources import Resource

Document = dict[str, Any]

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"
_FINALIZERS = {"Foreground": FOREGROUND, "Orphan": ORPHAN}
_LASTING = ("default", "kube-system", "kube-public")


class Deletion:
    """Deletes objects. What has a finalizer, or is a namespace, first waits with a deletion timestamp."""

    def __init__(self, objects: Objects, clock: LabClock) -> None:
        self._objects = objects
        self._clock = clock

    def delete(self, resource: Resource, namespace: str, name: str, options: Options) -> Document:
        """Return a Status when the object is gone, or the object that waits. Raises RefusedRequest."""
        old = self._objects.get(resource, namespace, name)
        self._check(resource, old["metadata"], options)
        new = self._waiting(resource, old, options)
        if options.dry_run:
            return new
        if not new["metadata"].get("finalizers") and resource.kind != "Namespace":
            self._objects.drop(resource, old, old)
            return errors.success(resource.group, resource.plural, old["metadata"])
        return old if new == old else self._objects.put(resource, new, old)

    def _check(self, resource: Resource, metadata: Document, options: Options) -> None:
        plural, group, name = resource.plural, resource.group, metadata["name"]
        if options.uid and options.uid != metadata["uid"]:
            raise errors.other_uid(plural, group, name, options.uid, metadata["uid"])
        if options.resource_version and options.resource_version != metadata["resourceVersion"]:
            raise errors.too_old(plural, group, name)
        if resource.kind == "Namespace" and name in _LASTING:
            raise errors.forbidden(plural, group, name, "this namespace may not be deleted")

    def _waiting(self, resource: Resource, old: Document, options: Options) -> Document:
        metadata = {**old["metadata"]}
        finalizer = _FINALIZERS.get(options.propagation)
        if finalizer and finalizer not in metadata.get("finalizers", []):
            metadata["finalizers"] = [*metadata.get("finalizers", []), finalizer]
        if "deletionTimestamp" not in metadata:
            metadata.update(deletionTimestamp=timestamp(self._clock), deletionGracePeriodSeconds=0)
            if "generation" in metadata:
                metadata["generation"] += 1
        new = {**old, "metadata": metadata}
        if resource.kind == "Namespace":
            new["status"] = {**old.get("status", {}), "phase": "Terminating"}
        return new
