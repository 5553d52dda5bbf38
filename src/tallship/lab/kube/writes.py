"""Every way of changing an object, with what the API server itself does on the way."""

from __future__ import annotations

import copy
import secrets
import uuid
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tallship.lab.clock import LabClock, timestamp
from tallship.lab.kube import schema as schemas
from tallship.lab.kube.admission import admit
from tallship.lab.kube.apply import apply, updated
from tallship.lab.kube.errors import RefusedRequest, invalid, not_found
from tallship.lab.kube.objects import Objects
from tallship.lab.kube.resources import Resource

Document = dict[str, Any]

NAME_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
"""Kubernetes: the letters of generated names."""


@dataclass(frozen=True)
class Options:
    """How a write was asked for."""

    manager: str
    dry_run: bool = False
    strict: bool = False
    force: bool = False
    subresource: str = ""


class Writes:
    """Creates, updates, applies and deletes; `changed` is called with each resource whose object really changed."""

    def __init__(
        self,
        objects: Objects,
        clock: LabClock,
        namespaces: Resource,
        changed: Callable[[Resource, Document, Document | None], None],
    ) -> None:
        self._objects = objects
        self._clock = clock
        self._namespaces = namespaces
        self._changed = changed

    def create(self, resource: Resource, namespace: str, document: Document, options: Options) -> Document:
        """Return the created object. Raises RefusedRequest (AlreadyExists, Invalid, NotFound)."""
        new = self._prepared(resource, namespace, document)
        metadata = new["metadata"]
        if not metadata.get("name") and metadata.get("generateName"):
            metadata["name"] = metadata["generateName"] + "".join(secrets.choice(NAME_LETTERS) for _ in range(5))
        if not metadata.get("name"):
            cause = {
                "reason": "FieldValueRequired",
                "field": "metadata.name",
                "message": "Required value: name or generateName is required",
            }
            raise invalid(resource.kind, resource.group, "", [cause])
        if self._objects.find(resource, namespace, metadata["name"]) is not None:
            raise RefusedRequest(
                "AlreadyExists",
                f'{resource.id} "{metadata["name"]}" already exists',
                details={"name": metadata["name"], "kind": resource.plural},
            )
        metadata.pop("managedFields", None)
        if resource.has_status and resource.schema is not None:
            new.pop("status", None)
        updated({}, new, options.manager, resource.schema, timestamp(self._clock))
        return self._stored(resource, new, None, options)

    def update(self, resource: Resource, namespace: str, name: str, document: Document, options: Options) -> Document:
        """Return the replaced object. Raises RefusedRequest (NotFound, Conflict, Invalid)."""
        old = self._existing(resource, namespace, name)
        asked = document.get("metadata", {}).get("resourceVersion")
        if asked and asked != old["metadata"]["resourceVersion"]:
            raise _too_old(resource, name)
        new = self._prepared(resource, namespace, document)
        new["metadata"]["name"] = name
        return self._replaced(resource, old, new, options)

    def patch(
        self, resource: Resource, namespace: str, name: str, change: Callable[[Document], Document], options: Options
    ) -> Document:
        """Return the object after a change of what is stored."""
        old = self._existing(resource, namespace, name)
        new = change(copy.deepcopy(old))
        asked = new.get("metadata", {}).get("resourceVersion")
        if asked and asked != old["metadata"]["resourceVersion"]:
            raise _too_old(resource, name)
        return self._replaced(resource, old, self._prepared(resource, namespace, new), options)

    def apply(self, resource: Resource, namespace: str, name: str, applied: Document, options: Options) -> Document:
        """Return the object after a server-side apply, creating it where it is absent."""
        old = self._objects.find(resource, namespace, name)
        wanted = self._prepared(resource, namespace, applied)
        wanted["metadata"]["name"] = name
        self._check_unknown(resource, wanted, options)
        if options.subresource == "status":
            wanted = {key: wanted[key] for key in ("apiVersion", "kind", "metadata", "status") if key in wanted}
        elif resource.has_status and resource.schema is not None:
            wanted.pop("status", None)
        if wanted["metadata"].pop("managedFields", None):
            raise RefusedRequest("BadRequest", "metadata.managedFields must be nil")
        now = timestamp(self._clock)
        result = apply(old, wanted, options.manager, options.force, resource.schema, now, options.subresource)
        if old is None and options.subresource:
            raise not_found(resource.plural, resource.group, name)
        return self._stored(resource, result, old, options)

    def delete(
        self, resource: Resource, namespace: str, name: str, options: Options, precondition: Document | None = None
    ) -> Document:
        """Return the object as it was deleted, or as it waits for its finalizers."""
        old = self._existing(resource, namespace, name)
        wanted = (precondition or {}).get("uid")
        if wanted and wanted != old["metadata"]["uid"]:
            raise RefusedRequest("Conflict", f"the UID in the precondition ({wanted}) does not match the UID in record")
        if options.dry_run:
            return old
        holds = old["metadata"].get("finalizers") or resource.kind == "Namespace"
        if not holds:
            self._changed(resource, old, None)
            return self._objects.drop(resource, old)
        if "deletionTimestamp" in old["metadata"]:
            return old
        new = copy.deepcopy(old)
        new["metadata"].update(deletionTimestamp=timestamp(self._clock), deletionGracePeriodSeconds=0)
        if resource.schema is not None:
            new["metadata"]["generation"] = new["metadata"].get("generation", 1) + 1
        if resource.kind == "Namespace":
            new["status"] = {"phase": "Terminating"}
        self._changed(resource, new, old)
        return self._objects.put(resource, new, old)

    def _replaced(self, resource: Resource, old: Document, new: Document, options: Options) -> Document:
        new["metadata"] = {**new["metadata"], **{key: old["metadata"][key] for key in _KEPT if key in old["metadata"]}}
        new["metadata"].pop("managedFields", None)
        if options.subresource == "status":
            status = new.get("status")
            new = {**copy.deepcopy(old), **({"status": status} if status is not None else {})}
        elif resource.has_status and resource.schema is not None:
            new.pop("status", None)
            if "status" in old:
                new["status"] = copy.deepcopy(old["status"])
        self._check_unknown(resource, new, options)
        updated(old, new, options.manager, resource.schema, timestamp(self._clock), options.subresource)
        return self._stored(resource, new, old, options)

    def _stored(self, resource: Resource, new: Document, old: Document | None, options: Options) -> Document:
        """Complete, check and store an object; what changes nothing is not written."""
        self._check_unknown(resource, new, options)
        self._complete(resource, new)
        admit(new, old)
        self._validate(resource, new)
        metadata = new["metadata"]
        if old is None:
            metadata.update(uid=str(uuid.uuid4()), creationTimestamp=timestamp(self._clock))
            if resource.schema is not None or resource.kind in ("Deployment", "DaemonSet"):
                metadata["generation"] = 1
            if resource.namespaced:
                self._check_namespace(metadata["namespace"])
        else:
            for key in _KEPT:
                if key in old["metadata"]:
                    metadata[key] = old["metadata"][key]
            if _content(new) == _content(old):
                return old
            if "generation" in metadata and _desired(new) != _desired(old):
                metadata["generation"] += 1
        if options.dry_run:
            metadata.setdefault("resourceVersion", "")
            return new
        if old is not None and "deletionTimestamp" in metadata and not metadata.get("finalizers"):
            self._changed(resource, new, None)
            return self._objects.drop(resource, {**new, "metadata": {**metadata, "name": old["metadata"]["name"]}})
        self._changed(resource, new, old)
        return self._objects.put(resource, new, old)

    def _prepared(self, resource: Resource, namespace: str, document: Document) -> Document:
        new = copy.deepcopy(document)
        if not isinstance(new.get("metadata"), dict):
            new["metadata"] = {}
        if (
            new.get("kind", resource.kind) != resource.kind
            or new.get("apiVersion", resource.api_version) != resource.api_version
        ):
            raise RefusedRequest(
                "BadRequest",
                f"the API version in the data ({new.get('apiVersion')}) does not match the expected one",
            )
        new["apiVersion"], new["kind"] = resource.api_version, resource.kind
        metadata = new["metadata"] = {
            key: value for key, value in new["metadata"].items() if value not in (None, {}, [])
        }
        if resource.namespaced:
            if metadata.get("namespace", namespace) != namespace:
                raise RefusedRequest(
                    "BadRequest",
                    "the namespace of the provided object does not match the namespace sent on the request",
                )
            metadata["namespace"] = namespace
        if resource.kind == "Secret" and "stringData" in new:
            plain = new.pop("stringData") or {}
            encoded = {key: b64encode(value.encode()).decode() for key, value in plain.items()}
            new["data"] = {**(new.get("data") or {}), **encoded}
        if resource.schema is not None:
            _drop_nulls(new, resource.schema)
        return new

    def _complete(self, resource: Resource, new: Document) -> None:
        if resource.kind == "Secret":
            new.setdefault("type", "Opaque")
        if resource.kind == "Namespace":
            new.setdefault("spec", {"finalizers": ["kubernetes"]})
            new.setdefault("status", {"phase": "Active"})
            new["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = new["metadata"]["name"]
        if resource.schema is not None:
            schemas.prune(new, resource.schema)
            schemas.fill_defaults(new, resource.schema)

    def _validate(self, resource: Resource, new: Document) -> None:
        if resource.schema is None:
            return
        body = {key: value for key, value in new.items() if key != "metadata"}
        schema = {
            **resource.schema,
            "properties": {k: v for k, v in resource.schema.get("properties", {}).items() if k != "metadata"},
        }
        causes = list(schemas.violations(body, schema))
        if causes:
            raise invalid(resource.kind, resource.group, new["metadata"].get("name", ""), causes)

    def _check_unknown(self, resource: Resource, new: Document, options: Options) -> None:
        if not options.strict or resource.schema is None:
            return
        unknown = list(schemas.unknown_fields(new, resource.schema))
        if unknown:
            told = ", ".join(f'unknown field "{each}"' for each in unknown)
            what = f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}'
            raise RefusedRequest("BadRequest", f"{what}: strict decoding error: {told}")

    def _check_namespace(self, namespace: str) -> None:
        found = self._objects.find(self._namespaces, "", namespace)
        if found is None:
            raise not_found("namespaces", "", namespace)
        if "deletionTimestamp" in found["metadata"]:
            text = f"unable to create new content in namespace {namespace} because it is being terminated"
            raise RefusedRequest(
                "Forbidden", text, [{"reason": "NamespaceTerminating", "message": text, "field": "metadata.namespace"}]
            )

    def _existing(self, resource: Resource, namespace: str, name: str) -> Document:
        found = self._objects.find(resource, namespace, name)
        if found is None:
            raise not_found(resource.plural, resource.group, name)
        return found


