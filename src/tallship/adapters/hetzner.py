"""Hetzner Cloud's API: what a cluster needs to be found, protected, priced, and given an image.

Everything is found by label or name, never by a stored id. Requests go through hcloud's client as plain documents: its
bound objects ask the API again when an attribute is read, which hides calls.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import hcloud
import requests

from tallship import __version__
from tallship.adapters.calls import Calls
from tallship.adapters.hetzner_errors import translated
from tallship.errors import ApiError, SetupError, Unreachable

Document = dict[str, Any]

PAGE = 50
"""Hetzner API: the most entries a page may have."""
PAGES = 200
"""No list is longer than this many pages."""


@dataclass(frozen=True)
class ServerType:
    """A kind of server, and where it can be had now."""

    name: str
    architecture: str
    """amd64 or arm64."""
    disk_gb: int
    available_in: frozenset[str]


@dataclass(frozen=True)
class Server:
    """A server of the project."""

    id: int
    name: str
    status: str
    server_type: str
    location: str
    ipv4: str
    labels: Mapping[str, str]
    firewalls: Mapping[int, str]
    """`applied` or `pending`, by the firewall's id."""


@dataclass(frozen=True)
class Image:
    """A snapshot or a system image."""

    id: int
    status: str
    labels: Mapping[str, str]


@dataclass(frozen=True)
class Firewall:
    """A firewall: its rules as the API has them, and the label selectors it is bound to."""

    id: int
    name: str
    rules: tuple[Document, ...]
    selectors: frozenset[str]
    labels: Mapping[str, str]


@dataclass(frozen=True)
class Prices:
    """Net prices per month in the project's currency."""

    currency: str
    document: Document

    def server(self, name: str, location: str) -> Decimal:
        """Return the price of a server type in a location."""
        return _monthly(self.document["server_types"], "name", name, location)

    def load_balancer(self, name: str, location: str) -> Decimal:
        """Return the price of a load balancer type in a location."""
        return _monthly(self.document["load_balancer_types"], "name", name, location)

    def snapshot_per_gb(self) -> Decimal:
        """Return the price of one GB of a snapshot."""
        return Decimal(self.document["image"]["price_per_gb_month"]["net"])

    def primary_ipv4(self, location: str) -> Decimal:
        """Return the price of a public IPv4 address in a location."""
        return _monthly(self.document["primary_ips"], "type", "ipv4", location)


