"""What a controller knows of an API: live copies of its objects, kept by watches, and writes that are seen at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable

from tallship.lab.clock import LabClock, timestamp
from tallship.lab.controllers.patch import guards, main_patch, status_patches
from tallship.lab.controllers.reconciler import UNREACHABLE, Controller, Key, ReconcileFailed
from tallship.lab.kubeclient import KubeClient, KubeRefused, Object

RELIST = 5.0
"""Seconds before a watch that broke is begun again."""

Handler = Callable[[Object | None, Object | None], None]
"""Is told of every change: the object before and after; None where there is none."""


class Informer:
    """A live copy of all objects of one kind."""

    def __init__(self, client: KubeClient, kind: str, clock: LabClock) -> None:
        self.kind = kind
        self.items: dict[Key, Object] = {}
        self.synced = asyncio.Event()
        self._client = client
        self._clock = clock
        self._handlers: list[Handler] = []
        self._gone: set[str] = set()

    def on_change(self, handler: Handler) -> None:
        """Tell this handler of every change from now on."""
        self._handlers.append(handler)

    async def run(self) -> None:
        """Follow the API until cancelled."""
        while True:
            try:
                self._replace(await self._client.list(self.kind))
                self.synced.set()
                async for event, item in self._client.watch(self.kind):
                    if event == "DELETED":
                        self.drop(item)
                    else:
                        self.put(item)
            except (KubeRefused, *UNREACHABLE):
                pass  # the API is down, or does not serve this kind yet
            await self._clock.sleep(RELIST)

    def put(self, item: Object) -> None:
        """Take in an object as the API has stored it; older versions and deleted objects are ignored."""
        item["metadata"].pop("managedFields", None)  # the largest part, and no controller reads it
        key, old = _key(item), self.items.get(_key(item))
        if item["metadata"]["uid"] in self._gone or (old is not None and _version(old) >= _version(item)):
            return
        if _is_gone(item["metadata"]):
            self.drop(item)
            return
        self.items[key] = item
        self._tell(old, item)

    def drop(self, item: Object) -> None:
        """Take in that an object is gone."""
        self._gone.add(item["metadata"]["uid"])
        old = self.items.get(_key(item))
        if old is not None and old["metadata"]["uid"] == item["metadata"]["uid"]:
            del self.items[_key(item)]
            self._tell(old, None)

    def _replace(self, items: list[Object]) -> None:
        there = {each["metadata"]["uid"] for each in items}
        for item in list(self.items.values()):
            if item["metadata"]["uid"] not in there:
                self.drop(item)
        for item in items:
            self.put(item)

    def _tell(self, old: Object | None, new: Object | None) -> None:
        for handler in self._handlers:
            handler(old, new)


class CachedApi:
    """One API server as a controller's process sees it: reads come from watches, writes go to the server."""

    def __init__(self, client: KubeClient, clock: LabClock) -> None:
        self.client = client
        self.clock = clock
        self.informers: dict[str, Informer] = {}
        self._events: dict[tuple[str, str, str], Object] = {}

    def now(self) -> str:
        """Return lab time as objects write it."""
        return timestamp(self.clock)

    def follow(self, kind: str) -> Informer:
        """Return the live copy of a kind; it is filled once `run` runs."""
        if kind not in self.informers:
            self.informers[kind] = Informer(self.client, kind, self.clock)
        return self.informers[kind]

    def get(self, kind: str, name: str, namespace: str = "") -> Object | None:
        """Return one object that is followed, or None. It is shared: whoever changes it copies it first."""
        return self.informers[kind].items.get((namespace, name))

    def list(self, kind: str, namespace: str, labels: dict[str, str] | None = None) -> list[Object]:
        """Return the objects of a followed kind in a namespace that have these labels, by name; shared, too."""
        return [
            item
            for (space, _), item in sorted(self.informers[kind].items.items())
            if space == namespace and (labels or {}).items() <= item["metadata"].get("labels", {}).items()
        ]

    async def create(self, item: Object) -> Object:
        """Create an object and return it as stored."""
        return self._seen(item["kind"], await self.client.create(item))

    async def apply(self, item: Object, manager: str) -> Object:
        """Server-side apply, against other managers too, and return the object as stored."""
        return self._seen(item["kind"], await self.client.apply(item, manager))

    async def delete(self, item: Object) -> None:
        """Ask for an object's deletion; one that is gone already is fine."""
        meta = item["metadata"]
        await self.client.delete(item["kind"], meta["name"], meta.get("namespace", ""))

    async def save(self, before: Object, after: Object) -> Object:
        """Send what changed: conditions first, then metadata and spec, then the rest of the status.

        Cluster API: its patch helper sends these three, in this order.
        """
        meta = before["metadata"]
        stored = self.informers[before["kind"]].items.get((meta.get("namespace", ""), meta["name"]), before)
        conditions, status = status_patches(before, after, stored)
        if conditions:
            stored = await self._patch(stored, conditions, "status")
        if main := main_patch(before, after):
            stored = await self._patch(stored, _guarded(main, before, stored), "")
            if stored["metadata"].get("deletionTimestamp") and not stored["metadata"].get("finalizers"):
                return stored
        if status:
            stored = await self._patch(stored, status, "status")
        return stored

    async def event(self, about: Object, reason: str, message: str, source: str, kind: str = "Normal") -> None:
        """Record an Event about an object; the same one again only counts."""
        identity = (about["metadata"]["uid"], reason, message)
        known = self._events.get(identity)
        try:
            if known is None:
                self._events[identity] = await self.client.create(self._new_event(about, reason, message, source, kind))
            else:
                change = {"count": known["count"] + 1, "lastTimestamp": self.now()}
                self._events[identity] = await self.client.patch(known, change)
        except KubeRefused:
            self._events.pop(identity, None)  # Events are not worth a failure

    async def run(self) -> None:
        """Follow everything until cancelled."""
        async with asyncio.TaskGroup() as group:
            for informer in self.informers.values():
                group.create_task(informer.run())

    async def wait_synced(self) -> None:
        """Return when every followed kind has been listed once."""
        for informer in self.informers.values():
            await informer.synced.wait()

    async def _patch(self, item: Object, body: Object, subresource: str) -> Object:
        return self._seen(item["kind"], await self.client.patch(item, body, "merge", subresource))

    def _seen(self, kind: str, stored: Object) -> Object:
        if kind in self.informers:
            self.informers[kind].put(stored)
        return stored

    def _new_event(self, about: Object, reason: str, message: str, source: str, kind: str) -> Object:
        meta, now = about["metadata"], self.now()
        number = sum(1 for uid, _, _ in self._events if uid == meta["uid"])
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {
                "name": f"{meta['name']}.{int(self.clock.now() * 1000):x}.{number}",
                "namespace": meta.get("namespace") or "default",
            },
            "involvedObject": {
                "apiVersion": about["apiVersion"],
                "kind": about["kind"],
                "name": meta["name"],
                "namespace": meta.get("namespace", ""),
                "uid": meta["uid"],
            },
            "reason": reason,
            "message": message,
            "type": kind,
            "source": {"component": source},
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }


