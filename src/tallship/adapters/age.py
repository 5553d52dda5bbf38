"""Encryption in age's format (age-encryption.org/v1), to keys whose private part this machine need not have."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pyrage

from tallship.errors import SetupError


def recipients(keys: Iterable[str]) -> list[object]:
    """Return age or SSH public keys as recipients. Raises SetupError for text that is no key."""
    return [_recipient(each) for each in keys]


def encrypt(content: bytes, readers: Sequence[object]) -> bytes:
    """Return the content as only these recipients can read it."""
    encrypted: bytes = pyrage.encrypt(content, readers)
    return encrypted


def _recipient(text: str) -> object:
    kind = pyrage.ssh if text.startswith("ssh-") else pyrage.x25519
    try:
        return kind.Recipient.from_str(text)
    except pyrage.RecipientError as error:
        hint = "`backup.recipients` takes what `age-keygen` prints as public key, and public keys of ssh-keygen"
        raise SetupError(f"`{text[:20]}…` is no key to encrypt to", detail=str(error), hint=hint) from error
