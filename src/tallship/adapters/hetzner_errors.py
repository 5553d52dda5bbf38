"""Hetzner's errors in our words: may it pass, shall another be chosen, or is it the end; and one hint for each."""

from __future__ import annotations

import hcloud

from tallship.errors import ApiError

MAY_PASS = frozenset(
    {
        "conflict",
        "locked",
        "maintenance",
        "rate_limit_exceeded",
        "server_error",
        "unavailable",
        "timeout",
        "bad_gateway",
    }
)
"""Hetzner API: the same request may succeed a little later."""
AGAIN_AFTER = {"conflict": 2.0, "locked": 5.0, "maintenance": 30.0, "rate_limit_exceeded": 30.0, "429": 30.0}
"""Hetzner API: with these codes a request has changed nothing; seconds until it is polite to send it again.

Calls that are used up come back evenly: `RateLimit-Reset` tells when all of them are there, which is too long to wait.
"""
CHOOSE_ANOTHER = frozenset({"resource_unavailable", "placement_error"})
"""Hetzner API: sold out here and now; another type or location may be had."""
MALFORMED = "malformed"
LONGEST_WORDS = 1000
"""Characters of an error's own words that are repeated."""
OTHER_HINT = "Hetzner's status page tells of trouble there; the same command goes on from here"
HINTS = {
    "unauthorized": "is the token of the right project, and not deleted?",
    "token_readonly": "make a token with read and write permission in Hetzner's console",
    "forbidden": "the token may not do this: is it of the right project?",
    "invalid_input": "Hetzner wants something else than this release sends: see the detail",
    "not_found": "somebody deleted it meanwhile; run the same command again",
    "deprecated_api_endpoint": "this release of tallship is too old for Hetzner's API",
    "resource_limit_exceeded": "the project's quota is used up: Hetzner's console shows it, and raises it on request",
    "resource_unavailable": "choose another server type or location in the cluster file, or wait",
    "placement_error": "the placement group has no room: choose another location, or wait",
    "rate_limit_exceeded": "something else uses up the project's 3600 calls an hour; wait some minutes",
    "uniqueness_error": "something of this name is there already",
    "protected": "its deletion protection is on: switch it off in Hetzner's console if you mean it",
    "locked": "another action is running on it; run the same command again",
    "maintenance": "Hetzner is working on it: see its status page",
    "server_error": "Hetzner had an error of its own: see its status page, or run the same command again",
    "unavailable": "Hetzner's API is not available: see its status page, or run the same command again",
}


def translated(error: hcloud.APIException, what: str) -> ApiError:
    """Return our error for Hetzner's: its own code, the fields or limits it names, and its request id."""
    code = str(error.code)
    numeric = code.isascii() and code.isdigit()
    if numeric and int(code) < 400:
        return malformed(what, f"{code} {error.message}, and no JSON")
    lines = [*_details(error.details), f"request id {error.correlation_id}" if error.correlation_id else ""]
    return ApiError(
        f"Hetzner refused {what}: {short(error.message or code)}" + ("" if numeric else f" ({short(code)})"),
        code=code,
        detail="\n".join(short(each) for each in lines if each),
        hint=HINTS.get(code, OTHER_HINT),
        may_pass=code in MAY_PASS or code in AGAIN_AFTER or (numeric and int(code) >= 500),
        again_after=AGAIN_AFTER.get(code, 0.0),
    )


def malformed(what: str, detail: str) -> ApiError:
    """Return the error for an answer that is none of Hetzner's API. It may pass: something may stand between."""
    message = f"Hetzner's answer to {what} is not what its API promises"
    return ApiError(message, code=MALFORMED, detail=detail[:200], hint="does a proxy stand between?", may_pass=True)


def _details(details: object) -> list[str]:
    """Return a line for each field and limit that is named. Raises for what is no list of these."""
    if not isinstance(details, dict):
        return []
    fields = [f"{each.get('name')}: {', '.join(each.get('messages') or [])}" for each in details.get("fields") or []]
    return fields + [f"limit {each.get('name')}" for each in details.get("limits") or []]


def short(words: object) -> str:
    """Return what somebody else said, as much of it as a person reads."""
    text = str(words)
    return text if len(text) <= LONGEST_WORDS else f"{text[:LONGEST_WORDS]}…"
