"""Watching: every change of a resource as a stream of JSON lines."""

from __future__ import annotations

import asyncio
from contextvars import Context
from typing import Any

from aiohttp import web

from tallship.lab.clock import LabClock
from tallship.lab.kube.documents import encoded
from tallship.lab.kube.errors import RefusedRequest
from tallship.lab.kube.objects import Change, Objects
from tallship.lab.kube.paths import Target
from tallship.lab.kube.selectors import selector
from tallship.lab.kube.shapes import Shape

Document = dict[str, Any]
Lines = list[bytes]

BOOKMARK_SECONDS = 60
"""Kubernetes: about once a minute a watch that allows bookmarks is told how far it has come."""


class Watches:
    """Streams of changes."""

    def __init__(self, objects: Objects, clock: LabClock) -> None:
        self._objects = objects
        self._clock = clock

    async def serve(self, request: web.Request, target: Target) -> web.StreamResponse:
        """Stream changes until the client goes away, or its `timeoutSeconds` have passed."""
        watch = Watch(request, target, self._objects, self._clock)
        queue = self._objects.watch(target.resource)
        ticks = asyncio.get_running_loop().create_task(self._tick(watch, queue), context=Context())
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        try:
            begun = watch.beginning()
            await response.prepare(request)
            for line in begun:
                await response.write(line)
            while not watch.is_over and (change := await queue.get()) is not None:
                text = watch.line(change) if isinstance(change, Change) else change
                if text is not None:
                    await response.write(text)
        except ConnectionError:
            pass
        finally:
            ticks.cancel()
            self._objects.unwatch(target.resource, queue)
        return response

    async def _tick(self, watch: Watch, queue: asyncio.Queue[Any]) -> None:
        """Put bookmarks into the queue, and None when the watch has lasted long enough."""
        end = self._clock.now() + watch.seconds if watch.seconds else None
        while end or watch.wants_bookmarks:
            pause = BOOKMARK_SECONDS if watch.wants_bookmarks else watch.seconds
            await self._clock.sleep(min(pause, end - self._clock.now()) if end else pause)
            if watch.wants_bookmarks:
                queue.put_nowait(watch.bookmark())
            if end and self._clock.now() >= end:
                queue.put_nowait(None)
                return


class Watch:
    """What one watch wants to see."""

    def __init__(self, request: web.Request, target: Target, objects: Objects, clock: LabClock) -> None:
        query = request.query
        self._objects = objects
        self._target = target
        self._shape = Shape(request, target.resource, clock)
        self._matches = selector(query, target.resource)
        self._from = query.get("resourceVersion", "")
        self._asks_for_all = query.get("sendInitialEvents") == "true"
        self._seen = 0
        self.is_over = False
        self.wants_bookmarks = query.get("allowWatchBookmarks") in ("true", "1")
        self.seconds = int(query.get("timeoutSeconds", "0") or 0)

    def beginning(self) -> Lines:
        """Return what a watch says first: what is there, what it has missed, or that it is too late."""
        revision, self._seen = self._objects.revision, self._objects.revision
        if not self._asks_for_all and self._from not in ("", "0"):
            return self._missed(revision)
        there = self._objects.list(self._target.resource, self._target.namespace)
        lines = [self._line("ADDED", self._shape.one(each)) for each in there if self._matches(each)]
        if self._asks_for_all and self.wants_bookmarks:
            lines.append(self.bookmark({"k8s.io/initial-events-end": "true"}))
        return lines

    def line(self, change: Change) -> bytes | None:
        """Return a change as this watch sees it, if at all: objects that begin or cease to match come and go."""
        if change.revision <= self._seen or not self._is_near(change):
            return None
        now = change.kind != "DELETED" and self._matches(change.new)
        before = change.old is not None and self._matches(change.old)
        if not now and not before:
            return None
        kind = ("MODIFIED" if before else "ADDED") if now else "DELETED"
        return self._line(kind, self._shape.one(change.new))

    def bookmark(self, annotations: Document | None = None) -> bytes:
        """Return the line that says how far the watch has come."""
        metadata: Document = {"resourceVersion": str(self._objects.revision), "creationTimestamp": None}
        if annotations:
            metadata["annotations"] = annotations
        resource = self._target.resource
        return self._line(
            "BOOKMARK", encoded({"kind": resource.kind, "apiVersion": resource.api_version, "metadata": metadata})
        )

    def _missed(self, revision: int) -> Lines:
        if not self._from.isdigit():
            raise RefusedRequest("BadRequest", f"invalid resource version: {self._from}")
        missed = self._objects.since(self._target.resource, int(self._from))
        if missed is None:
            self.is_over = True
            refusal = RefusedRequest("Expired", f"too old resource version: {self._from} ({revision})")
            return [self._line("ERROR", encoded(refusal.body()))]
        self._seen = int(self._from)
        lines = [line for each in missed if (line := self.line(each)) is not None]
        self._seen = revision
        return lines

    def _is_near(self, change: Change) -> bool:
        return self._target.namespace in ("", change.new["metadata"].get("namespace"))

    @staticmethod
    def _line(kind: str, body: bytes) -> bytes:
        return b'{"type":"' + kind.encode() + b'","object":' + body + b"}\n"
