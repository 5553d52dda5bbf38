"""What a route is: a method, a path, and a function from a call to a reply. Handlers never wait."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from multidict import MultiMapping

from tallship.lab.hetzner.body import Body
from tallship.lab.hetzner.listing import page_of
from tallship.lab.hetzner.project import Project
from tallship.lab.store import Document


@dataclass(frozen=True)
class Call:
    """One request that was let in."""

    project: Project
    path: dict[str, str]
    query: MultiMapping[str]
    data: object = None

    @cached_property
    def body(self) -> Body:
        """The JSON body; an empty one counts as an empty object."""
        return Body({} if self.data is None else self.data)

    @property
    def id(self) -> int:
        """The `{id}` of the path."""
        return int(self.path["id"])


@dataclass(frozen=True)
class Reply:
    """What the API answers."""

    status: int = 200
    body: dict[str, Any] | None = None
    changed: bool = True
    """Whether stored state is another now (requests other than GET)."""
    links: dict[str, int] = field(default_factory=dict)
    """Pages by relation, for the Link header."""


Handler = Callable[[Call], Reply]


@dataclass(frozen=True)
class Route:
    """A handler and where it is; the path is relative to `/v1`."""

    method: str
    path: str
    handler: Handler

    @property
    def name(self) -> str:
        """How faults and messages call it: `POST /servers/{id}/actions/poweron`."""
        return f"{self.method} {self.path}"


def listed(
    call: Call,
    key: str,
    documents: Iterable[Document],
    filters: tuple[str, ...] = (),
    draw: Callable[[Document], Document] | None = None,
) -> Reply:
    """Return one page of the documents that the query asks for; `filters` are fields it may name.

    `draw` makes what is shown of one that is on the page.
    """
    page, meta, links = page_of(call.query, documents, filters)
    return Reply(200, {key: list(map(draw, page)) if draw else page, "meta": meta}, links=links)


def put_name_and_labels(call: Call, noun: str) -> tuple[Document, bool]:
    """Store the resource with the name and labels of the body; return it and whether it differs now."""
    old = call.project.get(noun, call.id)
    name = call.project.claim_name(noun, call.body.text("name", old["name"]), but=call.id)
    new = {**old, "name": name, "labels": call.body.labels() if call.body.has("labels") else old["labels"]}
    call.project.keep(noun, new)
    return new, new != old


def put_protection(call: Call, noun: str) -> Reply:
    """Set the deletion protection of a resource that has no other."""
    old = call.project.get(noun, call.id)
    protection = {"delete": call.body.flag("delete", old["protection"]["delete"])}
    call.project.keep(noun, {**old, "protection": protection})
    return Reply(201, {"action": call.project.actions.begin("change_protection", (noun, call.id))})
