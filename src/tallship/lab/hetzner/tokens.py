"""API tokens. The lab accepts only those it issued itself."""

from __future__ import annotations

import secrets

from tallship.lab.hetzner.errors import Refused
from tallship.lab.store import Store


class Tokens:
    """The project's API tokens, 64 characters like real ones, recognisable as the lab's by how they begin."""

    def __init__(self, store: Store) -> None:
        self._table = store.table("hetzner.tokens")

    def issue_token(self, writable: bool = True) -> str:
        """Return a new token."""
        token = "lab" + secrets.token_hex(31)[:61]
        self._table[token] = {"writable": writable}
        return token

    def check(self, authorization: str, method: str) -> None:
        """Raise Refused when the Authorization header may not make such a request."""
        kept = self._table.get(authorization.removeprefix("Bearer "))
        if kept is None or not authorization.startswith("Bearer "):
            raise Refused("unauthorized", "unable to authenticate")
        if method != "GET" and not kept["writable"]:
            raise Refused("token_readonly", "this token is read-only")
