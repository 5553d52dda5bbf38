"""One Hetzner project: its resources in the store, and what all nouns of the API share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, TypeVar

from tallship.lab.births import Births
from tallship.lab.clock import LabClock, timestamp
from tallship.lab.faults import Faults
from tallship.lab.hetzner.actions import Actions
from tallship.lab.hetzner.errors import Refused, invalid, not_found
from tallship.lab.hetzner.hardware import Hardware
from tallship.lab.hetzner.timers import Effect, Timers
from tallship.lab.store import Document, Store, Table
from tallship.lab.world import Addresses

Derived = TypeVar("Derived")

FIRST_ID: Final = 4711001
SERVER_ADDRESSES: Final = (100, 250)
LOAD_BALANCER_ADDRESSES: Final = (10, 99)


class Project:
    """The resources by noun (`server`, `network`, …), each table by id; documents hold each fact once.

    What a resource is configured to be changes with the request; what a machine does changes when the action ends.
    """

    def __init__(self, store: Store, clock: LabClock, faults: Faults, addresses: Addresses, hardware: Hardware) -> None:
        self._store = store
        self.clock = clock
        self.faults = faults
        self.addresses = addresses
        self.hardware = hardware
        self.births = Births(store, clock)
        self.effects: dict[str, Effect] = {}
        self.timers = Timers(store, clock, self.effects)
        self.actions = Actions(self.table("action"), clock, self.timers, self.effects, self.next_id)
        self._derived: dict[str, tuple[int, Any]] = {}
        self.health: dict[tuple[int, int, int], Document] = {}
        """What the load balancers' health checks last saw: (load balancer, listen port, server) -> status."""

    def table(self, noun: str) -> Table:
        """Return the table of one noun."""
        return self._store.table(f"hetzner.{noun}")

    def derived(self, noun: str, make: Callable[[Table], Derived]) -> Derived:
        """Return what is made of a noun's table, made again when that has changed."""
        table, known = self.table(noun), self._derived.get(noun)
        if known is None or known[0] != table.writes:
            known = self._derived[noun] = (table.writes, make(table))
        found: Derived = known[1]
        return found

    def next_id(self) -> int:
        """Return an id that nothing in the project ever had."""
        return self._store.next_id("hetzner", FIRST_ID)

    def new(self, noun: str, fields: Document) -> Document:
        """Store a new resource and return it, with its id and creation time."""
        document = {"id": self.next_id(), **fields, "created": timestamp(self.clock)}
        self.keep(noun, document)
        return document

    def keep(self, noun: str, document: Document) -> None:
        """Store a changed resource."""
        self.table(noun)[str(document["id"])] = document

    def forget(self, noun: str, key: int) -> None:
        """Remove a resource."""
        self.table(noun).pop(str(key), None)

    def all(self, noun: str) -> Iterator[Document]:
        """Yield every resource of a noun, oldest first."""
        yield from self.table(noun).values()

    def find(self, noun: str, key: object) -> Document | None:
        """Return the resource with that id."""
        return self.table(noun).get(str(key))

    def get(self, noun: str, key: object) -> Document:
        """Return the resource with that id. Raises Refused (not_found)."""
        document = self.find(noun, key)
        if document is None:
            raise not_found(noun, key)
        return document

    def find_named(self, noun: str, key: object) -> Document | None:
        """Return the resource with that id or name."""
        return self.find(noun, key) or next((each for each in self.all(noun) if each["name"] == key), None)

    def claim_name(self, noun: str, name: str, *, but: int = 0) -> str:
        """Return the name when it is free. Raises Refused (invalid_input, uniqueness_error)."""
        if not name.strip() or len(name) > 128:
            raise invalid("name", "must be between 1 and 128 characters")
        if any(each["name"] == name and each["id"] != but for each in self.all(noun)):
            raise Refused("uniqueness_error", f"{noun} name is already used", details={"fields": [{"name": "name"}]})
        return name

    def unlocked(self, server: Document) -> Document:
        """Return the server when no action holds it. Raises Refused (locked)."""
        if self.actions.locks(int(server["id"])):
            raise Refused("locked", f"server {server['id']} is locked: an action is running")
        return server

    def address(self, noun: str, key: int) -> str:
        """Return the lab's own address of a primary IP, a server without one, or a load balancer."""
        first, last = LOAD_BALANCER_ADDRESSES if noun == "load_balancer" else SERVER_ADDRESSES
        try:
            return self.addresses.take(f"{noun}/{key}", first, last)
        except LookupError as error:
            raise Refused("resource_limit_exceeded", f"the lab has no address left: {error}") from error

    def give_back_address(self, noun: str, key: int) -> None:
        """Free the address."""
        self.addresses.give_back(f"{noun}/{key}")


def guard(document: Document) -> Document:
    """Return a resource that may be deleted. Raises Refused (protected)."""
    protection: dict[str, Any] = document.get("protection", {})
    if protection.get("delete"):
        raise Refused("protected", "deletion protection is enabled for this resource")
    return document
