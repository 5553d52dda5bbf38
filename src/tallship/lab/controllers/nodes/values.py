"""Values that containers take from Secrets and ConfigMaps."""

from __future__ import annotations

import base64
from collections.abc import Callable

from tallship.lab.controllers.nodes.mirror import Mirror


def lookup(mirror: Mirror, namespace: str) -> Callable[[str, str, str], str | None]:
    """Return a function that finds (kind, name, key) in a namespace; it returns None for what is not there."""

    def find(kind: str, name: str, key: str) -> str | None:
        data = (mirror.get(kind, name, namespace) or {}).get("data") or {}
        if key not in data:
            return None
        return base64.b64decode(data[key]).decode() if kind == "Secret" else str(data[key])

    return find
