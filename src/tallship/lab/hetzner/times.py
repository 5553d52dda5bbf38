"""How long things take at the lab's Hetzner, in modelled seconds. One table, so that a benchmark can cite it.

A server's 25 s `initializing` and 4 s `starting` are those under which the real controllers were recorded; the others
are estimates of the right size. What is not listed takes a second.
"""

from __future__ import annotations

from typing import Final

ACTIONS: Final[dict[str, float]] = {
    "create_server": 25,
    "rebuild_server": 25,
    "start_server": 4,
    "stop_server": 2,
    "change_server_type": 20,
    "create_image": 60,
    "attach_to_network": 2,
    "detach_from_network": 2,
    "create_load_balancer": 2,
    "apply_firewall": 2,
    "remove_firewall": 2,
}
"""By the action's command."""

ACTION: Final = 1.0
"""Any other action."""

ACPI_SHUTDOWN: Final = 8.0
"""From the power signal of `shutdown` until the operating system is down; the action itself ends at once."""

REBOOT: Final = 8.0
"""From the power signal of `reboot` until the machine starts anew."""

FIREWALL_LAG: Final = 10.0
"""Until a server that begins or ceases to match a firewall's label selector has it applied or removed."""

RESCUE_EXPIRY: Final = 3600.0
"""Until an enabled rescue system that nobody booted is disabled again."""

SLOW_ANSWER: Final = 30.0
"""How long the fault `slow` holds a request when it says nothing else."""


def action_seconds(command: str) -> float:
    """Return how long the action of that command runs."""
    return ACTIONS.get(command, ACTION)
