"""Getting and listing."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

from aiohttp import web

from tallship.lab.clock import LabClock
from tallship.lab.kube.documents import encoded
from tallship.lab.kube.errors import RefusedRequest
from tallship.lab.kube.objects import Objects, key_of
from tallship.lab.kube.paths import Target
from tallship.lab.kube.selectors import selector
from tallship.lab.kube.shapes import Shape

Document = dict[str, Any]


class Reads:
    """Everything that is answered at once and changes nothing; answers are JSON text."""

    def __init__(self, objects: Objects, clock: LabClock) -> None:
        self._objects = objects
        self._clock = clock

    def get(self, request: web.Request, target: Target) -> bytes:
        """Return one object in the form that is asked for. Raises RefusedRequest (NotFound)."""
        found = self._objects.get(target.resource, target.namespace, target.name)
        if target.subresource == "scale":
            return encoded(scale(found))
        return Shape(request, target.resource, self._clock).one(found)

    def list(self, request: web.Request, target: Target) -> bytes:
        """Return a collection, at most `limit` of it, in the form that is asked for."""
        matches = selector(request.query, target.resource)
        revision, after = self._continued(request.query.get("continue", ""))
        found = [each for each in self._objects.list(target.resource, target.namespace, after) if matches(each)]
        metadata: Document = {"resourceVersion": str(revision)}
        limit = _number(request.query.get("limit", ""), "limit")
        if limit and len(found) > limit:
            metadata["continue"] = _token(revision, key_of(found[limit - 1]))
            if "labelSelector" not in request.query and "fieldSelector" not in request.query:
                metadata["remainingItemCount"] = len(found) - limit
            found = found[:limit]
        return Shape(request, target.resource, self._clock).list(found, metadata)

    def _continued(self, token: str) -> tuple[int, str]:
        """Return the revision of the list and the key after which it goes on."""
        if not token:
            return self._objects.revision, ""
        try:
            start = json.loads(base64.urlsafe_b64decode(token))
            revision, after = int(start["rv"]), str(start["start"])
        except (ValueError, KeyError, TypeError, binascii.Error) as error:
            raise RefusedRequest("BadRequest", f"continue key is not valid: {error}") from error
        if self._objects.is_compacted(revision):
            text = "The provided continue parameter is too old to display a consistent list result."
            raise RefusedRequest("Expired", text)
        return revision, after


def scale(item: Document) -> Document:
    """Return an object's scale subresource."""
    names = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    spec, status = item.get("spec", {}), item.get("status", {})
    selected = status.get("selector", "")
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {key: item["metadata"][key] for key in names if key in item["metadata"]},
        "spec": {"replicas": spec.get("replicas", 0)},
        "status": {"replicas": status.get("replicas", 0), **({"selector": selected} if selected else {})},
    }


def _token(revision: int, last: str) -> str:
    return base64.urlsafe_b64encode(
        json.dumps({"v": "meta.k8s.io/v1", "rv": revision, "start": last}).encode()
    ).decode()


def _number(text: str, name: str) -> int:
    try:
        return int(text or 0)
    except ValueError as error:
        raise RefusedRequest("BadRequest", f"{name} is no number: {text}") from error
