"""What a request says: who asks, how, and with what body; and the plain forms of an answer."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import yaml
from aiohttp import web

from tallship.lab.kube.documents import encoded
from tallship.lab.kube.errors import RefusedRequest, invalid
from tallship.lab.kube.options import Options

APPLY = "application/apply-patch+yaml"
ANONYMOUS_PATHS = ("/readyz", "/livez", "/healthz", "/version")
ANONYMOUS = "system:anonymous"
MASTERS = "system:masters"


@dataclass(frozen=True)
class User:
    """Who asks: the common name and the organizations of a client certificate."""

    name: str
    groups: tuple[str, ...]

    @classmethod
    def of(cls, request: web.Request) -> User | None:
        """Return the user of a request, or None without a certificate."""
        certificate = request.transport.get_extra_info("peercert") if request.transport else None
        parts = [pair for part in (certificate or {}).get("subject", ()) for pair in part]
        name = next((value for key, value in parts if key == "commonName"), None)
        groups = tuple(value for key, value in parts if key == "organizationName")
        return cls(name, groups) if name else None


def check_access(request: web.Request) -> None:
    """Raise RefusedRequest (Unauthorized, Forbidden) for who may not ask this.

    A plain authorizer: whoever has a certificate may do everything, but `system:anonymous`.
    """
    if request.path.rstrip("/") in ANONYMOUS_PATHS:
        return
    user = User.of(request)
    if user is None:
        raise RefusedRequest("Unauthorized", "Unauthorized")
    if user.name == ANONYMOUS and MASTERS not in user.groups:
        verb = request.method.lower()
        raise RefusedRequest("Forbidden", f'forbidden: User "{user.name}" cannot {verb} path "{request.path}"')


def options_of(request: web.Request, subresource: str) -> Options:
    """Return how a write was asked for. Raises RefusedRequest.

    Kubernetes: an apply must name its manager; for other writes it is else the user agent before its first slash.
    """
    query, is_apply = request.query, request.content_type == APPLY
    manager = query.get("fieldManager", "")
    if is_apply and not manager:
        text = "Required value: is required for apply patch"
        raise _bad_options({"reason": "FieldValueRequired", "field": "fieldManager", "message": text})
    if "force" in query and not is_apply:
        text = "Forbidden: may not be specified for non-apply patch"
        raise _bad_options({"reason": "FieldValueForbidden", "field": "force", "message": text})
    if query.get("dryRun", "All") != "All":
        text = f'Unsupported value: "{query["dryRun"]}": supported values: "All"'
        raise _bad_options({"reason": "FieldValueNotSupported", "field": "dryRun", "message": text})
    agent = request.headers.get("User-Agent", "unknown").partition("/")[0]
    return Options(
        manager=(manager or agent)[:128],
        dry_run="dryRun" in query,
        validation=query.get("fieldValidation") or "Warn",
        force=query.get("force") in ("true", "1"),
        subresource=subresource,
    )


def deletion_options_of(request: web.Request, body: Any) -> Options:
    """Return how a deletion was asked for, in the query or in the body."""
    told = body if isinstance(body, dict) else {}
    preconditions = told.get("preconditions") or {}
    return Options(
        dry_run="All" in (told.get("dryRun") or [request.query.get("dryRun")]),
        propagation=told.get("propagationPolicy") or request.query.get("propagationPolicy") or "Background",
        uid=preconditions.get("uid") or "",
        resource_version=preconditions.get("resourceVersion") or "",
    )


async def body_of(request: web.Request, options: Options) -> Any:
    """Return the body, read from JSON or YAML; a name that stands twice is noted. Raises RefusedRequest."""
    if "protobuf" in request.content_type or "cbor" in request.content_type:
        text = f"this server reads JSON and YAML only, not {request.content_type}"
        raise RefusedRequest("UnsupportedMediaType", text)
    text = await request.text()
    try:
        body = _parsed(text, "yaml" in request.content_type)
    except (ValueError, yaml.YAMLError) as error:
        raise RefusedRequest("BadRequest", f"the body cannot be read: {error}") from error
    options.unknown.extend(f'duplicate field "{each}"' for each in _duplicates(body, ""))
    return body


def reply(body: bytes, status: int = 200, content_type: str = "application/json") -> web.Response:
    """Return an answer. Clients compare the content type as a whole: no charset in it."""
    return web.Response(body=body, status=status, headers={"Content-Type": content_type})


def refuse(refusal: RefusedRequest) -> web.Response:
    """Return the answer of a refusal."""
    return reply(encoded(refusal.body()), refusal.code)


class _Repeated(dict[str, Any]):
    """A mapping in which names stood twice."""

    names: list[str]


def _parsed(text: str, is_yaml: bool) -> Any:
    if is_yaml and not text.lstrip().startswith("{"):
        return yaml.load(text, _Loader)  # noqa: S506 - a safe loader
    return json.loads(text or "{}", object_pairs_hook=_mapping)


def _mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    repeated = _Repeated(found)
    names = [name for name, _ in pairs]
    repeated.names = sorted({name for name in names if names.count(name) > 1})
    return repeated


class _Loader(yaml.CSafeLoader):
    """Reads YAML as JSON: dates stay text, and names that stand twice are kept in mind."""


def _construct_mapping(loader: _Loader, node: yaml.MappingNode) -> dict[str, Any]:
    loader.flatten_mapping(node)
    read = loader.construct_object
    return _mapping([(str(read(name, deep=True)), read(value, deep=True)) for name, value in node.value])


_Loader.add_constructor("tag:yaml.org,2002:map", _construct_mapping)
_Loader.add_constructor("tag:yaml.org,2002:timestamp", lambda loader, node: node.value)


def _duplicates(value: Any, path: str) -> list[str]:
    found = []
    if isinstance(value, dict):
        if isinstance(value, _Repeated):
            found += [f"{path}.{name}".lstrip(".") for name in value.names]
        for name, each in value.items():
            if isinstance(each, dict | list):
                found += _duplicates(each, f"{path}.{name}".lstrip("."))
    elif isinstance(value, list):
        for number, each in enumerate(value):
            found += _duplicates(each, f"{path}[{number}]")
    return found


def _bad_options(cause: dict[str, str]) -> RefusedRequest:
    return invalid("PatchOptions", "meta.k8s.io", "", [cause])
