"""What a Kubernetes API server answers when it refuses: a Status."""

from __future__ import annotations

from typing import Any

STATUS_OF = {
    "BadRequest": 400,
    "Unauthorized": 401,
    "Forbidden": 403,
    "NotFound": 404,
    "MethodNotAllowed": 405,
    "AlreadyExists": 409,
    "Conflict": 409,
    "Expired": 410,
    "UnsupportedMediaType": 415,
    "Invalid": 422,
    "InternalError": 500,
}


class RefusedRequest(Exception):
    """A request that is answered with a Status."""

    def __init__(
        self,
        reason: str,
        message: str,
        causes: list[dict[str, str]] | None = None,
        details: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.code = STATUS_OF[reason]
        self.message = message
        self.details = {**(details or {}), **({"causes": causes} if causes else {})}

    def body(self) -> dict[str, Any]:
        """Return the Status object."""
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "details": self.details,
            "code": self.code,
        }


def not_found(plural: str, group: str, name: str) -> RefusedRequest:
    """Return the refusal for an object that does not exist."""
    where = f"{plural}.{group}" if group else plural
    return RefusedRequest(
        "NotFound", f'{where} "{name}" not found', details={"name": name, "group": group, "kind": plural}
    )


def unknown_path() -> RefusedRequest:
    """Return the refusal for a path that no resource has."""
    return RefusedRequest("NotFound", "the server could not find the requested resource")


def invalid(kind: str, group: str, name: str, causes: list[dict[str, str]]) -> RefusedRequest:
    """Return the refusal for an object that breaks its schema."""
    where = f"{kind}.{group}" if group else kind
    told = ", ".join(f"{cause['field']}: {cause['message']}" for cause in causes)
    text = told if len(causes) == 1 else f"[{told}]"
    return RefusedRequest(
        "Invalid", f'{where} "{name}" is invalid: {text}', causes, {"name": name, "group": group, "kind": kind}
    )
