"""From a request to the change that it asks for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from aiohttp import web

from tallship.lab.kube import patch
from tallship.lab.kube.documents import copied
from tallship.lab.kube.errors import RefusedRequest
from tallship.lab.kube.objects import Objects
from tallship.lab.kube.options import Options
from tallship.lab.kube.paths import Target
from tallship.lab.kube.reads import scale
from tallship.lab.kube.requests import APPLY, body_of, deletion_options_of, options_of
from tallship.lab.kube.selectors import Matches, selector
from tallship.lab.kube.writes import Writes

Document = dict[str, Any]
Answer = tuple[Document, int]

MERGE = "application/merge-patch+json"
JSON = "application/json-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"


@dataclass(frozen=True)
class Ask:
    """A change that has been read and not made yet: nothing waits between `make` and its end."""

    make: Callable[[], Answer]
    """Makes the change; returns the document to answer with, and the HTTP status."""
    options: Options

    def warnings(self) -> list[str]:
        """Return what the client is to be told beside the answer."""
        found = self.options.unknown if self.options.validation == "Warn" else []
        return [each.replace('"', '\\"') for each in found]


class Changes:
    """Reads the requests that change something."""

    def __init__(self, objects: Objects, writes: Writes) -> None:
        self._objects = objects
        self._writes = writes

    async def read(self, request: web.Request, target: Target) -> Ask:
        """Return what a request asks for. Raises RefusedRequest."""
        if request.method == "DELETE":
            body = await body_of(request, Options()) if request.can_read_body else {}
            options = deletion_options_of(request, body)
            matches = selector(request.query, target.resource)
            return Ask(partial(self._delete, target, options, matches), Options())
        options_ = options_of(request, target.subresource)
        body = await body_of(request, options_)
        if request.method == "POST" and not target.name:
            return Ask(partial(self._create, target, body, options_), options_)
        if request.method == "POST" and target.subresource == "binding":
            return Ask(partial(self._bind, target, body, options_), options_)
        if request.method == "POST" and target.subresource == "eviction":
            return Ask(partial(self._evict, target, options_), options_)
        if request.method == "PUT" and target.name:
            change: Callable[[Document], Document] = lambda _: body  # noqa: E731 - a scale is replaced like a patch
            make = self._scale if target.subresource == "scale" else self._update
            return Ask(partial(make, target, change if make == self._scale else body, options_), options_)
        if request.method == "PATCH" and target.name:
            return Ask(self._patching(request.content_type, target, body, options_), options_)
        raise RefusedRequest("MethodNotAllowed", "the server does not allow this method on the requested resource")

    def _patching(self, content_type: str, target: Target, body: Any, options: Options) -> Callable[[], Answer]:
        if content_type == APPLY and target.subresource != "scale":
            return partial(self._apply, target, body, options)
        changes: dict[str, Callable[[Any], Any]] = {
            MERGE: lambda old: patch.merge_patch(old, body),
            JSON: lambda old: patch.json_patch(old, body),
        }
        if not target.resource.is_custom:
            changes[STRATEGIC] = lambda old: patch.strategic_patch(old, body, target.resource.schema)
        if content_type not in changes:
            accepted = ", ".join((*changes, APPLY))
            text = f"the body of the request was in an unknown format - accepted media types include: {accepted}"
            raise RefusedRequest("UnsupportedMediaType", text)
        return partial(self._patch, target, changes[content_type], options)

    def _create(self, target: Target, body: Any, options: Options) -> Answer:
        namespace = target.namespace
        if target.resource.namespaced and not namespace:
            raise RefusedRequest("MethodNotAllowed", "an object of this kind is created in a namespace")
        return self._writes.create(target.resource, namespace, body, options), 201

    def _update(self, target: Target, body: Any, options: Options) -> Answer:
        return self._writes.update(target.resource, target.namespace, target.name, body, options), 200

    def _apply(self, target: Target, body: Any, options: Options) -> Answer:
        there = self._objects.find(target.resource, target.namespace, target.name)
        stored = self._writes.apply(target.resource, target.namespace, target.name, body, options)
        return stored, 200 if there else 201

    def _patch(self, target: Target, change: Callable[[Document], Document], options: Options) -> Answer:
        if target.subresource == "scale":
            return self._scale(target, change, options)
        return self._writes.patch(target.resource, target.namespace, target.name, change, options), 200

    def _scale(self, target: Target, change: Callable[[Document], Document], options: Options) -> Answer:
        def resized(item: Document) -> Document:
            wanted = change(copied(scale(item)))
            version = (wanted.get("metadata") or {}).get("resourceVersion")
            metadata = {**item["metadata"], **({"resourceVersion": version} if version else {})}
            return {**item, "metadata": metadata, "spec": {**item["spec"], "replicas": wanted["spec"]["replicas"]}}

        stored = self._writes.patch(target.resource, target.namespace, target.name, resized, options)
        return scale(stored), 200

    def _bind(self, target: Target, body: Any, options: Options) -> Answer:
        """Give a Pod its node."""
        pod, node = self._objects.get(target.resource, target.namespace, target.name), body["target"]["name"]
        if taken := pod["spec"].get("nodeName"):
            text = f'Operation cannot be fulfilled on pods/binding "{target.name}": pod {target.name}'
            raise RefusedRequest("Conflict", f'{text} is already assigned to node "{taken}"')
        bound = {**pod, "spec": {**pod["spec"], "nodeName": node}}
        self._writes.patch(target.resource, target.namespace, target.name, lambda _: bound, options)
        return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}, 201

    def _evict(self, target: Target, options: Options) -> Answer:
        """Delete a Pod; no disruption budget stands in the way, since there are none here."""
        self._writes.delete(target.resource, target.namespace, target.name, options)
        return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}, 201

    def _delete(self, target: Target, options: Options, matches: Matches) -> Answer:
        if target.name:
            return self._writes.delete(target.resource, target.namespace, target.name, options), 200
        gone = [each for each in self._objects.list(target.resource, target.namespace) if matches(each)]
        for each in gone:
            metadata = each["metadata"]
            self._writes.delete(target.resource, metadata.get("namespace", ""), metadata["name"], options)
        kind = {"kind": f"{target.resource.kind}List", "apiVersion": target.resource.api_version}
        return {**kind, "metadata": {"resourceVersion": str(self._objects.revision)}, "items": gone}, 200
