"""What the Hetzner API says when it refuses: a status, a code, a message and details."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

STATUS: Final[dict[str, int]] = {
    "json_error": 400,
    "unauthorized": 401,
    "token_readonly": 401,
    "forbidden": 403,
    "maintenance": 403,
    "resource_limit_exceeded": 403,
    "not_found": 404,
    "firewall_resource_not_found": 404,
    "method_not_allowed": 405,
    "uniqueness_error": 409,
    "conflict": 409,
    "deprecated_api_endpoint": 410,
    "resource_unavailable": 412,
    "source_port_already_used": 412,
    "primary_ip_version_mismatch": 412,
    "locked": 423,
    "protected": 423,
    "rate_limit_exceeded": 429,
    "server_error": 500,
    "unavailable": 503,
    "timeout": 504,
}
"""Hetzner API: the status that goes with a code. Every code that is not listed is a 422."""


class Refused(Exception):
    """The API refuses a request, or an action fails."""

    def __init__(self, code: str, message: str, *, status: int = 0, details: dict[str, Any] | None = None) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status or STATUS.get(code, 422)
        self.details = details

    def body(self) -> dict[str, Any]:
        """Return the answer's body."""
        return {"error": {"code": self.code, "message": self.message, "details": self.details}}


def invalid(field: str, problem: str) -> Refused:
    """Return a refusal of one input field."""
    details = {"fields": [{"name": field, "messages": [problem]}]}
    return Refused("invalid_input", f"invalid input in field '{field}': {problem}", details=details)


def not_found(noun: str, key: object) -> Refused:
    """Return a refusal because nothing has that id or name."""
    return Refused("not_found", f"{noun} with ID '{key}' not found")


def over_limit(*names: str, message: str = "project limit exceeded") -> Refused:
    """Return a refusal because of a limit of the project or the product."""
    return Refused("resource_limit_exceeded", message, details={"limits": [{"name": name} for name in names]})


def gone(announcement: str) -> Refused:
    """Return a refusal because Hetzner removed what was asked for; the announcement is its changelog entry."""
    message = "the functionality of this API endpoint was removed"
    return Refused("deprecated_api_endpoint", message, details={"announcement": announcement})


def one_of(choices: Sequence[str]) -> str:
    """Return the words for a value that must be one of several."""
    return "must be one of: " + ", ".join(choices)
