"""Takes secrets out of what leaves this machine: by where they stand, and by how they look."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
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
    re.compile(r"\beyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)?"),
    re.compile(r"\bAGE-SECRET-KEY-1[A-Z0-9]+"),
    re.compile(r"\b[a-z0-9]{6}\.[a-z0-9]{16}\b"),
    re.compile(r"\b[A-Za-z0-9+/]{200,}={0,2}"),
    re.compile(r"(?i)(bearer|token|password|secret)(\\*[\"']?\s*[:=]\s*\\*[\"']?|\s+)[^\s\"',;\\]{8,}"),
)
"""PEM blocks (in clear, in base64), tokens of Hetzner, JSON web tokens, keys of age, bootstrap tokens, long base64, and
what calls itself a secret (in JSON within JSON too)."""


def redacted(value: Any, secrets: Iterable[str] = ()) -> Any:
    """Return plain data without secrets; `secrets` are texts that are known to be some."""
    known = sorted((each for each in secrets if len(each) >= 8), key=len, reverse=True)
    return _redacted(value, known)


def redacted_text(text: str, secrets: Iterable[str] = ()) -> str:
    """Return text without secrets, control characters left as they are."""
    for each in sorted((each for each in secrets if len(each) >= 8), key=len, reverse=True):
        text = text.replace(each, GONE)
    for look in LOOKS:
        text = look.sub(GONE, text)
    return text


def _redacted(value: Any, known: list[str]) -> Any:
    if isinstance(value, str):
        return redacted_text(value, known)
    if isinstance(value, list | tuple):
        return [_redacted(each, known) for each in value]
    if not isinstance(value, Mapping):
        return value
    is_secret = value.get("kind") in ("Secret", "ConfigMap")
    if SECRET_KEYS.search(str(value.get("name", ""))) and isinstance(value.get("value"), str):
        value = {**value, "value": GONE}  # a variable of a container's
    return {key: _member(str(key), each, known, is_secret) for key, each in value.items()}


def _member(key: str, value: Any, known: list[str], of_secret: bool) -> Any:
    if of_secret and key in WHOLE and isinstance(value, Mapping):
        return dict.fromkeys(value, GONE)
    if isinstance(value, str) and key not in HARMLESS_KEYS and SECRET_KEYS.search(key):
        return GONE
    if key in PATCHES or (key == "data" and isinstance(value, str)):  # a TalosConfig's whole configuration
        return GONE
    return _redacted(value, known)