class Hetzner:
    """One project. Every request has a time limit and is made once: whoever asks decides about asking again."""

    def __init__(self, token: str, endpoint: str, ca_file: Path | None = None, timeout: float = 20) -> None:
        if not (token.isascii() and token.isalnum()):
            hint = "Hetzner's tokens are letters and digits only: was something else copied with it?"
            raise SetupError("the Hetzner token is empty or not whole", hint=hint)
        self.calls = Calls("Hetzner")
        self._client = hcloud.Client(token, endpoint, "tallship", __version__, timeout=timeout)
        inner = self._client._client
        inner._retry_max_retries = 0  # its own retries repeat a create that timed out
        inner._session.auth = _as_it_is  # without one, requests puts a password of ~/.netrc in the token's place
        if ca_file is not None:
            inner._session.verify = str(ca_file)
            inner._session.trust_env = False

    def close(self) -> None:
        """Close all connections."""
        self._client._client._session.close()

    def check_token(self) -> None:
        """Prove that the token reads and writes, changing nothing. Raises SetupError when it does not.

        It asks to change the labels of an SSH key that cannot exist (ids begin at 1). Hetzner API: a token that may
        only read is refused every method but GET, before the path is looked at; any other token meets `not_found`.
        """
        try:
            self._ask("PUT", "/ssh_keys/0", json={"labels": {}})
        except ApiError as error:
            if error.code == "token_readonly":
                hint = "make a token with read and write permission in Hetzner's console"
                raise SetupError("the Hetzner token may only read", hint=hint) from error
            if error.code == "unauthorized":
                hint = "is it of the right project, and not deleted?"
                raise SetupError("Hetzner does not accept the token", detail=error.detail, hint=hint) from error
            if error.code not in ("not_found", "invalid_input"):
                raise

    def list_locations(self) -> frozenset[str]:
        """Return the names of all locations."""
        return frozenset(str(each["name"]) for each in self._list("/locations", "locations"))

    def list_server_types(self) -> list[ServerType]:
        """Return every kind of server."""
        return [_server_type(each) for each in self._list("/server_types", "server_types")]

    def find_server_type(self, name: str) -> ServerType | None:
        """Return the kind of server of that name, or None."""
        found = self._list("/server_types", "server_types", name=name)
        return _server_type(found[0]) if found else None

    def pricing(self) -> Prices:
        """Return what everything costs."""
        document = self._ask("GET", "/pricing")["pricing"]
        return Prices(str(document["currency"]), document)

    def list_images(self, selector: str, architecture: str) -> list[Image]:
        """Return the images with these labels for Hetzner's architecture (`x86` or `arm`)."""
        found = self._list("/images", "images", label_selector=selector, architecture=architecture)
        return [Image(each["id"], each["status"], each["labels"]) for each in found]

    def list_servers(self, selector: str) -> list[Server]:
        """Return the servers with these labels."""
        return [_server(each) for each in self._list("/servers", "servers", label_selector=selector)]

    def get_server(self, server_id: int) -> Server:
        """Return one server. Raises ApiError `not_found`."""
        return _server(self._ask("GET", f"/servers/{server_id}")["server"])

    def list_owned(self, selector: str) -> list[str]:
        """Return servers, networks and load balancers with these labels, each as `server NAME`."""
        return [
            f"{noun} {each['name']}"
            for noun, path in (("server", "servers"), ("network", "networks"), ("load balancer", "load_balancers"))
            for each in self._list(f"/{path}", path, label_selector=selector)
        ]

    def names_taken(self, *, network: str, placement_group: str, firewall: str, ours: Collection[str]) -> list[str]:
        """Return which of the names something has that carries none of our labels, each as "network `NAME`"."""
        nouns = (("network", network), ("placement group", placement_group), ("firewall", firewall))
        taken = []
        for noun, name in nouns:
            path = noun.replace(" ", "_") + "s"
            found = self._list(f"/{path}", path, name=name)
            taken += [f"{noun} `{name}`" for each in found if not any(label in each["labels"] for label in ours)]
        return taken

    def find_firewall(self, name: str) -> Firewall | None:
        """Return the firewall of that name, or None."""
        found = self._list("/firewalls", "firewalls", name=name)
        return _firewall(found[0]) if found else None

    def put_firewall(self, name: str, rules: Sequence[Document], selector: str, labels: Mapping[str, str]) -> None:
        """Create the firewall, or set its rules and bind it to the label selector where that differs."""
        bound = {"type": "label_selector", "label_selector": {"selector": selector}}
        found = self.find_firewall(name)
        if found is None:
            body = {"name": name, "labels": dict(labels), "rules": list(rules), "apply_to": [bound]}
            self._ask("POST", "/firewalls", json=body)
            return
        if list(found.rules) != list(rules):
            self._ask("POST", f"/firewalls/{found.id}/actions/set_rules", json={"rules": list(rules)})
        if selector not in found.selectors:
            self._ask("POST", f"/firewalls/{found.id}/actions/apply_to_resources", json={"apply_to": [bound]})

    def create_ssh_key(self, name: str, public_key: str, labels: Mapping[str, str]) -> int:
        """Register a public key and return its id."""
        body = {"name": name, "public_key": public_key, "labels": dict(labels)}
        return int(self._ask("POST", "/ssh_keys", json=body)["ssh_key"]["id"])

    def list_ssh_keys(self, selector: str) -> list[int]:
        """Return the ids of the keys with these labels."""
        return [int(each["id"]) for each in self._list("/ssh_keys", "ssh_keys", label_selector=selector)]

    def delete_ssh_key(self, key: int) -> None:
        """Delete a key; one that is gone already is fine."""
        self._delete(f"/ssh_keys/{key}")

    def create_server(
        self, name: str, server_type: str, location: str, image: str, labels: Mapping[str, str], keys: Sequence[int]
    ) -> Server:
        """Create a server that is switched off."""
        body = {
            "name": name,
            "server_type": server_type,
            "location": location,
            "image": image,
            "labels": dict(labels),
            "ssh_keys": list(keys),
            "start_after_create": False,
        }
        return _server(self._ask("POST", "/servers", json=body)["server"])

    def enable_rescue(self, server_id: int, keys: Sequence[int]) -> None:
        """Make the next boot one into the rescue system, which lets these keys in."""
        body = {"type": "linux64", "ssh_keys": list(keys)}
        self._ask("POST", f"/servers/{server_id}/actions/enable_rescue", json=body)

    def power_on(self, server_id: int) -> None:
        """Switch a server on."""
        self._ask("POST", f"/servers/{server_id}/actions/poweron")

    def power_off(self, server_id: int) -> None:
        """Cut a server's power."""
        self._ask("POST", f"/servers/{server_id}/actions/poweroff")

    def create_image(self, server_id: int, description: str, labels: Mapping[str, str]) -> int:
        """Begin a snapshot of a server's disk and return its id."""
        body = {"type": "snapshot", "description": description, "labels": dict(labels)}
        return int(self._ask("POST", f"/servers/{server_id}/actions/create_image", json=body)["image"]["id"])

    def delete_server(self, server_id: int) -> None:
        """Delete a server; one that is gone already is fine."""
        self._delete(f"/servers/{server_id}")

    def _delete(self, path: str) -> None:
        try:
            self._ask("DELETE", path)
        except ApiError as error:
            if error.code != "not_found":
                raise

    def _list(self, path: str, key: str, **query: str) -> list[Document]:
        found: list[Document] = []
        page: int | None = 1
        while page is not None and page <= PAGES:
            body = self._ask("GET", path, params={**query, "page": page, "per_page": PAGE})
            found += body[key]
            page = body["meta"]["pagination"]["next_page"]
        return found

    def _ask(self, method: str, path: str, **request: Any) -> Document:
        self.calls.note(f"{method} {'/'.join('ID' if part.isdigit() else part for part in path.split('/'))}")
        with _translating(f"{method} {path}"):
            body: Document = self._client.request(method, path, **request)
            return body


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