_KEPT = (
    "uid", "creationTimestamp", "generation", "resourceVersion", "deletionTimestamp", "deletionGracePeriodSeconds",
    "generateName",
)  # fmt: skip


def _content(document: Document) -> Document:
    metadata = {key: value for key, value in document["metadata"].items() if key != "resourceVersion"}
    metadata["managedFields"] = [
        {key: value for key, value in entry.items() if key != "time"} for entry in metadata.get("managedFields", [])
    ]
    return {**document, "metadata": metadata}


def _desired(document: Document) -> Document:
    return {key: value for key, value in document.items() if key not in ("metadata", "status")}


def _drop_nulls(value: Any, schema: Document) -> None:
    """Remove nulls where they mean absent: an API server drops them unless the field is nullable."""
    if isinstance(value, dict):
        known = schema.get("properties", {})
        for name in list(value):
            inner = known.get(name)
            if value[name] is None and inner is not None and not inner.get("nullable"):
                del value[name]
            elif inner is not None:
                _drop_nulls(value[name], inner)
    elif isinstance(value, list):
        for each in value:
            _drop_nulls(each, schema.get("items", {}))


def _too_old(resource: Resource, name: str) -> RefusedRequest:
    text = (
        f'Operation cannot be fulfilled on {resource.id} "{name}": the object has been modified; please apply your'
        " changes to the latest version and try again"
    )
    return RefusedRequest("Conflict", text, details={"name": name, "kind": resource.plural, "group": resource.group})
