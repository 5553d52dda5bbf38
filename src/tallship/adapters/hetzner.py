"""Hetzner Cloud's API: what a cluster needs to be found, protected, priced, and given an image.

Everything is found by label or name, never by a stored id. Requests go through hcloud's client as plain documents: its
bound objects ask the API again when an attribute is read, which hides calls.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hcloud
import requests

from tallship import __version__
from tallship.adapters.calls import Calls
from tallship.adapters.hetzner_errors import translated
from tallship.adapters.hetzner_prices import Prices
from tallship.adapters.hetzner_resources import Action, Document, Firewall, Image, Resource, Server, ServerType, SshKey
from tallship.errors import ApiError, SetupError, Unreachable

PAGE = 50
"""Hetzner API: the most entries a page may have."""
PAGES = 200
"""No list is longer than this many pages."""


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
        return [ServerType.read(each) for each in self._list("/server_types", "server_types")]

    def find_server_type(self, name: str) -> ServerType | None:
        """Return the kind of server of that name, or None."""
        found = self._list("/server_types", "server_types", name=name)
        return ServerType.read(found[0]) if found else None

    def pricing(self) -> Prices:
        """Return what everything costs."""
        document = self._ask("GET", "/pricing")["pricing"]
        return Prices(str(document["currency"]), document)

    def list_images(self, selector: str, architecture: str = "") -> list[Image]:
        """Return the images with these labels, oldest first; of one Hetzner architecture (`x86`, `arm`) or all."""
        only = {"architecture": architecture} if architecture else {}
        found = self._list("/images", "images", label_selector=selector, **only)
        return sorted(map(Image.read, found), key=lambda each: each.id)

    def put_image_labels(self, image: int, labels: Mapping[str, str]) -> None:
        """Set a snapshot's labels: these and no others."""
        self._ask("PUT", f"/images/{image}", json={"labels": dict(labels)})

    def delete_image(self, image: int) -> None:
        """Delete a snapshot; one that is gone already is fine. Raises ApiError `protected`."""
        self._delete(f"/images/{image}")

    def list_servers(self, selector: str = "") -> list[Server]:
        """Return the servers with these labels, or all."""
        labels = {"label_selector": selector} if selector else {}
        return [Server.read(each) for each in self._list("/servers", "servers", **labels)]

    def list_actions(self, server_id: int) -> list[Action]:
        """Return what was begun on a server. Raises ApiError `not_found`."""
        return [Action.read(each) for each in self._list(f"/servers/{server_id}/actions", "actions")]

    def get_server(self, server_id: int) -> Server:
        """Return one server. Raises ApiError `not_found`."""
        return Server.read(self._ask("GET", f"/servers/{server_id}")["server"])

    def list_owned(self, selector: str) -> list[str]:
        """Return servers, networks and load balancers with these labels, each as `server NAME`."""
        paths = ("servers", "networks", "load_balancers")
        return [f"{each.noun} {each.name}" for path in paths for each in self.list_resources(path, selector)]

    def list_resources(self, path: str, selector: str) -> list[Resource]:
        """Return what has these labels in one collection."""
        return [Resource.read(path, each) for each in self._list(f"/{path}", path, label_selector=selector)]

    def delete_resource(self, resource: Resource) -> None:
        """Begin to delete something; what is gone already is fine. Raises ApiError while it is in use or locked."""
        if resource.path == "firewalls":
            self._unbind_firewall(resource.id)
        self._delete(f"/{resource.path}/{resource.id}")

    def _unbind_firewall(self, firewall: int) -> None:
        """Take a firewall off its label selectors: Hetzner deletes none that is bound, even where nothing matches."""
        bound = [
            {"type": "label_selector", "label_selector": {"selector": each["label_selector"]["selector"]}}
            for each in self._ask("GET", f"/firewalls/{firewall}")["firewall"]["applied_to"]
            if each["type"] == "label_selector"
        ]
        if bound:
            self._ask("POST", f"/firewalls/{firewall}/actions/remove_from_resources", json={"remove_from": bound})

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
        return Firewall.read(found[0]) if found else None

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

    def list_ssh_keys(self, selector: str) -> list[SshKey]:
        """Return the keys with these labels."""
        found = self._list("/ssh_keys", "ssh_keys", label_selector=selector)
        return [SshKey.read(each) for each in found]

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
        return Server.read(self._ask("POST", "/servers", json=body)["server"])

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
