"""What a server serves, in the three forms that clients ask for."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

from tallship.lab.kube.catalog import Catalog
from tallship.lab.kube.documents import encoded
from tallship.lab.kube.resources import VERBS, Resource

Document = dict[str, Any]

KUBERNETES = "v1.32.2"


AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
SCALE = {"group": "autoscaling", "version": "v1", "kind": "Scale"}
_WRITES = ["get", "patch", "update"]


class Discovery:
    """The answers about what is served, as JSON text, made once for each edition of the catalog."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._edition = -1
        self._kept: dict[tuple[str, bool], bytes] = {}

    def answer(self, path: str, accept: str) -> tuple[bytes, str] | None:
        """Return the body and its content type for a path of discovery, or None for any other path."""
        if self._edition != self._catalog.edition:
            self._edition = self._catalog.edition
            self._kept = {}
        is_aggregated = "as=APIGroupDiscoveryList" in accept and path in ("/api", "/apis")
        if (path, is_aggregated) not in self._kept:
            found = _document(list(self._catalog), path, is_aggregated)
            if found is None:
                return None
            self._kept[path, is_aggregated] = encoded(found)
        return self._kept[path, is_aggregated], AGGREGATED if is_aggregated else "application/json"


def _document(resources: list[Resource], path: str, is_aggregated: bool) -> Document | None:
    match path.strip("/").split("/"):
        case ["version"]:
            return version()
        case ["api" | "apis" as root] if is_aggregated:
            return aggregated(resources, root == "api")
        case ["api"]:
            return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}
        case ["apis"]:
            return groups(resources)
        case ["api", "v1"]:
            return resource_list(resources, "", "v1")
        case ["apis", name]:
            return group(resources, name)
        case ["apis", name, version_]:
            return resource_list(resources, name, version_)
        case ["openapi", "v3"]:
            return openapi_index(resources)
        case ["openapi", "v3", "api", version_]:
            return openapi(resources, "", version_)
        case ["openapi", "v3", "apis", name, version_]:
            return openapi(resources, name, version_)
    return None


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
    found: list[Document] = []
    for each in members:
        found.append(
            {
                "name": each.plural,
                "singularName": each.singular,
                "namespaced": each.namespaced,
                "kind": each.kind,
                "verbs": VERBS,
                "shortNames": list(each.short_names),
                "categories": list(each.categories),
            }
        )
        for subresource in each.subresources():
            entry = {"name": f"{each.plural}/{subresource}", "singularName": "", "namespaced": each.namespaced}
            kind = SCALE if subresource == "scale" else {"kind": each.kind}
            found.append({**entry, **kind, "verbs": _verbs(subresource)})
    group_version = f"{name}/{version}" if name else version
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": found}


def openapi_index(resources: Iterable[Resource]) -> Document:
    """Return /openapi/v3; clients keep what has the same hash."""
    found: dict[str, list[Resource]] = {}
    for each in resources:
        root = f"apis/{each.group}/{each.version}" if each.group else f"api/{each.version}"
        found.setdefault(root, []).append(each)
    return {
        "paths": {
            root: {"serverRelativeURL": f"/openapi/v3/{root}?hash={_hash(members)}"}
            for root, members in sorted(found.items())
        }
    }


def _hash(members: list[Resource]) -> str:
    text = encoded([[each.id, each.schema] for each in members])
    return hashlib.sha256(text).hexdigest().upper()


def openapi(resources: Iterable[Resource], name: str, version: str) -> Document | None:
    """Return one group version's OpenAPI: enough for a client to see that the server validates fields itself."""
    schemas: Document = {}
    paths: Document = {}
    for each in resources:
        if (each.group, each.version) != (name, version):
            continue
        gvk = {"group": each.group, "version": each.version, "kind": each.kind}
        schemas[f"{each.group or 'core'}.{each.version}.{each.kind}"] = {
            **each.schema,
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
    if not paths:
        return None
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
        "singularResource": each.singular,
        "verbs": VERBS,
        "shortNames": list(each.short_names),
        "categories": list(each.categories),
        "subresources": [
            {"subresource": name, "responseKind": SCALE if name == "scale" else gvk, "verbs": _verbs(name)}
            for name in each.subresources()
        ],
    }


def _verbs(subresource: str) -> list[str]:
    return ["get"] if subresource == "log" else _WRITES
