"""Lists: filtered by name, label selector and fields, sorted, and cut into pages."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from multidict import MultiMapping

from tallship.lab.hetzner.errors import invalid
from tallship.lab.hetzner.selectors import matches
from tallship.lab.store import Document

PER_PAGE: Final = 25
MOST_PER_PAGE: Final = 50

Page = tuple[list[Document], dict[str, Any], dict[str, int]]


def page_of(query: MultiMapping[str], documents: Iterable[Document], filters: tuple[str, ...] = ()) -> Page:
    """Return the page that the query asks for, the reply's `meta`, and the pages of its Link header."""
    found = [each for each in documents if _wanted(query, each, filters)]
    for order in reversed(query.getall("sort", [])):
        name, _, direction = order.partition(":")
        if direction not in ("", "asc", "desc") or (found and name not in found[0]):
            raise invalid("sort", f"'{order}' is not a valid order")
        found.sort(key=lambda each: each[name], reverse=direction == "desc")
    page, per_page = _number(query, "page", 1), min(_number(query, "per_page", PER_PAGE), MOST_PER_PAGE)
    last = max(-(-len(found) // per_page), 1)
    links = {"prev": page - 1 if page > 1 else 0, "next": page + 1 if page < last else 0, "last": last}
    pagination = {
        "page": page,
        "per_page": per_page,
        "previous_page": links["prev"] or None,
        "next_page": links["next"] or None,
        "last_page": last,
        "total_entries": len(found),
    }
    start = (page - 1) * per_page
    given = {name: number for name, number in links.items() if number}
    return found[start : start + per_page], {"pagination": pagination}, given


def _wanted(query: MultiMapping[str], document: Document, filters: tuple[str, ...]) -> bool:
    if "name" in query and document.get("name") != query["name"]:
        return False
    if not matches(query.get("label_selector", ""), document.get("labels", {})):
        return False
    return all(str(document.get(name)) in query.getall(name) for name in filters if name in query)


def _number(query: MultiMapping[str], name: str, default: int) -> int:
    text = query.get(name, str(default))
    if not text.isdecimal() or int(text) < 1:
        raise invalid(name, "must be a positive integer")
    return int(text)
