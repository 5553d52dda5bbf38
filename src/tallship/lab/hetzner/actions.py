"""Actions: what a request has begun and the lab ends later."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from tallship.lab.clock import LabClock, timestamp
from tallship.lab.hetzner.errors import Refused
from tallship.lab.hetzner.timers import Effect, Timers
from tallship.lab.hetzner.times import action_seconds
from tallship.lab.store import Document, Table

Resource = tuple[str, int]

LOCKING: Final = frozenset(
    {
        "create_server",
        "start_server",
        "stop_server",
        "reset_server",
        "rebuild_server",
        "change_server_type",
        "create_image",
        "enable_rescue",
        "disable_rescue",
    }
)
"""Commands whose action locks its server: until it ends, other changes of that server are refused."""


class Actions:
    """The project's actions. An effect that is refused ends its action with that error."""

    def __init__(
        self,
        table: Table,
        clock: LabClock,
        timers: Timers,
        effects: dict[str, Effect],
        next_id: Callable[[], int],
    ) -> None:
        self._table = table
        self._clock = clock
        self._timers = timers
        self._effects = effects
        self._next_id = next_id
        self._running = {key for key, action in table.items() if action["status"] == "running"}
        effects["finish_action"] = self._finish

    def begin(
        self, command: str, *resources: Resource, seconds: float = -1, effect: str = "", **arguments: Any
    ) -> Document:
        """Return a new running action; its effect comes when it ends, after the time of its command if not told."""
        lasts = action_seconds(command) if seconds < 0 else seconds
        action = {
            "id": self._next_id(),
            "command": command,
            "status": "running",
            "started": timestamp(self._clock),
            "finished": None,
            "resources": [{"id": key, "type": noun} for noun, key in resources],
            "error": None,
            "began": self._clock.now(),
            "due": self._clock.now() + lasts,
            "effect": effect,
            "arguments": arguments,
        }
        self._table[str(action["id"])] = action
        self._running.add(str(action["id"]))
        self._timers.set(lasts, "finish_action", action=action["id"])
        return self.rendered(action)

    def doom(self, key: int, code: str, message: str) -> None:
        """Let a running action end with an error and without its effect."""
        self._table[str(key)] = {**self._table[str(key)], "doom": {"code": code, "message": message}}

    def hold(self, key: int) -> None:
        """Let a running action run for ever."""
        self._table[str(key)] = {**self._table[str(key)], "is_held": True}

    def locks(self, server_id: int) -> bool:
        """True while an action holds the server."""
        held = {"id": server_id, "type": "server"}
        running = (self._table[key] for key in self._running)
        return any(action["command"] in LOCKING and held in action["resources"] for action in running)

    def of(self, noun: str, key: int | None = None) -> Iterable[Document]:
        """Return the actions of one resource, or of all resources of a noun."""
        for action in self._table.values():
            resources = action["resources"]
            if any(each["type"] == noun and key in (None, each["id"]) for each in resources):
                yield self.rendered(action)

    def find(self, key: object) -> Document | None:
        """Return the action with that id as the API shows it."""
        action = self._table.get(str(key))
        return self.rendered(action) if action else None

    def rendered(self, action: Document) -> Document:
        """Return an action as the API shows it; progress is the share of its time that has passed."""
        share = (self._clock.now() - action["began"]) / (action["due"] - action["began"] or 1)
        progress = 100 if action["status"] != "running" else min(int(share * 100), 99)
        shown = ("id", "command", "status", "started", "finished", "resources", "error")
        return {**{name: action[name] for name in shown}, "progress": progress}

    async def _finish(self, action: int) -> None:
        document = self._table[str(action)]
        if document.get("is_held"):
            return
        error = document.get("doom")
        if error is None and document["effect"]:
            try:
                await self._effects[document["effect"]](**document["arguments"])
            except Refused as refused:
                error = {"code": refused.code, "message": refused.message}
        ended = {"status": "error" if error else "success", "error": error, "finished": timestamp(self._clock)}
        self._running.discard(str(action))
        self._table[str(action)] = {**document, **ended}
