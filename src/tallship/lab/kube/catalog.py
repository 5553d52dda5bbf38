"""What one API server serves at the moment."""

from __future__ import annotations

from collections.abc import Iterator

from tallship.lab.kube.resources import Resource, built_in


class Catalog:
    """The served resources: built-in ones from the start, custom ones as their definitions come and go.

    `edition` changes with every change, for those who keep something made from it.
    """

    def __init__(self) -> None:
        self._by_id = {each.id: each for each in built_in()}
        self._by_path = {(each.group, each.version, each.plural): each for each in self._by_id.values()}
        self.edition = 0

    def __iter__(self) -> Iterator[Resource]:
        return iter(list(self._by_id.values()))

    def __getitem__(self, resource_id: str) -> Resource:
        return self._by_id[resource_id]

    def at(self, group: str, version: str, plural: str) -> Resource | None:
        """Return the resource with this path, or None."""
        return self._by_path.get((group, version, plural))

    def find(self, resource_id: str) -> Resource | None:
        """Return the resource that is called `plural.group`, or None."""
        return self._by_id.get(resource_id)

    def of_kind(self, kind: str) -> Resource | None:
        """Return the first resource of a kind, or None."""
        return next((each for each in self._by_id.values() if each.kind == kind), None)

    def put(self, resource: Resource) -> None:
        """Serve this resource, in place of one of the same name."""
        self.drop(resource.id)
        self._by_id[resource.id] = resource
        self._by_path[resource.group, resource.version, resource.plural] = resource

    def drop(self, resource_id: str) -> None:
        """Serve that resource no more."""
        self.edition += 1
        gone = self._by_id.pop(resource_id, None)
        if gone is not None:
            del self._by_path[gone.group, gone.version, gone.plural]
