"""What the API server itself does to an object of a kind: read it, begin it, complete it, check it.

Source: Kubernetes v1.32, `pkg/registry/*/strategy.go` and `pkg/apis/*/validation`.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterator
from typing import Any

from tallship.lab.kube import definitions, metadata, schema, typed
from tallship.lab.kube.documents import copied
from tallship.lab.kube.errors import RefusedRequest, invalid
from tallship.lab.kube.options import Options
from tallship.lab.kube.resources import Resource

Document = dict[str, Any]
Cause = dict[str, str]

KEEPS_NEW_STATUS = ("Node",)
"""Kubernetes: a kubelet may create its Node with a status; of all other kinds it is dropped."""


def read(resource: Resource, namespace: str, name: str, document: Any, options: Options) -> Document:
    """Return the document as the API server reads it: pruned, without nulls, with defaults. Takes it over.

    Raises RefusedRequest (BadRequest) when it is no such object, or has unknown fields where that is an error.
    """
    new = _addressed(resource, namespace, name, document)
    if resource.is_custom:
        schema.drop_nulls(new, resource.schema)
    else:
        drop_nulls(resource, new)
    options.unknown.extend(f'unknown field "{each}"' for each in schema.prune(new, resource.schema))
    _refuse_unreadable(resource, new, options)
    if resource.kind == "Secret":
        _encode(new)
        if wrong := _illegal_base64(new):
            raise RefusedRequest("BadRequest", f"{_unhandled(resource)}: {wrong}")
    return new


def read_applied(resource: Resource, namespace: str, name: str, document: Any, options: Options) -> Document:
    """Return a document that is to be applied as the API server reads it. Takes it over; nulls stay.

    Raises RefusedRequest when it is no such object.
    """
    new = _addressed(resource, namespace, name, document)
    typed.check(resource, new)
    for key in ("labels", "annotations"):
        if key in (document.get("metadata") or {}):
            new["metadata"].setdefault(key, {})  # nothing is stored of it, but it is owned
    drop_nulls(resource, new)
    schema.prune(new, resource.schema)
    _refuse_unreadable(resource, new, options)
    if resource.kind == "Secret":
        _encode(new)
        if wrong := _illegal_base64(new):
            raise typed.unreadable(resource, new, wrong)
    return new


def _refuse_unreadable(resource: Resource, new: Document, options: Options) -> None:
    if options.unknown and options.validation == "Strict":
        raise RefusedRequest(
            "BadRequest", f"{_unhandled(resource)}: strict decoding error: {', '.join(options.unknown)}"
        )
    typed_part = {"metadata": new["metadata"]} if resource.is_custom else new
    for wrong in schema.violations(typed_part, resource.schema):
        if wrong["field"].startswith("metadata") or wrong["reason"] == "FieldValueTypeInvalid":
            raise RefusedRequest("BadRequest", f"{resource.kind} cannot be read: {wrong['field']}: {wrong['message']}")


def _unhandled(resource: Resource) -> str:
    return f'{resource.kind} in version "{resource.version}" cannot be handled as a {resource.kind}'


def drop_nulls(resource: Resource, new: Document) -> None:
    """Remove the nulls of a built-in kind, where they mean absent."""
    if not resource.is_custom and resource.kind != "CustomResourceDefinition":
        _drop_all_nulls(new)


def fill_in(resource: Resource, new: Document) -> None:
    """Add the defaults of what is absent."""
    schema.fill_defaults(new, resource.schema)


def begin(resource: Resource, new: Document) -> None:
    """Take out of a new object what its creator cannot decide."""
    if new["metadata"].get("resourceVersion"):
        raise RefusedRequest("InternalError", "resourceVersion should not be set on objects to be created")
    for key in (*metadata.GIVEN_BY_SERVER, "managedFields"):
        if key != "generateName":
            new["metadata"].pop(key, None)
    if resource.has_status and resource.kind not in KEEPS_NEW_STATUS:
        new.pop("status", None)
    if resource.kind == "Node":
        taints = new.setdefault("spec", {}).setdefault("taints", [])
        if _NOT_READY not in taints:
            taints.append(_NOT_READY)


_NOT_READY = {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}
"""Kubernetes: what the admission plug-in TaintNodesByCondition puts on a new node."""


def complete(resource: Resource, new: Document, now: str) -> None:
    """Fill in what the kind's own part of the API server does."""
    if resource.is_custom:
        return
    if resource.kind == "Namespace":
        new.setdefault("spec", {"finalizers": ["kubernetes"]})
        new.setdefault("status", {"phase": "Active"})
        new["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = new["metadata"]["name"]
    elif resource.kind in ("ConfigMap", "Secret"):
        for key in ("data", "binaryData"):
            if not new.get(key, True):
                del new[key]
    elif resource.kind == "Pod":
        new.setdefault("status", {"phase": "Pending"})
    elif resource.kind == "CustomResourceDefinition" and not list(definitions.violations(new)):
        definitions.complete(new, now)


def check_types(resource: Resource, new: Document) -> None:
    """Raise RefusedRequest (Invalid) for values of another type than theirs, which no webhook could read."""
    if resource.is_custom:
        body = {key: value for key, value in new.items() if key != "metadata"}
        if any(each["reason"] == "FieldValueTypeInvalid" for each in schema.violations(body, resource.schema)):
            check(resource, new, None)


def check(resource: Resource, new: Document, old: Document | None) -> None:
    """Raise RefusedRequest (Invalid) with a cause for everything that is wrong with the object."""
    causes = list(metadata.violations(resource.kind, new["metadata"], (old or {}).get("metadata")))
    if resource.is_custom:
        body = {key: value for key, value in new.items() if key != "metadata"}
        causes += schema.violations(body, resource.schema)
    else:
        causes += _built_in_violations(new, old)
    if causes:
        raise invalid(resource.kind, resource.group, new["metadata"].get("name", ""), causes)


def _addressed(resource: Resource, namespace: str, name: str, document: Any) -> Document:
    if not isinstance(document, dict):
        raise RefusedRequest("BadRequest", f"the body is no {resource.kind}")
    kind, version = document.get("kind", resource.kind), document.get("apiVersion", resource.api_version)
    if (kind, version) != (resource.kind, resource.api_version):
        text = f"the API version in the data ({version}) does not match the expected API version"
        raise RefusedRequest("BadRequest", f"{text} ({resource.api_version}), or its kind ({kind}) is another")
    given = document.get("metadata") or {}
    if not isinstance(given, dict):
        raise RefusedRequest("BadRequest", f"the metadata of the {resource.kind} is no object")
    found = {key: value for key, value in given.items() if value not in (None, {}, [])}
    if name and found.setdefault("name", name) != name:
        text = f"the name of the object ({found['name']}) does not match the name on the URL ({name})"
        raise RefusedRequest("BadRequest", text)
    if not resource.namespaced:
        found.pop("namespace", None)
    elif found.setdefault("namespace", namespace) != namespace:
        text = "the namespace of the provided object does not match the namespace sent on the request"
        raise RefusedRequest("BadRequest", text)
    return {**document, "apiVersion": resource.api_version, "kind": resource.kind, "metadata": found}


def _drop_all_nulls(value: Any) -> None:
    if isinstance(value, dict):
        for key in [key for key, each in value.items() if each is None]:
            del value[key]
    for each in value.values() if isinstance(value, dict) else value:
        if isinstance(each, dict | list):
            _drop_all_nulls(each)


def _encode(secret: Document) -> None:
    plain = secret.pop("stringData", None)
    if plain:
        coded = {key: b64encode(str(value).encode()).decode() for key, value in plain.items()}
        secret["data"] = {**(secret.get("data") or {}), **coded}


def _built_in_violations(new: Document, old: Document | None) -> Iterator[Cause]:
    kind = new["kind"]
    if kind == "CustomResourceDefinition":
        yield from definitions.violations(new)
    elif kind in ("Secret", "ConfigMap"):
        yield from _data_violations(new, old)
    elif kind in ("Deployment", "DaemonSet"):
        yield from _workload_violations(new, old)


def _data_violations(new: Document, old: Document | None) -> Iterator[Cause]:
    for key in new.get("data") or {}:
        if not re.fullmatch("[-._a-zA-Z0-9]+", key):
            text = (
                f"Invalid value: \"{key}\": a valid config key must consist of alphanumeric characters, '-', '_' or '.'"
            )
            yield {"reason": "FieldValueInvalid", "field": f"data[{key}]", "message": text}
    if old is None:
        return
    if new.get("type") != old.get("type"):
        text = f'Invalid value: "{new.get("type")}": field is immutable'
        yield {"reason": "FieldValueInvalid", "field": "type", "message": text}
    if old.get("immutable") and (new.get("data") != old.get("data") or not new.get("immutable")):
        text = "Forbidden: field is immutable when `immutable` is set"
        yield {"reason": "FieldValueForbidden", "field": "data", "message": text}


def _illegal_base64(secret: Document) -> str:
    """Return what Go says of the first value that is no base64; empty when there is none."""
    for value in (secret.get("data") or {}).values():
        if (place := _illegal_at(value)) is not None:
            return f"illegal base64 data at input byte {place}"
    return ""


def _illegal_at(text: str) -> int | None:
    """Return where base64 ends to be such, as Go's decoder counts it; None when all of it is."""
    if re.fullmatch("(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?", text):
        return None
    places = [(place, letter) for place, letter in enumerate(text) if letter not in "\r\n"]
    held = 0
    for number, (place, letter) in enumerate(places):
        if letter == "=":
            rest = places[number + 1 :]
            if held < 2:
                return place
            if held == 2:
                if not rest or rest[0][1] != "=":
                    return rest[0][0] if rest else len(text)
                rest = rest[1:]
            return rest[0][0] if rest else None
        if not re.fullmatch("[A-Za-z0-9+/]", letter):
            return place
        held = (held + 1) % 4
    return len(text) - held if held else None


def _workload_violations(new: Document, old: Document | None) -> Iterator[Cause]:
    spec = new.get("spec") or {}
    selector = spec.get("selector") or {}
    labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}
    if not selector:
        yield {"reason": "FieldValueRequired", "field": "spec.selector", "message": "Required value"}
    elif not (selector.get("matchLabels") or {}).items() <= labels.items():
        text = f"Invalid value: {labels}: `selector` does not match template `labels`"
        yield {"reason": "FieldValueInvalid", "field": "spec.template.metadata.labels", "message": text}
    if old is not None and selector != old["spec"].get("selector"):
        text = f"Invalid value: {selector}: field is immutable"
        yield {"reason": "FieldValueInvalid", "field": "spec.selector", "message": text}


