"""The project's hourly budget of calls, as Hetzner's answers tell it: the cluster's own controllers live on it too."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

SPARE = 0.1
"""The share of the budget that is left to the controllers."""
PAUSE = 30.0
"""Seconds between two looks while less than that is left."""
HOUR = 3600.0


@dataclass
class Budget:
    """How many calls are left; Hetzner API: what is used up comes back evenly, the whole of it in an hour."""

    now: Callable[[], float]
    limit: int = 0
    """0 until an answer has told it."""
    _remaining: int = 0
    _at: float = 0.0

    def hear(self, headers: Mapping[str, str]) -> None:
        """Note what an answer tells; one without numbers tells nothing."""
        told = [headers.get(f"RateLimit-{each}", "") for each in ("Limit", "Remaining")]
        if all(each.isascii() and each.isdigit() and len(each) < 10 for each in told):
            self.limit, self._remaining = map(int, told)
            self._at = self.now()

    @property
    def left(self) -> int:
        """How many calls may be made now, by the last answer and what has come back since."""
        return min(self.limit, int(self._remaining + (self.now() - self._at) * self.limit / HOUR))

    def brake(self) -> tuple[float, str]:
        """Return the least seconds between two looks now, and why they are so many."""
        if self.left >= self.limit * SPARE:
            return 0.0, ""
        told = f"Hetzner allows {self.left} more calls now of {self.limit} an hour, and Cluster API needs some"
        return PAUSE, f"{told}: next look in {PAUSE:.0f} s"
