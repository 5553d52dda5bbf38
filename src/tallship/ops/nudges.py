"""Controllers are told, once, of an event that they would otherwise see at their next poll.

A changed annotation makes a controller look at its object at once. Nothing is told on a timer: each look of CAPH costs
calls of the project's hourly limit at Hetzner.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tallship.engine import Seen, State
from tallship.env import Env
from tallship.ops.kinds import CLUSTER, CONTROL_PLANE, HETZNER_CLUSTER

Document = dict[str, Any]

ANNOTATION = "tallship.dev/nudge"
REMEMBERED = 50
"""How many events the annotation remembers."""

LISTENERS = {"CAPI": CLUSTER, "CAPH": HETZNER_CLUSTER, "CACPPT": CONTROL_PLANE}
"""Which object each controller looks at; CAPH then looks at all machines of its HetznerCluster too."""


@dataclass(frozen=True)
class News:
    """Events that the controller of an object should hear of; there is nobody to tell while that is None."""

    listener: str
    live: Document | None
    events: list[str]

    @property
    def untold(self) -> list[str]:
        """The events that the object does not remember."""
        return [event for event in self.events if self.live is not None and event not in _told(self.live)]


def see(detail: str, *news: News) -> Seen:
    """Return MISSING with the first controller that has not heard of everything, else WORKING."""
    for each in news:
        if each.untold:
            return Seen(State.MISSING, detail, change=f"tell {each.listener}: {' '.join(each.untold)}")
    return Seen(State.WORKING, detail)


def is_news(seen: Seen) -> bool:
    """True when the change is to tell a controller something."""
    return seen.change.startswith("tell ")


def tell(env: Env, seen: Seen) -> None:
    """Change the annotation where the listener of `seen` looks; it names every event so far, each once."""
    listener, events = seen.change.removeprefix("tell ").split(": ")
    kind = LISTENERS[listener]
    name = env.spec.names.control_plane if kind == CONTROL_PLANE else env.spec.name
    live = env.home.find(*kind, name, "default")
    told = [*(_told(live) if live else []), *events.split()]
    change = {"metadata": {"annotations": {ANNOTATION: " ".join(told[-REMEMBERED:])}}}
    env.home.patch(*kind, name, "default", change)


def _told(live: Document) -> list[str]:
    return str((live["metadata"].get("annotations") or {}).get(ANNOTATION, "")).split()
