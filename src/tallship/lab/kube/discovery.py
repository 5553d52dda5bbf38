"""What a server serves, in the three forms that clients ask for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tallship.lab.kube.resources import VERBS, Resource

Document = dict[str, Any]

KUBERNETES = "v1.32.2"


def version() -> Document:
    """Return /version."""
    major, minor, _ = KUBERNETES.removeprefix("v").split(".")
    return {
        "major": major,
        "minor": minor,
        "gitVersion": KUBERNETES,
        "platform": "linux/amd64",
        "gitTreeState": "clean",
    }


def groups(resources: Iterable[Resource]) -> Document:
    """Return /apis: the groups and their versions."""
    found: dict[str, list[str]] = {}
    for each in resources:
        if each.group and each.version not in found.setdefault(each.group, []):
            found[each.group].append(each.version)
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(group, vs) for group, vs in found.items()]}


def group(resources: Iterable[Resource], name: str) -> Document | None:
    """Return /apis/GROUP, or None where there is no such group."""
    versions = sorted({each.version for each in resources if each.group == name})
    return {"kind": "APIGroup", "apiVersion": "v1", **_group(name, versions)} if versions else None


def aggregated(resources: Iterable[Resource], core: bool) -> Document:
    """Return the aggregated form of /api (core) or /apis."""
    found: dict[str, dict[str, list[Resource]]] = {}
    for each in resources:
        if (each.group == "") == core:
            found.setdefault(each.group, {}).setdefault(each.version, []).append(each)
    items = [
        {
            "metadata": {"name": name, "creationTimestamp": None},
            "versions": [
                {
                    "version": version,
                    "freshness": "Current",
                    "resources": [_aggregated_resource(each) for each in members],
                }
                for version, members in versions.items()
            ],
        }
        for name, versions in found.items()
    ]
    return {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items}


def resource_list(resources: Iterable[Resource], name: str, version: str) -> Document | None:
    """Return the resources of one group and version, or None where there are none."""
    members = [each for each in resources if (each.group, each.version) == (name, version)]
    if not members:
        return None
    found = []
    for each in members:
        found.append(
            {
                "name": each.plural,
                "singularName": each.kind.lower(),
                "namespaced": each.namespaced,
                "kind": each.kind,
                "verbs": VERBS,
                "shortNames": list(each.short_names),
                "categories": list(each.categories),
            }
        )
        for subresource in each.subresources():
            kind = "Scale" if subresource == "scale" else each.kind
            verbs = ["get", "patch", "update"]
            found.append(
                {
                    "name": f"{each.plural}/{subresource}",
                    "singularName": "",
                    "namespaced": each.namespaced,
                    "kind": kind,
                    "verbs": verbs,
                }
            )
    group_version = f"{name}/{version}" if name else version
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": found}


def openapi_index(resources: Iterable[Resource]) -> Document:
    """Return /openapi/v3."""
    paths = {f"apis/{each.group}/{each.version}" if each.group else f"api/{each.version}" for each in resources}
    return {"paths": {path: {"serverRelativeURL": f"/openapi/v3/{path}?hash=1"} for path in sorted(paths)}}


def openapi(resources: Iterable[Resource], name: str, version: str) -> Document:
    """Return one group version's OpenAPI: enough for a client to see that the server validates fields itself."""
    schemas: Document = {}
    paths: Document = {}
    for each in resources:
        if (each.group, each.version) != (name, version):
            continue
        gvk = {"group": each.group, "version": each.version, "kind": each.kind}
        schemas[f"{each.group or 'core'}.{each.version}.{each.kind}"] = {
            **(each.schema or {"type": "object", "x-kubernetes-preserve-unknown-fields": True}),
            "x-kubernetes-group-version-kind": [gvk],
        }
        root = f"/apis/{each.group}/{each.version}" if each.group else f"/api/{each.version}"
        scope = "/namespaces/{namespace}" if each.namespaced else ""
        operation = {
            "parameters": _PARAMETERS,
            "responses": {"200": {"description": "OK"}},
            "x-kubernetes-group-version-kind": gvk,
        }
        paths[f"{root}{scope}/{each.plural}/{{name}}"] = {"patch": operation, "put": operation}
        paths[f"{root}{scope}/{each.plural}"] = {"post": operation}
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": KUBERNETES},
        "paths": paths,
        "components": {"schemas": schemas},
    }


_PARAMETERS = [
    {"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": True}}
    for name in ("dryRun", "fieldManager", "fieldValidation", "force")
]


def _group(name: str, versions: list[str]) -> Document:
    served = [{"groupVersion": f"{name}/{each}", "version": each} for each in versions]
    return {"name": name, "versions": served, "preferredVersion": served[0]}


def _aggregated_resource(each: Resource) -> Document:
    gvk = {"group": each.group, "version": each.version, "kind": each.kind}
    return {
        "resource": each.plural,
        "responseKind": gvk,
        "scope": "Namespaced" if each.namespaced else "Cluster",
        "singularResource": each.kind.lower(),
        "verbs": VERBS,
        "shortNames": list(each.short_names),
        "categories": list(each.categories),
        "subresources": [
            {"subresource": name, "responseKind": gvk, "verbs": ["get", "patch", "update"]}
            for name in each.subresources()
        ],
    }
