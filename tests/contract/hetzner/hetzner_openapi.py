"""Hetzner's OpenAPI description as JSON Schemas of replies, as strict as can be: no property that it does not name."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import requests

CONTRACTS = Path(__file__).parents[3].parent / "shared/contracts"
DESCRIPTION = CONTRACTS / "hcloud-openapi.json"
needs_description = pytest.mark.skipif(not DESCRIPTION.exists(), reason="Hetzner's OpenAPI description is not here")

LATER_CHANGES = {
    r"'datacenter' is a required property": "removed on 2026-07-01; only location is left",
    r"'deprecated' is a required property": "images: removed on 2026-09-08",
    r"'deprecation' was unexpected": "images and load balancer types say deprecation{announced, unavailable_after}",
    r"'unassigned' is not one of \['server'\]": "a primary IP that nobody has, since 2026-08-01",
    r"'detail' was unexpected": "health of load balancer targets tells a reason since 2.26.0 of the SDK",
    r"services\[\d\]\.protocol: 'http' is not one of": "http services have all of https's fields: the SDK insists",
    r"^status 201 of DELETE /load_balancers/\{id\}": "answers with an action since 2026-10-05",
    r"^no route GET /networks/\{id\}/members": "newer than the description (SDK 2.25.0)",
}
"""What Hetzner changed after the description was taken (May 2026): pattern of the complaint -> the change."""


@lru_cache(maxsize=1)
def description() -> dict[str, Any]:
    """Return the description with OpenAPI's `nullable` said in JSON Schema's words."""
    whole: dict[str, Any] = json.loads(DESCRIPTION.read_text())
    return whole


def complaints(reply: requests.Response) -> list[str]:
    """Return what is wrong with a reply's status and shape, without the later changes."""
    found = [found for found in all_complaints(reply) if not any(re.search(known, found) for known in LATER_CHANGES)]
    return [f"{reply.request.method} {reply.request.path_url}: {each}" for each in found]


def all_complaints(reply: requests.Response) -> list[str]:
    """Return what is wrong with a reply's status and shape."""
    method, path = str(reply.request.method), str(reply.request.path_url).removeprefix("/v1").partition("?")[0]
    template = next((known for known in sorted(description()["paths"]) if _fits(known, path)), None)
    if template is None:
        return [f"no route {method} {re.sub('[0-9]+', '{id}', path)}"]
    responses = description()["paths"][template][method.lower()]["responses"]
    kind = str(reply.status_code) if reply.ok else f"{reply.status_code // 100}xx"
    if kind not in responses:
        return [f"status {kind} of {method} {template}"]
    if "content" not in responses[kind]:
        return ["a body where none belongs"] if reply.content else []
    validator = jsonschema.Draft202012Validator(_schema(template, method.lower(), kind))
    return [
        f"{error.json_path}: {error.message}" for each in validator.iter_errors(reply.json()) for error in _leaves(each)
    ]


def _leaves(error: jsonschema.ValidationError) -> list[jsonschema.ValidationError]:
    """Return the errors of the most fitting branch where there are several."""
    if not error.context:
        return [error]
    branches: dict[Any, list[jsonschema.ValidationError]] = {}
    for each in error.context:
        branches.setdefault(each.schema_path[0], []).append(each)
    return [leaf for each in min(branches.values(), key=len) for leaf in _leaves(each)]


def _fits(template: str, path: str) -> bool:
    return re.fullmatch(re.sub(r"\{[a-z_]+\}", r"\\d+", template), path) is not None


@lru_cache(maxsize=200)
def _schema(template: str, method: str, kind: str) -> dict[str, Any]:
    response = description()["paths"][template][method]["responses"][kind]
    schema: dict[str, Any] = _converted(response["content"]["application/json"]["schema"])
    return schema


def _converted(node: Any, closed: bool = True) -> Any:
    if isinstance(node, list):
        return [_converted(each, closed) for each in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        return _converted(_referred(node["$ref"]), closed)
    inside = {key: _converted(value, closed and key != "allOf") for key, value in node.items() if key != "properties"}
    if "properties" in node:
        inside["properties"] = {name: _converted(value) for name, value in node["properties"].items()}
        if closed:
            inside.setdefault("additionalProperties", False)
    if inside.pop("nullable", False):
        inside["type"] = [inside["type"], "null"]
        if "enum" in inside:
            inside["enum"] = [*inside["enum"], None]
    return inside


def _referred(reference: str) -> Any:
    node: Any = description()
    for part in reference.removeprefix("#/").split("/"):
        node = node[part]
    return node
