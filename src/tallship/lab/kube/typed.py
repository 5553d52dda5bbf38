"""What server-side apply says of a document that has not the shape of its kind, whatever `fieldValidation` is.

Source: structured-merge-diff v4.4 (`typed/validate.go`), seen on a kube-apiserver v1.32.2.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tallship.lab.kube.errors import RefusedRequest
from tallship.lab.kube.fields import dotted, entry_key, map_keys
from tallship.lab.kube.resources import Resource
from tallship.lab.kube.schema import PRESERVE, in_go

Schema = dict[str, Any]


def check(resource: Resource, document: dict[str, Any]) -> None:
    """Raise RefusedRequest for fields that the kind does not have and for values of another type than theirs."""
    body = {key: value for key, value in document.items() if key not in ("apiVersion", "kind", "metadata")}
    found = list(_mistakes(body, resource.schema, ""))
    if found:
        text = found[0] if len(found) == 1 else "\n  ".join(("errors:", *found))
        raise RefusedRequest("", f"failed to create typed patch object ({_named(resource, document)}): {text}")


def unreadable(resource: Resource, document: dict[str, Any], why: str) -> RefusedRequest:
    """Return the refusal of a document that cannot be made an object of its kind."""
    kind = f"{resource.group}/{resource.version}, Kind={resource.kind}"
    text = f"failed to convert new object ({_named(resource, document)}) to proper version: unable to convert"
    return RefusedRequest("", f"{text} unstructured object to {kind}: error decoding from json: {why}")


def _named(resource: Resource, document: dict[str, Any]) -> str:
    metadata = document["metadata"]
    kind = f"{resource.group}/{resource.version}, Kind={resource.kind}"
    return f"{metadata.get('namespace', '')}/{metadata['name']}; {kind}"


def _mistakes(value: Any, schema: Schema, path: str) -> Iterator[str]:
    wanted = schema.get("type")
    if value is None or (wanted is None and "properties" not in schema) or schema.get("x-kubernetes-int-or-string"):
        return
    if wanted in (None, "object"):
        yield from _map_mistakes(value, schema, path)
    elif wanted == "array":
        yield from _list_mistakes(value, schema, path)
    elif wanted == "string" and not isinstance(value, str):
        yield f"{path}: expected string, got &value.valueUnstructured{{Value:{in_go(value)}}}"
    elif wanted == "boolean" and not isinstance(value, bool):
        yield f"{path}: expected boolean, got &{{{_printed(value)}}}"
    elif wanted in ("integer", "number") and (isinstance(value, bool) or not isinstance(value, int | float)):
        yield f"{path}: expected numeric (int or float), got {_type(value)}"


def _map_mistakes(value: Any, schema: Schema, path: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{path}: expected map, got &{{{_printed(value)}}}"
        return
    known, extra = schema.get("properties", {}), schema.get("additionalProperties")
    is_open = (not known and extra is None) or extra is True or PRESERVE in schema
    for name, each in value.items():
        inner = known.get(name, extra)
        if isinstance(inner, dict):
            yield from _mistakes(each, inner, f"{path}.{name}")
        elif not is_open:
            yield f"{path}.{name}: field not declared in schema"


def _list_mistakes(value: Any, schema: Schema, path: str) -> Iterator[str]:
    if not isinstance(value, list):
        yield f"{path}: expected list, got &{{{_printed(value)}}}"
        return
    items, keys = schema.get("items", {}), map_keys(schema)
    for number, each in enumerate(value):
        is_keyed = keys and isinstance(each, dict)
        yield from _mistakes(
            each, items, path + (dotted((entry_key(each, keys, items),)) if is_keyed else f"[{number}]")
        )


def _type(value: Any) -> str:
    """Return Go's name of a value's type."""
    names = {bool: "bool", str: "string", dict: "map[string]interface {}", list: "[]interface {}"}
    return names[type(value)]


def _printed(value: Any) -> str:
    """Return a value as Go prints it (`%v`)."""
    if isinstance(value, dict):
        return "map[" + " ".join(f"{key}:{_printed(each)}" for key, each in sorted(value.items())) + "]"
    if isinstance(value, list):
        return "[" + " ".join(map(_printed, value)) + "]"
    if isinstance(value, str):
        return value
    return "<nil>" if value is None else json.dumps(value)
