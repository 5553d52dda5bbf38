"""Whether an object in a cluster is what we would apply."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tallship.adapters.kube import Kube
from tallship.engine import Seen, State
from tallship.manifests import drift
from tallship.manifests.drift import Difference

Document = dict[str, Any]

LOOKS = 4


def find(kube: Kube, document: Document) -> Document | None:
    """Return the stored object that the document names, or None."""
    metadata = document["metadata"]
    return kube.find(document["apiVersion"], document["kind"], metadata["name"], metadata.get("namespace", ""))


def differences(kube: Kube, document: Document) -> list[Difference] | None:
    """Return what applying the document would change; None where there is no such object.

    Asked with a dry run, so defaults and owners count. A controller may write between the two questions: then they are
    asked again.
    """
    found: list[Difference] = []
    for look in range(LOOKS):
        if look:
            kube.memory.forget()
        stored = find(kube, document)
        if stored is None:
            return None
        applied = kube.apply(document, dry_run=True)
        found = drift.differences(stored, applied)
        if not found or applied["metadata"].get("resourceVersion") == stored["metadata"].get("resourceVersion"):
            break
    return found


def equals_stored(kube: Kube, document: Document) -> bool:
    """True when applying the document would change nothing."""
    return differences(kube, document) == []


def missing(kube: Kube, documents: Iterable[Document], names: str = "") -> Seen | None:
    """Return what applying the documents would change, or None; what others have changed by hand is told.

    `names`: what they are called together, in place of their kinds.
    """
    found = [(each, differences(kube, each)) for each in documents]
    changed = [(each, lines) for each, lines in found if lines != []]
    if not changed:
        return None
    named = names or ", ".join(each["kind"] for each, _ in changed)
    detail = "; ".join(f"{each['kind']}: {drift.told(lines)}" for each, lines in changed if lines)
    hands = drift.taken_back(line for _, lines in changed for line in lines or ())
    return Seen(State.MISSING, detail, f"apply {named}{hands}")