def kept(resource: Resource, new: Document, old: Document, subresource: str) -> Document:
    """Return the new object with those parts of the old one that a write to this (sub)resource cannot change."""
    given = {key: old["metadata"][key] for key in metadata.GIVEN_BY_SERVER if key in old["metadata"]}
    if subresource in ("status", "approval"):
        return {**copied(old), **({"status": new["status"]} if "status" in new else {})}
    if resource.has_status:
        new.pop("status", None)
        if "status" in old:
            new["status"] = copied(old["status"])
    if resource.kind == "Pod" and not resource.group and not subresource:
        _refuse_other_node(resource, new, old)
    dropped = {*metadata.GIVEN_BY_SERVER, "managedFields"}
    new["metadata"] = {**{k: v for k, v in new["metadata"].items() if k not in dropped}, **given}
    return new


def _refuse_other_node(resource: Resource, new: Document, old: Document) -> None:
    """Kubernetes: a Pod comes to its node by a binding, and stays there."""
    if new.get("spec", {}).get("nodeName") != old["spec"].get("nodeName"):
        text = "Forbidden: pod updates may not change fields other than `spec.containers[*].image`"
        cause = {"reason": "FieldValueForbidden", "field": "spec", "message": text}
        raise invalid(resource.kind, resource.group, old["metadata"]["name"], [cause])
