"""Whether an object in a cluster is what we would apply."""

from __future__ import annotations

from typing import Any

from tallship.adapters.kube import Kube

Document = dict[str, Any]

LOOKS = 4

BOOKKEEPING = ("managedFields", "resourceVersion", "generation", "creationTimestamp", "uid")


def find(kube: Kube, document: Document) -> Document | None:
    """Return the stored object that the document names, or None."""
    metadata = document["metadata"]
    return kube.find(document["apiVersion"], document["kind"], metadata["name"], metadata.get("namespace", ""))


def equals_stored(kube: Kube, document: Document) -> bool:
    """True when applying the document would change nothing; asked with a dry run, so defaults and owners count.

    A controller may write between the two questions: then they are asked again.
    """
    for _ in range(LOOKS):
        stored = find(kube, document)
        if stored is None:
            return False
        applied = kube.apply(document, dry_run=True)
        if _content(applied) == _content(stored):
            return True
        if applied["metadata"].get("resourceVersion") == stored["metadata"].get("resourceVersion"):
            return False
    return False


def _content(stored: Document) -> Document:
    metadata = {key: value for key, value in stored["metadata"].items() if key not in BOOKKEEPING}
    return {**stored, "metadata": metadata}