Mapper = Callable[[Object], Iterable[Key]]
Significant = Callable[[Object | None, Object | None], bool]


class ProviderProcess:
    """One provider's process: its controllers, all of one API server."""

    def __init__(self, client: KubeClient, clock: LabClock) -> None:
        self.api = CachedApi(client, clock)
        self.clock = clock
        self._controllers: list[Controller] = []
        self._background: list[Callable[[], Coroutine[None, None, None]]] = []

    def add(self, controller: Controller) -> Controller:
        """Run this controller too."""
        self._controllers.append(controller)
        return controller

    def watch(self, kind: str, controller: Controller, keys: Mapper, significant: Significant | None = None) -> None:
        """Wake the controller for `keys(object)` whenever an object of the kind changes significantly."""

        def handle(old: Object | None, new: Object | None) -> None:
            if significant is None or significant(old, new):
                controller.add(keys(new or old or {}))

        self.api.follow(kind).on_change(handle)

    def beside(self, body: Callable[[], Coroutine[None, None, None]]) -> None:
        """Run this beside the controllers, once everything has been listed."""
        self._background.append(body)

    async def run(self) -> None:
        """Run until cancelled; raises an ExceptionGroup of ProviderCrashed when the process dies."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self.api.run())
                await self.api.wait_synced()
                for body in (*self._background, *(each.run for each in self._controllers)):
                    group.create_task(body())
        finally:
            for controller in self._controllers:
                controller.queue.close()


def itself(item: Object) -> list[Key]:
    """Return the object's own key."""
    return [_key(item)]


def owners(kind: str) -> Mapper:
    """Return a mapper to the owners of that kind."""

    def keys(item: Object) -> list[Key]:
        references = item["metadata"].get("ownerReferences", [])
        return [(item["metadata"].get("namespace", ""), each["name"]) for each in references if each["kind"] == kind]

    return keys


def beyond_status(old: Object | None, new: Object | None) -> bool:
    """True when more than the status changed (CAPH's predicates let only such changes through)."""
    if old is None or new is None:
        return True
    return _without_status(old) != _without_status(new)


def _guarded(patch: Object, before: Object, stored: Object) -> Object:
    """Return the patch with the version it is based on, where a stale copy would lose an entry of a list."""
    touched = guards(patch)
    if not touched:
        return patch
    if any(before["metadata"].get(key) != stored["metadata"].get(key) for key in touched):
        raise ReconcileFailed(f"{before['kind']} {before['metadata']['name']} changed meanwhile")
    return {**patch, "metadata": {**patch["metadata"], "resourceVersion": stored["metadata"]["resourceVersion"]}}


def _without_status(item: Object) -> Object:
    metadata = {key: value for key, value in item["metadata"].items() if key != "resourceVersion"}
    return {**item, "metadata": metadata, "status": None}


def _is_gone(metadata: Object) -> bool:
    """True for what nothing holds any more; a Pod that has been given time to end is still there."""
    held = metadata.get("finalizers") or metadata.get("deletionGracePeriodSeconds")
    return "deletionTimestamp" in metadata and not held


def _key(item: Object) -> Key:
    return item["metadata"].get("namespace", ""), item["metadata"]["name"]


def _version(item: Object) -> int:
    return int(item["metadata"]["resourceVersion"])
