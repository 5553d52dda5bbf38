"""Hetzner Cloud's API: what a cluster needs to be found, protected, priced, and given an image.

Everything is found by label or name, never by a stored id. Requests go through hcloud's client as plain documents: its
bound objects ask the API again when an attribute is read, which hides calls.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import hcloud
import requests
import urllib3

from tallship import __version__
from tallship.adapters import in_time
from tallship.adapters.calls import Calls, Memory
from tallship.adapters.hetzner_budget import Budget
from tallship.adapters.hetzner_errors import malformed, translated
from tallship.adapters.hetzner_prices import Prices
from tallship.adapters.hetzner_resources import (
    Action,
    Document,
    Firewall,
    Image,
    LoadBalancer,
    Resource,
    Server,
    ServerType,
    SshKey,
)
from tallship.adapters.hetzner_shapes import COLLECTIONS, FIREWALL, MADE, PRICING, SERVER
from tallship.adapters.shapes import MISREAD, fitted
from tallship.errors import ApiError, SetupError, Unreachable

Found = TypeVar("Found")

MOST_BYTES = 64 * 1024**2
"""Of one answer."""
PAGE = 50
"""Hetzner API: the most entries a page may have."""
PAGES = 200
"""A list that goes on after so many pages has no end: Hetzner's projects hold fewer things."""


