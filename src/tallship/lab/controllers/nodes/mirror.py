"""What a part has seen of a Kubernetes API, and when it looks again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime

from tallship.lab.clock import EPOCH, LabClock, timestamp
from tallship.lab.controllers.informer import Informer
from tallship.lab.controllers.reconciler import UNREACHABLE
from tallship.lab.kubeclient import KubeClient, KubeRefused, Object

PASSING = (*UNREACHABLE, KubeRefused)
"""What a controller meets while an API server restarts or somebody else was faster: it tries again."""

_RETRY = 1.0
_AFTER_A_CRASH = 10.0

log = logging.getLogger(__name__)


class Mirror:
    """The objects of some kinds as one client sees them, kept current by watches, and who looks when they change."""

    def __init__(self, client: KubeClient, clock: LabClock, kinds: tuple[str, ...]) -> None:
        self.client = client
        self.clock = clock
        self._informers = {kind: Informer(client, kind, clock) for kind in kinds}
        self._listeners: list[asyncio.Event] = []
        for informer in self._informers.values():
            informer.on_change(lambda _old, _new: self.touch())

    @property
    def complete(self) -> bool:
        """True when every kind has been listed."""
        return all(informer.synced.is_set() for informer in self._informers.values())

    def list(self, kind: str, namespace: str = "") -> list[Object]:
        """Return the objects of a kind, in one namespace or in all, in the order of their names."""
        seen = self._informers[kind].items
        return [seen[key] for key in sorted(seen) if namespace in ("", key[0])]

    def get(self, kind: str, name: str, namespace: str = "") -> Object | None:
        """Return one object, or None when it is not there."""
        return self._informers[kind].items.get((namespace, name))

    def put(self, item: Object) -> Object:
        """Take in what a write answered, so that the next look does not act on what was before it."""
        self._informers[item["kind"]].put(item)
        return item

    def drop(self, item: Object) -> None:
        """Forget an object that was just deleted."""
        self._informers[item["kind"]].drop(item)

    async def run(self) -> None:
        """Keep watching until cancelled."""
        async with asyncio.TaskGroup() as watches:
            for informer in self._informers.values():
                watches.create_task(informer.run())
            for informer in self._informers.values():
                await informer.synced.wait()
            self.touch()

    async def keep(self, look: Callable[[], Awaitable[float | None]]) -> None:
        """Call `look` whenever something changed, or after the seconds it returned; until cancelled."""
        changed = asyncio.Event()
        changed.set()
        self._listeners.append(changed)
        try:
            due: float | None = None
            while True:
                await wait_for(changed, self.clock, due)
                changed.clear()
                due = await self._look(look) if self.complete else None
        finally:
            self._listeners.remove(changed)

    def touch(self) -> None:
        """Make every part that reads this mirror look again."""
        for listener in self._listeners:
            listener.set()

    async def _look(self, look: Callable[[], Awaitable[float | None]]) -> float | None:
        try:
            return await look()
        except PASSING:
            return _RETRY
        except Exception:
            log.exception("%s failed", look.__qualname__)
            return _AFTER_A_CRASH


async def wait_for(event: asyncio.Event, clock: LabClock, seconds: float | None) -> None:
    """Return when the event is set, or after so many modelled seconds (None: never)."""
    if event.is_set():
        return
    if seconds is None:
        await event.wait()
        return
    waits = [asyncio.ensure_future(event.wait()), asyncio.ensure_future(clock.sleep(seconds))]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)


def lab_seconds(text: str) -> float:
    """Return the lab time of an RFC 3339 timestamp."""
    return (datetime.fromisoformat(text) - EPOCH).total_seconds()


def seconds_left(clock: LabClock, since: str, duration: float) -> float:
    """Return how much of a duration that began at a timestamp is left; never negative."""
    return max(lab_seconds(since) + duration - clock.now(), 0.0)


def condition(item: Object, kind: str) -> Object:
    """Return a condition of an object's status; an empty dict when it has none of that type."""
    found: list[Object] = item.get("status", {}).get("conditions", [])
    return next((each for each in found if each["type"] == kind), {})


def with_condition(
    clock: LabClock, conditions: list[Object], kind: str, status: str, reason: str = "", message: str = ""
) -> list[Object]:
    """Return the conditions with one set; its transition time moves only when its status does."""
    old = next((each for each in conditions if each["type"] == kind), {})
    new: Object = {"type": kind, "status": status, "lastTransitionTime": timestamp(clock)}
    if old.get("status") == status:
        new["lastTransitionTime"] = old["lastTransitionTime"]
    new |= {key: text for key, text in (("reason", reason), ("message", message)) if text}
    return [new if each["type"] == kind else each for each in conditions] if old else [*conditions, new]


async def record_event(
    client: KubeClient, clock: LabClock, about: Object, source: str, reason: str, message: str
) -> None:
    """Put a Warning beside an object; one per reason, counted up when it comes again."""
    meta = about["metadata"]
    namespace = meta.get("namespace", "default")
    name = f"{meta['name']}.{reason.lower()}"
    old = await client.get("Event", name, namespace)
    event: Object = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": namespace},
        "involvedObject": {"kind": about["kind"], "name": meta["name"], "namespace": meta.get("namespace", "")},
        "type": "Warning",
        "reason": reason,
        "message": message,
        "source": {"component": source},
        "firstTimestamp": timestamp(clock),
        "lastTimestamp": timestamp(clock),
        "count": 1,
    }
    if old is None:
        await client.create(event)
    elif old.get("message") != message:
        await client.patch(event, {"message": message, "lastTimestamp": timestamp(clock), "count": old["count"] + 1})
