"""Single values of a configuration: how Talos 1.12 reads each kind, and what it takes for nothing."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

DEFAULT_ACTIONS = ("accept", "block")
PROTOCOLS = ("icmp", "tcp", "udp", "icmpv6")
AUTOMATIC_HOSTNAMES = ("off", "talos-addr", "stable")
TRUE = ("y", "Y", "yes", "Yes", "YES", "on", "On", "ON")
FALSE = ("n", "N", "no", "No", "NO", "off", "Off", "OFF")
ZEROS: dict[str, Any] = {
    "boolean": False,
    "integer": 0,
    "number": 0,
    "any": None,
    "object": {},
    "nethelpers.DefaultAction": "accept",
    "nethelpers.Protocol": "Protocol(0)",
    "time.Duration": "0s",
}


class ConfigError(Exception):
    """A configuration that Talos cannot load."""


def read(kind: str, text: str, value: Any) -> Any:
    """Return a scalar of this kind, given as it stands and as YAML takes it. Raises ConfigError."""
    if kind == "string":
        return text
    if kind == "boolean":
        return _truth(text, value)
    if kind == "integer":
        return _integer(text, value)
    if kind == "number":
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ConfigError(f"cannot unmarshal {text!r} into a number")
        return value
    reader = READERS.get(kind)
    return reader(text) if reader else value


def zero(kind: str) -> Any:
    """Return what a value of this kind is when nothing is said."""
    return ZEROS.get(kind, "")


def base64_text(text: str) -> str:
    """Return base64 as it stands. Raises ConfigError when it is none."""
    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ConfigError(f"illegal base64 data: {error}") from error
    return text


def merged_urls(left: str, right: str) -> str:
    """Return one URL laid over another part by part, as Go's reflection merges them: an empty part leaves the old one.

    What Go takes for a scheme and something opaque (`example.com:6443`) stays opaque under a host that comes later.
    """
    old, new = (_URL.fullmatch(text) for text in (left, right))
    if old is None or new is None:
        return right
    scheme, opaque, host, path, query, fragment = (
        new[part] or old[part] or "" for part in ("scheme", "opaque", "host", "path", "query", "fragment")
    )
    before = f"{scheme}:" if scheme else ""
    place = opaque or ((f"//{host}" if host or (scheme and path) else "") + path)
    return before + place + (f"?{query}" if query else "") + (f"#{fragment}" if fragment else "")


def _truth(text: str, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if text not in TRUE + FALSE:
        raise ConfigError(f"cannot unmarshal {text!r} into bool")
    return text in TRUE


def _integer(text: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or int(value) != value:
        raise ConfigError(f"cannot unmarshal {text!r} into int")
    return int(value)


def _one_of(names: tuple[str, ...], of: str) -> Callable[[str], str]:
    def reader(text: str) -> str:
        if text not in names:
            raise ConfigError(f"{text} does not belong to {of} values")
        return text

    return reader


def _url(text: str) -> str:
    """Return a URL; Go allows no space or control character in a host, and no colon in a first path segment."""
    if re.search(r"[\x00-\x20\x7f]", urlsplit(text).netloc) or re.match(r"[^/?#]*[^a-zA-Z0-9+.\-:/?#][^/?#]*:", text):
        raise ConfigError(f'parse "{text}": invalid character " " in host name')
    if re.match(r"[0-9][^/?#]*:", text):
        raise ConfigError(f'parse "{text}": first path segment in URL cannot contain colon')
    return text


def _prefix(text: str) -> str:
    _, slash, bits = text.partition("/")
    if not slash or not bits.isdigit():
        raise ConfigError(f'netip.ParsePrefix("{text}"): no number of bits')
    try:
        return str(ipaddress.ip_interface(text))
    except ValueError as error:
        raise ConfigError(f'netip.ParsePrefix("{text}"): {error}') from error


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError as error:
        raise ConfigError(f'ParseAddr("{text}"): {error}') from error


def _ports(text: str) -> int | str:
    low, dash, high = text.partition("-")
    if not (low.isdigit() and (high.isdigit() or not dash) and int(low) < 65536 and int(high or 0) < 65536):
        raise ConfigError(f'invalid port range: "{text}"')
    return text if dash and int(low) != int(high) else int(low)


def _duration(text: str) -> str:
    if not re.fullmatch(r"0|[-+]?([0-9]+(\.[0-9]*)?(ns|us|µs|ms|s|m|h))+", text):
        raise ConfigError(f"cannot unmarshal {text!r} into time.Duration")
    return text


URLS = ("v1alpha1.Endpoint", "meta.URL")
_URL = re.compile(
    r"(?:(?P<scheme>[a-zA-Z][a-zA-Z0-9+.\-]*):(?=.)(?P<opaque>[^/?#][^?#]*)?)?"
    r"(?://(?P<host>[^/?#]*))?(?P<path>[^?#]*)(?:\?(?P<query>[^#]*))?(?:#(?P<fragment>.*))?"
)
READERS: dict[str, Callable[[str], Any]] = {
    "nethelpers.DefaultAction": _one_of(DEFAULT_ACTIONS, "DefaultAction"),
    "nethelpers.Protocol": _one_of(PROTOCOLS, "Protocol"),
    "nethelpers.AutoHostnameKind": _one_of(AUTOMATIC_HOSTNAMES, "AutoHostnameKind"),
    "netip.Prefix": _prefix,
    "network.Prefix": _prefix,
    "netip.Addr": _address,
    "network.Addr": _address,
    "network.PortRange": _ports,
    "v1alpha1.Endpoint": _url,
    "meta.URL": _url,
    "v1alpha1.Base64Bytes": base64_text,
    "time.Duration": _duration,
}
