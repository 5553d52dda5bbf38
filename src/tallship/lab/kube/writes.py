"""Every way of changing an object."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Callable
from typing import Any

from tallship.lab.clock import LabClock, timestamp
from tallship.lab.kube import errors, strategies
from tallship.lab.kube.admission import PLUG_INS, admit
from tallship.lab.kube.apply import Manager, apply, updated
from tallship.lab.kube.deletion import Deletion
from tallship.lab.kube.documents import copied
from tallship.lab.kube.errors import RefusedRequest, invalid
from tallship.lab.kube.metadata import GENERATED_NAME_LIMIT, GIVEN_BY_SERVER
from tallship.lab.kube.objects import Objects
from tallship.lab.kube.options import Options
from tallship.lab.kube.resources import Resource

Document = dict[str, Any]

NAME_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
"""Kubernetes: the letters of generated names."""


class Writes:
    """Creates, updates, patches, applies and deletes. An object that a write leaves as it was is not written."""

    def __init__(self, objects: Objects, clock: LabClock, namespaces: Resource) -> None:
        self._objects = objects
        self._clock = clock
        self._namespaces = namespaces
        self._deletion = Deletion(objects, clock)

    def create(self, resource: Resource, namespace: str, document: Document, options: Options) -> Document:
        """Return the created object. Raises RefusedRequest (AlreadyExists, Invalid, NotFound)."""
        new = strategies.read(resource, namespace, "", document, options)
        strategies.begin(resource, new)
        metadata = new["metadata"]
        if not metadata.get("name"):
            metadata["name"] = self._generated_name(resource, metadata.get("generateName", ""))
        if resource.namespaced:
            self._check_namespace(namespace)
        if self._objects.find(resource, namespace, metadata["name"]) is not None:
            raise errors.already_exists(resource.plural, resource.group, metadata["name"])
        strategies.fill_in(resource, new)
        updated({}, new, Manager(options.manager, "Update"), resource.schema, timestamp(self._clock))
        return self._stored(resource, new, None, options)

    def update(self, resource: Resource, namespace: str, name: str, document: Document, options: Options) -> Document:
        """Return the replaced object. Raises RefusedRequest (NotFound, Conflict, Invalid)."""
        old = self._objects.get(resource, namespace, name)
        new = strategies.read(resource, namespace, name, document, options)
        if resource.is_custom and "resourceVersion" not in new["metadata"]:
            text = "Invalid value: 0x0: must be specified for an update"
            cause = {"reason": "FieldValueInvalid", "field": "metadata.resourceVersion", "message": text}
            raise invalid(resource.plural, resource.group, name, [cause])
        return self._replaced(resource, old, new, options)

    def patch(
        self, resource: Resource, namespace: str, name: str, change: Callable[[Document], Document], options: Options
    ) -> Document:
        """Return the object after a change of a copy of what is stored."""
        old = self._objects.get(resource, namespace, name)
        new = strategies.read(resource, namespace, name, change(copied(old)), options)
        return self._replaced(resource, old, new, options)

    def apply(self, resource: Resource, namespace: str, name: str, applied: Document, options: Options) -> Document:
        """Return the object after a server-side apply, creating it where it is absent."""
        old = self._objects.find(resource, namespace, name)
        wanted = strategies.read_applied(resource, namespace, name, applied, options)
        metadata = wanted["metadata"]
        if "managedFields" in metadata:
            raise RefusedRequest("BadRequest", "metadata.managedFields must be nil")
        if old is None:
            if options.subresource:
                raise errors.not_found(resource.plural, resource.group, name)
            if resource.namespaced:
                self._check_namespace(namespace)
        else:
            _check_preconditions(resource, old, metadata)
        for key in GIVEN_BY_SERVER:
            metadata.pop(key, None)
        if options.subresource:
            address = {key: metadata[key] for key in ("name", "namespace") if key in metadata}
            wanted = {key: wanted[key] for key in ("apiVersion", "kind", "status") if key in wanted}
            wanted["metadata"] = address
        elif resource.has_status and resource.kind not in strategies.KEEPS_NEW_STATUS:
            wanted.pop("status", None)
        manager = Manager(options.manager, "Apply", options.subresource)
        result = apply(old, wanted, manager, options.force, resource.schema, timestamp(self._clock))
        strategies.drop_nulls(resource, result)
        for key in ("labels", "annotations"):
            if not result["metadata"].get(key, True):
                del result["metadata"][key]
        strategies.fill_in(resource, result)
        return self._stored(resource, result, old, options)

    def delete(self, resource: Resource, namespace: str, name: str, options: Options) -> Document:
        """Return a Status when the object is gone, or the object that waits. Raises RefusedRequest."""
        return self._deletion.delete(resource, namespace, name, options)

    def finalize(self, resource: Resource, old: Document, finalizer: str) -> None:
        """Take away a finalizer; the object goes when it was the last one that held it."""
        kept = [each for each in old["metadata"].get("finalizers", []) if each != finalizer]
        self.put(resource, {**old, "metadata": {**old["metadata"], "finalizers": kept}}, old)

    def put(self, resource: Resource, new: Document, old: Document | None) -> Document:
        """Store an object as it is, or drop it when it was to be deleted and nothing holds it any more."""
        held = new["metadata"].get("finalizers") or resource.kind == "Namespace"
        if old is not None and "deletionTimestamp" in new["metadata"] and not held:
            return self._objects.drop(resource, old, new)
        return self._objects.put(resource, new, old)

    def _replaced(self, resource: Resource, old: Document, new: Document, options: Options) -> Document:
        _check_preconditions(resource, old, new["metadata"])
        strategies.fill_in(resource, new)
        new = strategies.kept(resource, new, old, options.subresource)
        manager = Manager(options.manager, "Update", options.subresource)
        updated(old, new, manager, resource.schema, timestamp(self._clock))
        return self._stored(resource, new, old, options)

    def _stored(self, resource: Resource, new: Document, old: Document | None, options: Options) -> Document:
        """Complete, check and store an object; what changes nothing is not written."""
        now = timestamp(self._clock)
        strategies.complete(resource, new, now)
        if not options.subresource and resource.kind in PLUG_INS:
            strategies.check_types(resource, new)
            try:
                admit(new, old, options.dry_run)
            except RefusedRequest:
                strategies.check(resource, new, old)  # comes before the webhooks that refuse
                raise
        strategies.check(resource, new, old)
        metadata = new["metadata"]
        if old is None:
            metadata.update(uid=str(uuid.uuid4()), creationTimestamp=now)
            if resource.has_generation:
                metadata["generation"] = 1
        elif _content(new) == _content(old):
            return old
        elif "generation" in metadata and _desired(new) != _desired(old):
            metadata["generation"] += 1
        return new if options.dry_run else self.put(resource, new, old)

    def _generated_name(self, resource: Resource, start: str) -> str:
        if not start:
            text = "Required value: name or generateName is required"
            cause = {"reason": "FieldValueRequired", "field": "metadata.name", "message": text}
            raise invalid(resource.kind, resource.group, "", [cause])
        return start[:GENERATED_NAME_LIMIT] + "".join(secrets.choice(NAME_LETTERS) for _ in range(5))

    def _check_namespace(self, namespace: str) -> None:
        if "deletionTimestamp" in self._objects.get(self._namespaces, "", namespace)["metadata"]:
            text = f"unable to create new content in namespace {namespace} because it is being terminated"
            cause = {
                "reason": "NamespaceTerminating",
                "message": f"namespace {namespace} is being terminated",
                "field": "metadata.namespace",
            }
            raise RefusedRequest("Forbidden", text, [cause])


def _check_preconditions(resource: Resource, old: Document, asked: Document) -> None:
    found, name = old["metadata"], old["metadata"]["name"]
    if asked.get("uid", found["uid"]) != found["uid"]:
        raise errors.other_uid(resource.plural, resource.group, name, asked["uid"], found["uid"])
    if asked.get("resourceVersion", found["resourceVersion"]) != found["resourceVersion"]:
        raise errors.too_old(resource.plural, resource.group, name)


def _content(document: Document) -> Document:
    """Return what counts when two versions are compared: all but the version, and when owners wrote."""
    metadata = {key: value for key, value in document["metadata"].items() if key != "resourceVersion"}
    metadata["managedFields"] = [
        {key: value for key, value in entry.items() if key != "time"} for entry in metadata.get("managedFields", [])
    ]
    return {**document, "metadata": metadata}


def _desired(document: Document) -> Document:
    return {key: value for key, value in document.items() if key not in ("metadata", "status")}
