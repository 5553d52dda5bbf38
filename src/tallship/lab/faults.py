"""What goes wrong on purpose. Every fault is data, injected at the socket by the server that it names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from tallship.errors import SetupError
from tallship.lab.store import Store

PLACES: Final[Mapping[str, tuple[str, ...]]] = {
    "Hetzner": ("api", "route", "agent", "server_type", "location", "id", "action"),
    "Hetzner's actions": ("api", "route", "agent", "server_type", "location", "id", "action", "command"),
    "Kubernetes": ("api", "route", "agent", "server"),
    "Talos": ("api", "rpc", "machine", "agent"),
    "image factory": ("api", "route", "agent"),
    "machine": ("machine",),
    "this machine": (),
    "program": ("program", "command"),
}
"""Where something can go wrong, and what is known there of what is asked: only that can be matched."""

FACTS: Final[Mapping[str, str]] = {
    "api": "hetzner, kubernetes, talos or factory",
    "route": "method and path or plural, such as `POST /servers`, `GET clusters`, `GET /image`",
    "agent": "the client's program, such as tallship, helm or cluster-api-provider-hetzner",
    "server_type": "of a new server",
    "location": "of a new server",
    "id": "the id in the path",
    "action": "the action's id in the path",
    "command": "the action's command, or the first word after the program's name",
    "server": "which API server: its name in the lab",
    "rpc": "the call, such as EtcdMemberList",
    "machine": "its host name",
    "program": "kind, docker, clusterctl or helm",
}
"""What the words to match mean."""


@dataclass(frozen=True)
class Kind:
    """One way in which things go wrong."""

    does: str
    places: tuple[str, ...]
    values: tuple[str, ...] = ()
    """What can be said of how it happens."""


_HTTP = ("Hetzner", "Kubernetes", "image factory")
_APIS = ("Hetzner", "Kubernetes", "Talos", "image factory")

KINDS: Final[Mapping[str, Kind]] = {
    "slow": Kind("the answer takes 30 s longer", _APIS, ("seconds",)),
    "reset": Kind("the connection is cut before the request acts", _APIS),
    "lost-answer": Kind(
        "the request acts, then the connection is cut, so many `seconds` later",
        ("Hetzner", "Kubernetes", "Talos"),
        ("seconds",),
    ),
    "truncated": Kind("the request acts, and half of the answer arrives", _HTTP),
    "malformed": Kind(
        "the request acts, and the answer is something else: a web page, or the `body`, with a `status` of its own",
        (*_HTTP, "Talos"),
        ("body", "status"),
    ),
    "server-error": Kind(
        "refused: an error of the server's own; with a `status` of 500, 503 or 504",
        _APIS,
        ("message", "details", "status"),
    ),
    "unauthorized": Kind(
        "refused: the token, certificate or role is not accepted",
        ("Hetzner", "Kubernetes", "Talos"),
        ("message", "details"),
    ),
    "rate-limit": Kind(
        "refused: 429; with `bare` without the headers that tell of the limit",
        ("Hetzner", "Kubernetes"),
        ("message", "details", "bare"),
    ),
    "locked": Kind("refused: 423, another action is running", ("Hetzner",), ("message", "details")),
    "no-capacity": Kind(
        "a server cannot be had; with `listed` the catalogue says so too",
        ("Hetzner",),
        ("message", "details", "listed"),
    ),
    "token-readonly": Kind("a change is refused: the token may only read", ("Hetzner",), ("message", "details")),
    "quota": Kind("refused: the project's limit is reached", ("Hetzner",), ("message", "details")),
    "unlisted": Kind("what a request has made is in no list for 10 s", ("Hetzner",), ("seconds",)),
    "action-error": Kind("what a request has begun ends in an error", ("Hetzner's actions",), ("code", "message")),
    "action-stuck": Kind("what a request has begun never ends", ("Hetzner's actions",)),
    "conflict": Kind("refused: 409, somebody else was faster", ("Hetzner", "Kubernetes"), ("message", "details")),
    "watch-cut": Kind("a watch is cut when it begins", ("Kubernetes",)),
    "no-image": Kind("404 for an image", ("image factory",)),
    "short-image": Kind("an image ends halfway", ("image factory",)),
    "cut-image": Kind("the connection is cut halfway through an image", ("image factory",)),
    "no-rescue": Kind("a builder never boots its rescue system", ("machine",)),
    "ssh-refused": Kind("a rescue system refuses SSH for a minute more", ("machine",), ("seconds",)),
    "disk-too-small": Kind("a builder's disk is full before the image ends", ("machine",)),
    "machine-never-boots": Kind("a machine that gets power, or boots again, stays dark", ("machine",)),
    "kubelet-fails": Kind("a machine that boots again has no kubelet", ("machine",)),
    "upgrade-fails": Kind("the installer of a Talos upgrade fails on the machine", ("machine",)),
    "etcd-member-unhealthy": Kind("the machine's etcd says that it is sick", ("machine",)),
    "image-pull": Kind("the registry refuses to give a machine an image", ("machine",)),
    "program-slow": Kind("a program takes 60 s longer", ("program",), ("seconds",)),
    "program-fails": Kind("a program does nothing and fails", ("program",), ("stderr", "status")),
    "program-killed": Kind(
        "a program is killed, at once or so many `seconds` into its work", ("program",), ("seconds",)
    ),
    "program-hangs": Kind("a program does nothing until it is told to end", ("program",)),
    "other-address": Kind(
        "this machine's public address is another one, until it is cleared", ("this machine",), ("address",)
    ),
    "docker-down": Kind("the container engine does not run", ("program",)),
}
"""Everything that can go wrong, by its name."""


@dataclass
class Fault:
    """One thing that goes wrong `times` times (0 = until it is cleared)."""

    name: str
    """What goes wrong: one of `KINDS`."""
    match: dict[str, str] = field(default_factory=dict)
    """Where: every pair must equal what the server says of the request, e.g. `{"route": "POST /servers"}`."""
    values: dict[str, Any] = field(default_factory=dict)
    """How: e.g. `{"seconds": 30}`."""
    times: int = 1

    def check(self) -> None:
        """Raise SetupError, with a hint at what there is, for a fault that could never happen as it is told."""
        kind = KINDS.get(self.name)
        if kind is None:
            raise SetupError(f"there is no fault `{self.name}`", hint=f"there are: {', '.join(KINDS)}")
        known = [PLACES[place] for place in kind.places]
        if not any(set(self.match) <= set(facts) for facts in known):
            together = "; or ".join(", ".join(facts) for facts in known)
            raise SetupError(
                f"`{self.name}` cannot be matched by {_listed(self.match)}", hint=f"it knows, together: {together}"
            )
        if unknown := set(self.values) - set(kind.values):
            what = f"it knows {', '.join(kind.values)}" if kind.values else "it takes none"
            raise SetupError(f"`{self.name}` has no value {_listed(unknown)}", hint=what)
        for key in {"seconds", "status"} & set(self.values):
            if not isinstance(self.values[key], int | float):
                raise SetupError(f"`{key}` of `{self.name}` is not a number", hint=f"for example {key}=30")
        if self.times < 0:
            raise SetupError("a fault cannot happen less than no times", hint="0 means: until it is cleared")


def _listed(words: Mapping[str, Any] | set[str]) -> str:
    return " and ".join(f"`{word}`" for word in sorted(words))


class Faults:
    """The faults that are waiting to happen, in the order in which they were set."""

    def __init__(self, store: Store) -> None:
        self._table = store.table("faults")
        self._store = store

    def add(self, fault: Fault) -> str:
        """Remember a fault; returns its id. Raises SetupError for one that could never happen."""
        fault.check()
        key = str(self._store.next_id("fault"))
        self._table[key] = asdict(fault)
        return key

    def clear(self, name: str = "") -> int:
        """Forget all faults, or all of one name; returns how many."""
        gone = [key for key, fault in self._table.items() if name in ("", fault["name"])]
        for key in gone:
            del self._table[key]
        return len(gone)

    def list(self) -> list[Fault]:
        """Return what is waiting to happen."""
        return [Fault(**fault) for fault in self._table.values()]

    def standing(self, name: str) -> Fault | None:
        """Return the first fault of that name without using it up: a state of things, not an event."""
        return next((fault for fault in self.list() if fault.name == name), None)

    def take(self, name: str, **facts: str) -> Fault | None:
        """Return the first fault of that name that matches the facts, and use it up once."""
        for key, body in self._table.items():
            fault = Fault(**body)
            if fault.name != name or any(facts.get(k) != v for k, v in fault.match.items()):
                continue
            if fault.times == 1:
                del self._table[key]
            elif fault.times > 1:
                self._table[key] = {**body, "times": fault.times - 1}
            return fault
        return None
