"""What Talos puts into its cluster: only what is missing is made, so that what an older Talos made stays as it is."""

from __future__ import annotations

import asyncio
import contextlib

from tallship.lab.controllers.nodes import node_documents as documents
from tallship.lab.controllers.nodes.mirror import PASSING, Mirror
from tallship.lab.talos import manifests

_AGAIN = 1.0
"""Seconds until it is tried again, while the API server is away."""


class BootstrapManifests:
    """Talos v1.12: the controller that applies manifests, on the control plane that is first up."""

    def __init__(self, mirror: Mirror, talos: str, config: documents.Config) -> None:
        self._client = mirror.client
        self._mirror = mirror
        found = manifests.resources(talos, dict(config))
        self._documents = [each for items in found.values() for each in items]

    async def run(self) -> None:
        """Make what is missing, once; then do nothing until cancelled."""
        while True:
            with contextlib.suppress(*PASSING):
                if self._mirror.complete:
                    await self._make()
                    break
            await self._mirror.clock.sleep(_AGAIN)
        await asyncio.Event().wait()

    async def _make(self) -> None:
        for each in self._documents:
            meta = each["metadata"]
            if await self._client.get(each["kind"], meta["name"], meta.get("namespace", "")) is None:
                await self._client.create(each)
