"""Kubeconfig and talosconfig as text: what differs, and endpoints that a person can reach. No I/O."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import yaml

from tallship import bounded

Document = dict[str, Any]


@dataclass(frozen=True)
class Addresses:
    """The control planes' addresses, in the order of their Machines' names."""

    external: list[str]
    internal: list[str]


@dataclass(frozen=True)
class Access:
    """What a kubeconfig or talosconfig gives: to whom it talks, whom it trusts, and as whom."""

    servers: tuple[str, ...]
    """Endpoints, and the nodes behind them that a talosconfig names."""
    authority: bytes
    certificate: bytes


def node_addresses(machines: list[Document]) -> Addresses:
    """Return the first external IPv4 and the first internal address of every Machine."""
    external: list[str] = []
    internal: list[str] = []
    for machine in sorted(machines, key=lambda each: str(each["metadata"]["name"])):
        for kind, found in (("ExternalIP", external), ("InternalIP", internal)):
            of_kind = [a["address"] for a in machine.get("status", {}).get("addresses", []) if a["type"] == kind]
            found.extend([address for address in of_kind if ":" not in address][:1])
    return Addresses(external, internal)


def talosconfig(text: str, endpoints: list[str], nodes: list[str]) -> str:
    """Return a talosconfig whose endpoints and nodes are replaced.

    CABPT v0.6.11 lists every address of every machine as an endpoint, the unreachable private ones too. Raises
    ValueError when the text is none.
    """
    with _being("talosconfig"):
        config = bounded.load(text)
        context = config["contexts"][config["context"]]
        context["endpoints"] = endpoints
        context["nodes"] = nodes
        return yaml.safe_dump(config, sort_keys=False)


def read(noun: str, text: str) -> Access:
    """Return what the text gives. Raises ValueError when it is not such a file."""
    with _being(noun):
        config = bounded.load(text)
        if noun == "talosconfig":
            context = config["contexts"][config["context"]]
            keys = (context["ca"], context["crt"])
            servers = (*context["endpoints"], *(context.get("nodes") or ()))
            return Access(servers, *(base64.b64decode(each) for each in keys))
        context = _named(config["contexts"], config["current-context"])["context"]
        cluster = _named(config["clusters"], context["cluster"])["cluster"]
        user = _named(config["users"], context["user"])["user"]
        keys = (cluster["certificate-authority-data"], user["client-certificate-data"])
        return Access((cluster["server"],), *(base64.b64decode(each) for each in keys))


@contextmanager
def _being(noun: str) -> Iterator[None]:
    """Raise ValueError for a text that is not such a file."""
    try:
        yield
    except (bounded.Unreadable, AttributeError, LookupError, TypeError, ValueError, StopIteration) as error:
        raise ValueError(f"not a {noun}") from error


def differences(noun: str, have: str, want: str, today: datetime, renew_days: int) -> list[str]:
    """Return why a local file must be written again; nothing when it is good. Raises ValueError when `want` is none."""
    try:
        mine = read(noun, have)
        mine_ends = expires(mine.certificate)
    except ValueError:
        return ["it cannot be read"]
    theirs = read(noun, want)
    reasons = []
    if mine.authority != theirs.authority:
        reasons.append("it trusts another authority")
    if mine.servers != theirs.servers:
        reasons.append("it names other endpoints")
    if mine_ends - today < timedelta(days=renew_days) < expires(theirs.certificate) - today:
        reasons.append("its certificate ends soon")
    return reasons


def expires(certificate: bytes) -> datetime:
    """Return the moment at which a PEM certificate ends, in UTC. Raises ValueError for what is none."""
    from cryptography import exceptions, x509

    try:
        return x509.load_pem_x509_certificate(certificate).not_valid_after_utc
    except (x509.InvalidVersion, exceptions.UnsupportedAlgorithm) as error:
        raise ValueError("not a certificate") from error


def merged(have: str, add: str, name: str) -> str:
    """Return the usual kubeconfig with one cluster added or replaced under `name`; the rest stays as it is.

    Raises ValueError when one of the two is not such a file.
    """
    with _being("kubeconfig"):
        config = _mapping(have) or {"apiVersion": "v1", "kind": "Config"}
        other = bounded.load(add)
        context = _named(other["contexts"], other["current-context"])["context"]
        entries = {
            "clusters": {"name": name, "cluster": _named(other["clusters"], context["cluster"])["cluster"]},
            "users": {"name": name, "user": _named(other["users"], context["user"])["user"]},
            "contexts": {"name": name, "context": {"cluster": name, "user": name}},
        }
        for key, entry in entries.items():
            config[key] = [each for each in _named_entries(config.get(key)) if each["name"] != name] + [entry]
        config["current-context"] = name
        return yaml.safe_dump(config, sort_keys=False)


def merged_talosconfig(have: str, add: str, name: str) -> str:
    """Return the usual talosconfig with one context added or replaced under `name`.

    Raises ValueError when one of the two is not such a file.
    """
    with _being("talosconfig"):
        config, other = _mapping(have), bounded.load(add)
        contexts = config.get("contexts") or {}
        config["contexts"] = {**contexts, name: other["contexts"][other["context"]]}
        config["context"] = name
        return yaml.safe_dump(config, sort_keys=False)


def _mapping(text: str) -> Document:
    found = bounded.load(text) or {}
    if not isinstance(found, dict):
        raise TypeError("keys and values")
    return found


def _named_entries(found: Any) -> list[Document]:
    entries = found or []
    if not isinstance(entries, list) or not all(isinstance(each, dict) and "name" in each for each in entries):
        raise TypeError("a list of what has a name")
    return entries


def _named(entries: list[Document], name: str) -> Document:
    return next(each for each in entries if each["name"] == name)