@contextmanager
def _translating(what: str) -> Iterator[None]:
    try:
        yield
    except hcloud.APIException as error:
        raise translated(error, what) from error
    except requests.exceptions.SSLError as error:
        hint = "does a proxy open its TLS? REQUESTS_CA_BUNDLE names an authority to trust"
        raise Unreachable("Hetzner's certificate is not accepted", detail=str(error), hint=hint) from error
    except OSError as error:  # requests' own errors among them
        reason = type(error).__name__
        raise Unreachable(f"no answer from Hetzner to {what}: {reason}", hint="is the network up?") from error
    except (KeyError, TypeError, ValueError) as error:
        raise ApiError(f"Hetzner's answer to {what} is not what its API promises", detail=repr(error)[:200]) from error


def _server_type(each: Document) -> ServerType:
    architecture = {"x86": "amd64", "arm": "arm64"}[each["architecture"]]
    places = frozenset(place["name"] for place in each["locations"] if place.get("available", True))
    return ServerType(each["name"], architecture, int(each["disk"]), places)


def _server(each: Document) -> Server:
    public = each["public_net"]
    return Server(
        int(each["id"]),
        each["name"],
        each["status"],
        each["server_type"]["name"],
        each["location"]["name"],
        (public["ipv4"] or {}).get("ip", ""),
        each["labels"],
        {int(one["id"]): one["status"] for one in public["firewalls"]},
    )


def _firewall(each: Document) -> Firewall:
    bound = [one["label_selector"]["selector"] for one in each["applied_to"] if one["type"] == "label_selector"]
    return Firewall(int(each["id"]), each["name"], tuple(each["rules"]), frozenset(bound), each["labels"])


def _monthly(entries: Sequence[Document], key: str, value: str, location: str) -> Decimal:
    for entry in entries:
        if entry[key] == value:
            for price in entry["prices"]:
                if price["location"] == location:
                    return Decimal(price["price_monthly"]["net"])
    raise ApiError(f"Hetzner names no price of {value} in {location}", hint="is it offered there?")
