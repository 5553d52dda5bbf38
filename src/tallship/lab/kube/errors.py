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
    "RequestEntityTooLarge": 413,
    "UnsupportedMediaType": 415,
    "Invalid": 422,
    "TooManyRequests": 429,
    "InternalError": 500,
    "ServiceUnavailable": 503,
    "Timeout": 504,
    "": 500,  # what the API server has no word for
}
"""HTTP status by Kubernetes' word for it."""


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
        told = {key: value for key, value in (details or {}).items() if value}
        self.details = {**told, **({"causes": causes} if causes else {})}

    def body(self) -> dict[str, Any]:
        """Return the Status object."""
        found = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "details": self.details,
            "code": self.code,
        }
        return {key: value for key, value in found.items() if key not in ("details", "reason") or value}


def success(group: str, plural: str, metadata: dict[str, Any]) -> dict[str, Any]:
    """Return the Status that says that an object was deleted."""
    details = {"name": metadata["name"], "group": group, "kind": plural, "uid": metadata["uid"]}
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": {key: value for key, value in details.items() if value},
    }


def not_found(plural: str, group: str, name: str) -> RefusedRequest:
    """Return the refusal for an object that does not exist."""
    where = f"{plural}.{group}" if group else plural
    return RefusedRequest(
        "NotFound", f'{where} "{name}" not found', details={"name": name, "group": group, "kind": plural}
    )


def already_exists(plural: str, group: str, name: str) -> RefusedRequest:
    """Return the refusal to create what exists."""
    where = f"{plural}.{group}" if group else plural
    return RefusedRequest(
        "AlreadyExists", f'{where} "{name}" already exists', details={"name": name, "group": group, "kind": plural}
    )


def too_old(plural: str, group: str, name: str) -> RefusedRequest:
    """Return the refusal to change an object on the grounds of an old version of it."""
    where = f"{plural}.{group}" if group else plural
    text = (
        f'Operation cannot be fulfilled on {where} "{name}": the object has been modified; please apply your changes'
        " to the latest version and try again"
    )
    return RefusedRequest("Conflict", text, details={"name": name, "group": group, "kind": plural})


def other_uid(plural: str, group: str, name: str, wanted: str, found: str) -> RefusedRequest:
    """Return the refusal to change an object that has been replaced by another one of its name."""
    where = f"{plural}.{group}" if group else plural
    text = (
        f'Operation cannot be fulfilled on {where} "{name}": Precondition failed: UID in precondition: {wanted}, UID in'
        f" object meta: {found}"
    )
    return RefusedRequest("Conflict", text, details={"name": name, "group": group, "kind": plural})


def forbidden(plural: str, group: str, name: str, why: str) -> RefusedRequest:
    """Return the refusal of what nobody may do."""
    where = f"{plural}.{group}" if group else plural
    return RefusedRequest(
        "Forbidden", f'{where} "{name}" is forbidden: {why}', details={"name": name, "group": group, "kind": plural}
    )


def invalid(kind: str, group: str, name: str, causes: list[dict[str, str]]) -> RefusedRequest:
    """Return the refusal for an object that breaks its schema."""
    where = f"{kind}.{group}" if group else kind
    told = ", ".join(f"{cause['field']}: {cause['message']}" for cause in causes)
    text = told if len(causes) == 1 else f"[{told}]"
    return RefusedRequest(
        "Invalid", f'{where} "{name}" is invalid: {text}', causes, {"name": name, "group": group, "kind": kind}
    )
