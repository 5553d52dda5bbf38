"""Takes secrets out of what leaves this machine: by where they stand, and by how they look."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

GONE = "(taken out)"

SECRET_KEYS = re.compile(
    r"(^|[-_.])(token|password|passwd|secret|key|crt|ca|cert|kubeconfig|talosconfig|user_?data|bundle|authorization)$",
    re.IGNORECASE,
)
"""Keys whose text is taken out, wherever they stand."""
HARMLESS_KEYS = ("key", "secretKeyRef", "hetznerSecretRef")
"""Keys that name a key, a Secret or a label, and hold no secret as text."""
WHOLE = ("data", "stringData", "binaryData")
"""Of a Secret: what is taken out whole."""
PATCHES = ("strategicPatches", "configPatches", "patches")
"""Pieces of Talos' configuration, which may hold a registry's password as any text: taken out whole."""
LOOKS = (
    re.compile(r"-----BEGIN [A-Z0-9 ]*-----.*?(-----END [A-Z0-9 ]*-----|\Z)", re.DOTALL),
    re.compile(r"\bLS0tLS1[A-Za-z0-9+/]{20,}={0,2}"),
    re.compile(r"\b[A-Za-z0-9]{64}\b"),
    re.compile(r"\beyJ[A-Za-z0-9_-]{10,2000}\.[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)?"),  # longer: the square of its length
    re.compile(r"\bAGE-SECRET-KEY-1[A-Z0-9]+"),
    re.compile(r"\b[a-z0-9]{6}\.[a-z0-9]{16}\b"),
    re.compile(r"\b[A-Za-z0-9+/]{200,}={0,2}"),
    re.compile(r"(?i)(bearer|token|password|secret)(\\*[\"']?\s*[:=]\s*\\*[\"']?|\s+)[^\s\"',;\\]{8,}"),
)
"""PEM blocks (in clear, in base64), tokens of Hetzner, JSON web tokens, keys of age, bootstrap tokens, long base64, and
what calls itself a secret (in JSON within JSON too)."""


SHORTEST = 8
"""Characters: what is shorter is no secret that could be told from other text."""
DEEPEST = 100
"""Lists and mappings in one another: what is deeper is left out."""


class Known:
    """Texts that are known to be secret. What it costs to find them follows the text, not how many there are."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._by_head: dict[str, dict[int, set[str]]] = {}
        """By how they begin, and their length."""
        for each in secrets:
            if len(each) >= SHORTEST:
                self._by_head.setdefault(each[:SHORTEST], {}).setdefault(len(each), set()).add(each)

    def taken_out(self, text: str) -> str:
        """Return text without any of them; of two that overlap neither leaves anything."""
        if not self._by_head or len(text) < SHORTEST:
            return text
        kept: list[str] = []
        gone = 0  # up to where the text was kept, or a secret reaches
        for start, end in self._found(text):
            if start > gone or not kept:
                kept += [text[gone:start], GONE]
            gone = max(gone, end)
        return "".join([*kept, text[gone:]])

    def _found(self, text: str) -> Iterator[tuple[int, int]]:
        """Yield where each of them begins and ends, in order."""
        heads = self._by_head
        for start in range(len(text) - SHORTEST + 1):
            lengths = heads.get(text[start : start + SHORTEST])
            if lengths is None:
                continue
            ends = [start + length for length, those in lengths.items() if text[start : start + length] in those]
            if ends:
                yield start, max(ends)


def redacted(value: Any, secrets: Iterable[str] | Known = ()) -> Any:
    """Return plain data without secrets; `secrets` are texts that are known to be some."""
    return _redacted(value, secrets if isinstance(secrets, Known) else Known(secrets), 0)


def redacted_text(text: str, secrets: Iterable[str] | Known = ()) -> str:
    """Return text without secrets, control characters left as they are."""
    known = secrets if isinstance(secrets, Known) else Known(secrets)
    text = known.taken_out(text)
    for look in LOOKS:
        text = look.sub(GONE, text)
    return text


def _redacted(value: Any, known: Known, depth: int) -> Any:
    if isinstance(value, str):
        return redacted_text(value, known)
    if depth > DEEPEST:
        return GONE
    if isinstance(value, list | tuple):
        return [_redacted(each, known, depth + 1) for each in value]
    if not isinstance(value, Mapping):
        return value
    is_secret = value.get("kind") in ("Secret", "ConfigMap")
    if SECRET_KEYS.search(str(value.get("name", ""))) and isinstance(value.get("value"), str):
        value = {**value, "value": GONE}  # a variable of a container's
    return {key: _member(str(key), each, known, is_secret, depth) for key, each in value.items()}


def _member(key: str, value: Any, known: Known, of_secret: bool, depth: int) -> Any:
    if of_secret and key in WHOLE and isinstance(value, Mapping):
        return dict.fromkeys(value, GONE)
    if isinstance(value, str) and key not in HARMLESS_KEYS and SECRET_KEYS.search(key):
        return GONE
    if key in PATCHES or (key == "data" and isinstance(value, str)):  # a TalosConfig's whole configuration
        return GONE
    return _redacted(value, known, depth + 1)
