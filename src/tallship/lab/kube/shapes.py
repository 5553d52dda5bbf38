"""The forms in which a client may ask for objects: as they are, as rows of a table, or their metadata only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from aiohttp import web

from tallship.lab.clock import LabClock, wall
from tallship.lab.kube.documents import encoded
from tallship.lab.kube.resources import Resource
from tallship.lab.kube.tables import table

Document = dict[str, Any]


class Shape:
    """How one request wants to see objects of a resource."""

    def __init__(self, request: web.Request, resource: Resource, clock: LabClock) -> None:
        accept = request.headers.get("Accept", "")
        self._resource = resource
        self._clock = clock
        self._included = request.query.get("includeObject", "Metadata")
        self.one: Callable[[Document], bytes] = encoded
        self.list: Callable[[Sequence[Document], Document], bytes] = self._plain_list
        if "as=Table" in accept:
            self.one, self.list = self._row, self._table
        elif "as=PartialObjectMetadata" in accept:
            self.one, self.list = self._partial, self._partial_list

    def _plain_list(self, items: Sequence[Document], metadata: Document) -> bytes:
        head = {"kind": f"{self._resource.kind}List", "apiVersion": self._resource.api_version, "metadata": metadata}
        return encoded(head)[:-1] + b',"items":[' + b",".join(encoded(each) for each in items) + b"]}"

    def _row(self, item: Document) -> bytes:
        return self._table([item], {"resourceVersion": item["metadata"]["resourceVersion"]})

    def _table(self, items: Sequence[Document], metadata: Document) -> bytes:
        return encoded(table(self._resource, items, metadata, wall(self._clock), self._included))

    def _partial(self, item: Document) -> bytes:
        return encoded(partial(item))

    def _partial_list(self, items: Sequence[Document], metadata: Document) -> bytes:
        kind = {"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1"}
        return encoded({**kind, "metadata": metadata, "items": [partial(each) for each in items]})


def partial(item: Document) -> Document:
    """Return an object's metadata as an object of its own."""
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": item["metadata"]}
