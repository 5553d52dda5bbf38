"""Getting, listing and watching."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from typing import Any

from aiohttp import web

from tallship.lab.clock import LabClock, wall
from tallship.lab.kube.errors import RefusedRequest, not_found
from tallship.lab.kube.objects import Change, Objects
from tallship.lab.kube.paths import Target
from tallship.lab.kube.tables import json_path, table

Document = dict[str, Any]
Lines = list[bytes]


class Reads:
    """Everything that changes nothing."""

    def __init__(self, objects: Objects, clock: LabClock) -> None:
        self._objects = objects
        self._clock = clock

    def get(self, request: web.Request, target: Target) -> Document:
        """Return one object, as a table where that is asked for. Raises RefusedRequest (NotFound)."""
        resource = target.resource
        found = self._objects.find(resource, target.namespace, target.name)
        if found is None:
            raise not_found(resource.plural, resource.group, target.name)
        if target.subresource == "scale":
            return self.scale(target)
        if _wants_table(request):
            return table(resource, [found], found["metadata"]["resourceVersion"], wall(self._clock))
        return found

    def scale(self, target: Target) -> Document:
        """Return the scale subresource."""
        found = self._objects.find(target.resource, target.namespace, target.name) or {}
        metadata = {key: value for key, value in found["metadata"].items() if key != "managedFields"}
        status = {
            "replicas": found.get("status", {}).get("replicas", 0),
            "selector": found.get("status", {}).get("selector", ""),
        }
        spec = {"replicas": found.get("spec", {}).get("replicas", 0)}
        return {"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata, "spec": spec, "status": status}

    def list(self, request: web.Request, target: Target) -> Document:
        """Return a collection, at most `limit` of it, in the form that is asked for."""
        matches = Selector(request)
        found = [each for each in self._objects.list(target.resource, target.namespace) if matches(each)]
        revision, metadata = str(self._objects.revision), {}
        limit = int(request.query.get("limit", "0") or 0)
        if request.query.get("continue"):
            start = json.loads(base64.b64decode(request.query["continue"]))
            revision, found = start["revision"], found[start["from"] :]
        else:
            start = {"from": 0}
        if limit and len(found) > limit:
            token = {"revision": revision, "from": start["from"] + limit}
            metadata = {
                "continue": base64.b64encode(json.dumps(token).encode()).decode(),
                "remainingItemCount": len(found) - limit,
            }
            found = found[:limit]
        if _wants_table(request):
            whole = table(target.resource, found, revision, wall(self._clock))
            whole["metadata"].update(metadata)
            return whole
        return {
            "kind": f"{target.resource.kind}List",
            "apiVersion": target.resource.api_version,
            "metadata": {"resourceVersion": revision, **metadata},
            "items": found,
        }

    async def watch(self, request: web.Request, target: Target) -> web.StreamResponse:
        """Stream changes until the client goes away."""
        queue = self._objects.watch(target.resource)
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        try:
            begun = self._beginning(request, target)
            await response.prepare(request)
            for line in begun:
                await response.write(line)
            last = self._objects.revision
            matches = Selector(request)
            while True:
                change = await queue.get()
                if change.revision <= last or target.namespace not in ("", change.new["metadata"].get("namespace")):
                    continue
                seen = _seen(change, matches)
                if seen is not None:
                    await response.write(seen)
        except (ConnectionError, asyncio.CancelledError):
            return response
        finally:
            self._objects.unwatch(target.resource, queue)

    def _beginning(self, request: web.Request, target: Target) -> Lines:
        """Return what a watch says first: what is there, what it has missed, or that it is too late."""
        matches, query = Selector(request), request.query
        revision = query.get("resourceVersion", "")
        initial = query.get("sendInitialEvents") == "true" or revision in ("", "0")
        if not initial:
            missed = self._objects.since(target.resource, int(revision))
            if missed is None:
                refusal = RefusedRequest("Expired", f"too old resource version: {revision} ({self._objects.revision})")
                return [_line("ERROR", refusal.body())]
            mine = [each for each in missed if target.namespace in ("", each.new["metadata"].get("namespace"))]
            return [line for each in mine if (line := _seen(each, matches)) is not None]
        there = [each for each in self._objects.list(target.resource, target.namespace) if matches(each)]
        lines = [_line("ADDED", each) for each in there]
        if query.get("sendInitialEvents") == "true" and query.get("allowWatchBookmarks") == "true":
            metadata = {
                "resourceVersion": str(self._objects.revision),
                "annotations": {"k8s.io/initial-events-end": "true"},
            }
            mark = {"kind": target.resource.kind, "apiVersion": target.resource.api_version, "metadata": metadata}
            lines.append(_line("BOOKMARK", mark))
        return lines


class Selector:
    """The label and field selectors of a request."""

    def __init__(self, request: web.Request) -> None:
        self._labels = _split(request.query.get("labelSelector", ""))
        self._fields = _split(request.query.get("fieldSelector", ""))

    def __call__(self, item: Document) -> bool:
        """True when the object has these labels and fields."""
        labels = item["metadata"].get("labels", {})
        return all(_label_matches(each, labels) for each in self._labels) and all(
            _field_matches(each, item) for each in self._fields
        )


def _split(text: str) -> list[str]:
    """Return the requirements of a selector; commas inside brackets separate values, not requirements."""
    return [each.strip() for each in re.split(r",(?![^()]*\))", text) if each.strip()]


def _label_matches(requirement: str, labels: Document) -> bool:
    if found := re.fullmatch(r"(\S+)\s+(in|notin)\s+\(([^)]*)\)", requirement):
        values = {each.strip() for each in found[3].split(",")}
        return (labels.get(found[1]) in values) == (found[2] == "in")
    if requirement.startswith("!"):
        return requirement[1:].strip() not in labels
    for sign, wanted in (("!=", False), ("==", True), ("=", True)):
        if sign in requirement:
            key, _, value = requirement.partition(sign)
            return (labels.get(key.strip()) == value.strip()) == wanted
    return requirement in labels


def _field_matches(requirement: str, item: Document) -> bool:
    key, sign, value = re.split(r"(!=|==|=)", requirement, maxsplit=1)
    return (str(json_path(item, f".{key.strip()}") or "") == value.strip()) == (sign != "!=")


def _seen(change: Change, matches: Selector) -> bytes | None:
    """Return a change as a watch with this selector sees it: objects that begin or cease to match come and go."""
    now = change.kind != "DELETED" and matches(change.new)
    before = change.old is not None and matches(change.old)
    if now:
        return _line("MODIFIED" if before else "ADDED", change.new)
    return _line("DELETED", change.new) if before else None


def _line(kind: str, item: Document) -> bytes:
    return json.dumps({"type": kind, "object": item}, separators=(",", ":")).encode() + b"\n"


def _wants_table(request: web.Request) -> bool:
    return "as=Table" in request.headers.get("Accept", "")
