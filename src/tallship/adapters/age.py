"""Encryption in age's format (age-encryption.org/v1), to keys whose private part this machine need not have."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import pyrage

from tallship.adapters.archive import Packed
from tallship.errors import SetupError


def recipients(keys: Iterable[str]) -> list[object]:
    """Return age or SSH public keys as recipients. Raises SetupError for text that is no key."""
    return [_recipient(each) for each in keys]


def encrypt_folder(folder: Path, name: str, target: Path, readers: Sequence[object]) -> None:
    """Write a folder as a tar archive, below `name`, that only these recipients can read, into a private file.

    It passes through memory in pieces, and is on the disk when this returns. Raises SetupError when the file cannot be
    written; then there is none.
    """
    try:
        with open(target, "wb", opener=_private) as file:
            pyrage.encrypt_io(Packed(folder, name), file, readers)
            file.flush()
            os.fsync(file.fileno())
    except (OSError, pyrage.EncryptError) as error:  # the latter tells what reading and writing met
        target.unlink(missing_ok=True)
        hint = "check who owns it, and the space left on the disk"
        reason = getattr(error, "strerror", None) or error
        raise SetupError(f"{target} cannot be written: {reason}", hint=hint) from error


def decrypt_file(source: Path, target: Path, identity: Path) -> None:
    """Write what an encrypted file holds into a private file; `identity` holds the private key of a recipient.

    Raises SetupError when the key is none of its recipients', or a file cannot be read or written; then there is none.
    """
    keys = _identities(identity)
    try:
        with source.open("rb") as encrypted, open(target, "wb", opener=_private) as file:
            pyrage.decrypt_io(encrypted, file, keys)
            file.flush()
            os.fsync(file.fileno())
    except pyrage.DecryptError as error:
        target.unlink(missing_ok=True)
        hint = "`--identity` names the private key of one of the recipients it was made for"
        raise SetupError(f"{source.name} cannot be decrypted with {identity}", detail=str(error), hint=hint) from error
    except OSError as error:
        target.unlink(missing_ok=True)
        hint = "check who owns it, and the space left on the disk"
        raise SetupError(f"{source.name} cannot be decrypted: {error.strerror}", hint=hint) from error


def _identities(path: Path) -> list[object]:
    """Return the private keys in a file: one of age-keygen, or one of ssh-keygen without a passphrase."""
    try:
        content = path.expanduser().read_bytes()
        if b"PRIVATE KEY-----" in content:
            return [pyrage.ssh.Identity.from_buffer(content)]
        lines = [line.strip() for line in content.decode().splitlines()]
        found = [pyrage.x25519.Identity.from_str(line) for line in lines if line and not line.startswith("#")]
    except (OSError, UnicodeDecodeError, pyrage.IdentityError) as error:
        hint = "it is what `age-keygen -o FILE` writes, or a private key of SSH without a passphrase"
        raise SetupError(f"{path} holds no private key that can be read", hint=hint) from error
    if not found:
        raise SetupError(f"{path} holds no private key", hint="it is what `age-keygen -o FILE` writes")
    return list(found)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _recipient(text: str) -> object:
    kind = pyrage.ssh if text.startswith("ssh-") else pyrage.x25519
    try:
        return kind.Recipient.from_str(text)
    except pyrage.RecipientError as error:
        hint = "`backup.recipients` takes what `age-keygen` prints as public key, and public keys of ssh-keygen"
        raise SetupError(f"`{text[:20]}…` is no key to encrypt to", detail=str(error), hint=hint) from error
