"""The values that tallship.yaml can hold, each checked on its own."""

from __future__ import annotations

import ipaddress
import re
import shlex
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, StrictStr, StringConstraints, WithJsonSchema
from pydantic_core import PydanticCustomError

from tallship import versions

LOCATIONS = {
    "fsn1": "eu-central",
    "hel1": "eu-central",
    "nbg1": "eu-central",
    "ash": "us-east",
    "hil": "us-west",
    "sin": "ap-southeast",
}
"""Hetzner's locations and the network zone of each."""

Location = Literal["fsn1", "hel1", "nbg1", "ash", "hil", "sin"]
Architecture = Literal["amd64", "arm64"]
PRIVATE_NETWORKS = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")


def mistake(message: str, hint: str = "") -> PydanticCustomError:
    """Return what a validator raises: a message and one thing to do."""
    # The message may hold braces, which the error would read as its own placeholders.
    return PydanticCustomError("tallship", "{message}", {"message": message, "hint": hint})


def _network(text: str) -> str:
    try:
        network = ipaddress.IPv4Network(text)
    except ValueError as error:
        try:
            correct = ipaddress.IPv4Network(text, strict=False)
        except ValueError:
            raise mistake(f"`{text}` is not an IPv4 network", "write it like `10.10.0.0/16`") from error
        raise mistake(f"`{text}` has bits set behind its prefix", f"write `{correct}`") from error
    if "/" not in text:
        raise mistake(f"`{text}` is an address, not a network", f"write `{network}`")
    return str(network)


def _source(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text))
    except ValueError as error:
        raise mistake(f"`{text}` is not a network", "write it like `203.0.113.0/24` or `2001:db8::/64`") from error


def is_vast(network: str) -> bool:
    """True for the whole internet, or so much of it that it might as well be."""
    found = ipaddress.ip_network(network)
    return not found.is_private and found.prefixlen < (8 if found.version == 4 else 16)


def _version(text: str) -> str:
    if not versions.number(text):
        raise mistake(f"`{text}` is not a version", "write it like `v1.12.2`")
    return "v" + text.removeprefix("v")


def _chart_version(text: str) -> str:
    if not versions.number(text):
        raise mistake(f"`{text}` is not a version", "write it like `1.18.6`")
    return text.removeprefix("v")


def _name(text: str) -> str:
    if not re.fullmatch(r"[a-z]([a-z0-9-]*[a-z0-9])?", text):
        hint = "lower-case letters, digits and dashes; it begins with a letter and does not end with a dash"
        raise mistake(f"`{text}` cannot be the name of a cluster", hint)
    return text


def _label_value(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?", text):
        hint = "at most 63 of letters, digits, `.`, `_`, `-`, beginning and ending with a letter or digit"
        raise mistake(f"`{text}` cannot be the name of an image", hint)
    return text


def _extension(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9-]+/[a-z0-9.-]+", text):
        raise mistake(f"`{text}` is not the name of an extension", "write it like `siderolabs/qemu-guest-agent`")
    return text


def _argument(text: str) -> str:
    if not re.fullmatch(r"[^\s'\"#{}\[\]&*!|>%@`]+", text):
        raise mistake(f"`{text}` is not one argument for the kernel", "write it like `console=ttyS0`, one an entry")
    return text


def _recipient(text: str) -> str:
    if not re.fullmatch(r"age1[02-9ac-hj-np-z]{58}|ssh-(ed25519|rsa) [A-Za-z0-9+/]+=*( .*)?", text):
        raise mistake(f"`{text[:20]}` is not a public key of age or SSH", "`age-keygen` prints one: `age1…`")
    return text


def _web_address(text: str) -> str:
    if not re.fullmatch(r"https?://[^\s/?#]+(/\S*)?", text):
        raise mistake(f"`{text}` is not a web address", "write it like `https://example.com/path`")
    return text


def _secure_address(text: str) -> str:
    if not re.fullmatch(r"https://[^\s/?#]+(/\S*)?", text):
        raise mistake(f"`{text}` is not an https address", "write it like `https://example.com/path`")
    return text


def _words(value: Any) -> Any:
    if isinstance(value, str):
        try:
            return shlex.split(value)
        except ValueError as error:
            raise mistake(f"`{value}` is not a command: {error}") from error
    return value


def _patch(value: Any) -> Any:
    if not isinstance(value, str | dict):
        raise mistake("must be a patch: a mapping, or text that holds one")
    return value


def _not_empty(words: tuple[str, ...]) -> tuple[str, ...]:
    if not words:
        raise mistake("must name a program", "leave the key out to take the token from HCLOUD_TOKEN")
    return words


LabelValue = Annotated[StrictStr, AfterValidator(_label_value)]
Extension = Annotated[StrictStr, AfterValidator(_extension)]
Argument = Annotated[StrictStr, AfterValidator(_argument)]
WebAddress = Annotated[StrictStr, AfterValidator(_web_address)]
SecureAddress = Annotated[StrictStr, AfterValidator(_secure_address)]
Network4 = Annotated[StrictStr, AfterValidator(_network)]
Recipient = Annotated[StrictStr, AfterValidator(_recipient)]
Source = Annotated[StrictStr, AfterValidator(_source)]
Version = Annotated[StrictStr, AfterValidator(_version)]
ChartVersion = Annotated[StrictStr, AfterValidator(_chart_version)]
Name = Annotated[StrictStr, StringConstraints(min_length=1), AfterValidator(_name)]
Text = Annotated[StrictStr, StringConstraints(min_length=1)]
Command = Annotated[
    tuple[StrictStr, ...],
    BeforeValidator(_words),
    AfterValidator(_not_empty),
    WithJsonSchema({"type": ["string", "array"], "items": {"type": "string"}}),
]
Values = dict[StrictStr, Any]
Patch = Annotated[StrictStr | Values, BeforeValidator(_patch)]
