"""The project's request budget: a bucket that every client of the project drinks from."""

from __future__ import annotations

from tallship.lab.clock import LabClock, wall
from tallship.lab.hetzner.errors import Refused
from tallship.lab.store import Store


class Bucket:
    """Hetzner API: 3600 requests an hour for a project, refilled one a second, bursts allowed."""

    def __init__(self, store: Store, clock: LabClock, limit: int = 3600, refill: float = 1.0) -> None:
        self._table = store.table("hetzner.bucket")
        self._clock = clock
        self.limit = limit
        self.refill = refill

    @property
    def remaining(self) -> float:
        """How many requests may be made now."""
        kept = self._table.get("bucket", {"left": self.limit, "at": self._clock.now()})
        regained = (self._clock.now() - float(kept["at"])) * self.refill
        return min(float(self.limit), float(kept["left"]) + max(regained, 0))

    def drink(self) -> None:
        """Use one request up. Raises Refused (rate_limit_exceeded) when there is none."""
        left = self.remaining
        if left < 1:
            raise self.empty()
        self._table["bucket"] = {"left": left - 1, "at": self._clock.now()}

    def empty(self) -> Refused:
        """Return the refusal of a project that has used up its requests."""
        return Refused("rate_limit_exceeded", f"limit of {self.limit} requests per hour reached")

    def headers(self) -> dict[str, str]:
        """Return the headers that tell a client how it stands; Reset is when the bucket will be full."""
        left = self.remaining
        full = wall(self._clock, (self.limit - left) / self.refill)
        return {
            "RateLimit-Limit": str(self.limit),
            "RateLimit-Remaining": str(int(left)),
            "RateLimit-Reset": str(int(full.timestamp())),
        }
