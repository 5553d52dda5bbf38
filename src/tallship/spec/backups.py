"""What tallship.yaml says of backups: where they stand, who can read them, how many stay."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, StrictInt, StrictStr

from tallship.spec.section import Section
from tallship.spec.values import Command, Recipient, Text, mistake


def is_on_loopback(address: str) -> bool:
    """True for a web address that leads nowhere but to this machine."""
    try:
        return ipaddress.ip_address(urlsplit(address).hostname or "").is_loopback
    except ValueError:
        return False


def _endpoint(text: str) -> str:
    if not re.fullmatch(r"https?://[^\s/?#@]+/?", text):
        hint = "write it like `https://fsn1.your-objectstorage.com`; the bucket has a key of its own"
        raise mistake(f"`{text}` is not the address of an object storage", hint)
    if not text.startswith("https://") and not is_on_loopback(text):
        raise mistake(f"`{text}` is not encrypted", "write `https://`; only an address like 127.0.0.1 goes without")
    return text.rstrip("/")


def _bucket(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", text):
        hint = "3 to 63 of lower-case letters, digits, dots and dashes"
        raise mistake(f"`{text}` cannot be the name of a bucket", hint)
    return text


def _prefix(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*", text) or {".", ".."} & set(text.split("/")):
        raise mistake(f"`{text}` cannot begin the names of objects", "write it like `clusters/k8s`")
    return text


Endpoint = Annotated[StrictStr, AfterValidator(_endpoint)]
Bucket = Annotated[StrictStr, AfterValidator(_bucket)]
Prefix = Annotated[StrictStr, AfterValidator(_prefix)]
Count = Annotated[StrictInt, Field(ge=0, le=10_000)]


class ObjectStorage(Section):
    """An S3-compatible storage, such as Hetzner's; its credentials are never in the file."""

    endpoint: Endpoint = Field(description="its address, such as https://fsn1.your-objectstorage.com")
    bucket: Bucket = Field(description="the bucket, which must be there")
    prefix: Prefix | None = Field(default=None, description="what names begin with; default is the cluster's name")
    region: Text = Field(default="us-east-1", description="the region that requests are signed for")
    credentials_file: Text | None = Field(
        default=None, description="a file with the credentials, as AWS' tools keep them; default is the environment"
    )
    credentials_command: Command | None = Field(
        default=None, description="a command that prints the credentials, as AWS' `credential_process` does"
    )


class Keep(Section):
    """How many backups `tallship backup prune` keeps."""

    last: Count = Field(default=3, description="the newest ones, however old")
    daily: Count = Field(default=7, description="the newest of each of so many days")
    weekly: Count = Field(default=4, description="the newest of each of so many weeks")


class Backup(Section):
    """Where backups stand, who can read them, and how many stay."""

    recipients: tuple[Recipient, ...] = Field(
        default=(), description="age or SSH public keys that backups are encrypted to; none leaves them in clear"
    )
    folder: Text | None = Field(
        default=None, description="a folder for the backups of this and other clusters; default is the state folder"
    )
    s3: ObjectStorage | None = Field(default=None, description="an object storage for them; needs `recipients`")
    keep: Keep = Field(default_factory=Keep, description="how many stay when `tallship backup prune` runs")