class Hetzner:
    """One project. Every request has a time limit and is made once: whoever asks decides about asking again."""

    def __init__(
        self,
        token: str,
        endpoint: str,
        ca_file: Path | None = None,
        timeout: float = 20,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        if not (token.isascii() and token.isalnum()):
            hint = "Hetzner's tokens are letters and digits only: was something else copied with it?"
            raise SetupError("the Hetzner token is empty or not whole", hint=hint)
        self.calls = Calls("Hetzner")
        self.memory = Memory()
        """Lists, while somebody looks at one moment."""
        self.budget = Budget(now)
        """What Hetzner has said of the calls that are left."""
        self._client = hcloud.Client(token, endpoint, "tallship", __version__, timeout=timeout)
        inner = self._client._client
        inner._retry_max_retries = 0  # its own retries repeat a create that timed out
        inner._session.hooks["response"].append(self._heard)
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
        return frozenset(self._list("/locations", "locations", lambda each: str(each["name"])))

    def list_server_types(self) -> list[ServerType]:
        """Return every kind of server."""
        return self._list("/server_types", "server_types", ServerType.read)

    def find_server_type(self, name: str) -> ServerType | None:
        """Return the kind of server of that name, or None."""
        return next(iter(self._list("/server_types", "server_types", ServerType.read, name=name)), None)

    def pricing(self) -> Prices:
        """Return what everything costs."""
        found = self.memory.answer("/pricing", self._pricing_now)
        return Prices(found["currency"], found)

    def _pricing_now(self) -> Document:
        return self._read("GET", "/pricing", lambda body: fitted(body, {"pricing!": PRICING}, only=True)["pricing"])

    def list_images(self, selector: str, architecture: str = "") -> list[Image]:
        """Return the images with these labels, oldest first; of one Hetzner architecture (`x86`, `arm`) or all."""
        only = {"architecture": architecture} if architecture else {}
        found = self._list("/images", "images", Image.read, label_selector=selector, **only)
        return sorted(found, key=lambda each: each.id)

    def put_image_labels(self, image: int, labels: Mapping[str, str]) -> None:
        """Set a snapshot's labels: these and no others."""
        self._ask("PUT", f"/images/{image}", json={"labels": dict(labels)})

    def delete_image(self, image: int) -> None:
        """Delete a snapshot; one that is gone already is fine. Raises ApiError `protected`."""
        self._delete(f"/images/{image}")

    def list_servers(self, selector: str = "") -> list[Server]:
        """Return the servers with these labels, or all."""
        labels = {"label_selector": selector} if selector else {}
        return self._list("/servers", "servers", Server.read, **labels)

    def list_actions(self, server_id: int) -> list[Action]:
        """Return what was begun on a server. Raises ApiError `not_found`."""
        return self._list(f"/servers/{server_id}/actions", "actions", Action.read)

    def get_server(self, server_id: int) -> Server:
        """Return one server. Raises ApiError `not_found`."""
        return self._read("GET", f"/servers/{server_id}", _server)

    def list_owned(self, selector: str) -> list[str]:
        """Return servers, networks and load balancers with these labels, each as `server NAME`."""
        paths = ("servers", "networks", "load_balancers")
        return [f"{each.noun} {each.name}" for path in paths for each in self.list_resources(path, selector)]

    def list_load_balancers(self, selector: str) -> list[LoadBalancer]:
        """Return the load balancers with these labels."""
        return self._list("/load_balancers", "load_balancers", LoadBalancer.read, label_selector=selector)

    def list_resources(self, path: str, selector: str = "") -> list[Resource]:
        """Return what has these labels in one collection, or all of it; of images only snapshots."""
        labels = {"label_selector": selector} if selector else {}
        only = {"type": "snapshot"} if path == "images" else {}
        return self._list(f"/{path}", path, partial(Resource.read, path), **labels, **only)

    def list_documents(self, path: str, selector: str = "") -> list[Document]:
        """Return what is in one collection as the API tells it; of images only snapshots."""
        labels = {"label_selector": selector} if selector else {}
        only = {"type": "snapshot"} if path == "images" else {}
        return list(self._documents(f"/{path}", path, {**labels, **only}))

    def put_labels(self, resource: Resource, labels: Mapping[str, str]) -> None:
        """Set labels beside those that a resource has."""
        self._ask("PUT", f"/{resource.path}/{resource.id}", json={"labels": {**resource.labels, **labels}})

    def drop_label(self, resource: Resource, key: str) -> None:
        """Take one label away from a resource that has it."""
        labels = {name: value for name, value in resource.labels.items() if name != key}
        self._ask("PUT", f"/{resource.path}/{resource.id}", json={"labels": labels})

    def delete_resource(self, resource: Resource) -> None:
        """Begin to delete something; what is gone already is fine. Raises ApiError while it is in use or locked."""
        if resource.path == "firewalls":
            self._unbind_firewall(resource.id)
        if resource.path == "volumes" and resource.server is not None:
            self._ask("POST", f"/volumes/{resource.id}/actions/detach")
        self._delete(f"/{resource.path}/{resource.id}")

    def _unbind_firewall(self, firewall: int) -> None:
        """Take a firewall off its label selectors: Hetzner deletes none that is bound, even where nothing matches."""
        found = self._read("GET", f"/firewalls/{firewall}", _firewall)
        bound = [{"type": "label_selector", "label_selector": {"selector": each}} for each in sorted(found.selectors)]
        if bound:
            self._ask("POST", f"/firewalls/{firewall}/actions/remove_from_resources", json={"remove_from": bound})

    def names_taken(
        self, *, network: str, placement_groups: Iterable[str], firewall: str, ours: Collection[str]
    ) -> list[str]:
        """Return which of the names something has that carries none of our labels, each as "network `NAME`"."""
        groups = [("placement group", each) for each in placement_groups]
        nouns = [("network", network), *groups, ("firewall", firewall)]
        taken = []
        for noun, name in nouns:
            path = noun.replace(" ", "_") + "s"
            found = self._list(f"/{path}", path, partial(Resource.read, path), name=name)
            taken += [f"{noun} `{name}`" for each in found if not any(label in each.labels for label in ours)]
        return taken

    def find_firewall(self, name: str) -> Firewall | None:
        """Return the firewall of that name, or None."""
        return next(iter(self._list("/firewalls", "firewalls", Firewall.read, name=name)), None)

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
        return self._read("POST", "/ssh_keys", lambda made: _made(made, "ssh_key"), json=body)

    def list_ssh_keys(self, selector: str) -> list[SshKey]:
        """Return the keys with these labels."""
        return self._list("/ssh_keys", "ssh_keys", SshKey.read, label_selector=selector)

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
        return self._read("POST", "/servers", _server, json=body)

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
        path = f"/servers/{server_id}/actions/create_image"
        return self._read("POST", path, lambda made: _made(made, "image"), json=body)

    def delete_server(self, server_id: int) -> None:
        """Delete a server; one that is gone already is fine."""
        self._delete(f"/servers/{server_id}")

    def _heard(self, answer: requests.Response, **_request: Any) -> None:
        """Read the body before requests does, which would read a trickle for ever. Raises OSError and ValueError."""
        self.budget.hear(answer.headers)
        try:
            answer._content = in_time.body(partial(answer.raw.read1, decode_content=True), MOST_BYTES)
        except urllib3.exceptions.HTTPError as error:
            raise requests.exceptions.ConnectionError(error) from error
        finally:
            if not isinstance(answer._content, bytes):
                answer.close()
        answer._content_consumed = True

    def _delete(self, path: str) -> None:
        try:
            self._ask("DELETE", path)
        except ApiError as error:
            if error.code != "not_found":
                raise

    def _list(self, path: str, key: str, read: Callable[[Document], Found], **query: str) -> list[Found]:
        # A project may hold thousands of servers: of all together no more is kept than is read here.
        found = self._documents(path, key, query, only=not query)
        with _translating(f"GET {path}"):
            return [read(each) for each in found]

    def _documents(self, path: str, key: str, query: Mapping[str, str], *, only: bool = False) -> list[Document]:
        question = (path, only, *sorted(query.items()))
        return self.memory.answer(question, lambda: self._list_now(path, key, only, **query))

    def _list_now(self, path: str, key: str, only: bool, **query: str) -> list[Document]:
        found: list[Document] = []
        page: int | None = 1
        while page is not None:
            asked = {**query, "page": page, "per_page": PAGE}
            more, page = self._read("GET", path, partial(_page, key, page, only), params=asked)
            found += more
        return found

    def _read(self, method: str, path: str, read: Callable[[Document], Found], **request: Any) -> Found:
        body = self._ask(method, path, **request)
        with _translating(f"{method} {path}"):
            return read(body)

    def _ask(self, method: str, path: str, **request: Any) -> Document:
        self.calls.note(f"{method} {'/'.join('ID' if part.isdigit() else part for part in path.split('/'))}")
        with _translating(f"{method} {path}"):
            body: Document = self._client.request(method, path, **request)
            return body


def _page(key: str, page: int, only: bool, body: Document) -> tuple[list[Document], int | None]:
    """Return what a page lists, and the next one's number. Raises ValueError for what is no page, or has no end."""
    found = fitted(body, {f"{key}!": [COLLECTIONS[key]], "meta!": {"pagination!": {"next_page": int}}}, only=only)
    following = found["meta"]["pagination"].get("next_page")
    if following is not None and (following != page + 1 or page >= PAGES):
        raise ValueError(f"after page {page} of at most {PAGES} comes {following}")
    return found[key], following


def _firewall(body: Document) -> Firewall:
    return Firewall.read(fitted(body, {"firewall!": FIREWALL})["firewall"])


def _server(body: Document) -> Server:
    return Server.read(fitted(body, {"server!": SERVER})["server"])


def _made(body: Document, key: str) -> int:
    return int(fitted(body, {f"{key}!": MADE})[key]["id"])


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


@contextmanager
def _translating(what: str) -> Iterator[None]:
    try:
        with _explaining(what):
            yield
    except requests.exceptions.SSLError as error:
        hint = "does a proxy open its TLS? REQUESTS_CA_BUNDLE names an authority to trust"
        raise Unreachable("Hetzner's certificate is not accepted", detail=str(error), hint=hint) from error
    except OSError as error:  # requests' own errors among them
        reason = type(error).__name__
        raise Unreachable(f"no answer from Hetzner to {what}: {reason}", hint="is the network up?") from error
    except MISREAD as error:
        raise malformed(what, str(error) if isinstance(error, ValueError) else repr(error)) from error


@contextmanager
def _explaining(what: str) -> Iterator[None]:
    """Raise our error for one of Hetzner's, which may itself be none that its API promises."""
    try:
        yield
    except hcloud.APIException as error:
        raise translated(error, what) from error
