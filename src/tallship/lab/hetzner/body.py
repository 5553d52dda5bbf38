"""Reading a request's JSON body: every getter returns a value of the right type or refuses with the field's name."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Any

from tallship.lab.hetzner.errors import invalid, one_of
from tallship.lab.hetzner.selectors import check_labels, parse


class Body:
    """A JSON object of a request; `path` is where it stands, for the names of fields in errors."""

    def __init__(self, data: object, path: str = "") -> None:
        if not isinstance(data, dict):
            raise invalid(path.rstrip(".") or "body", "must be an object")
        self._data: dict[str, Any] = data
        self._path = path

    def has(self, name: str) -> bool:
        """True when the field is there and not null."""
        return self._data.get(name) is not None

    def value(self, name: str) -> Any:
        """Return the field as it is; it must be there."""
        if not self.has(name):
            raise self.wrong(name, "is required")
        return self._data[name]

    def text(self, name: str, default: str | None = None) -> str:
        """Return a string; required when there is no default."""
        value = self.value(name) if default is None else self._data.get(name, default)
        if not isinstance(value, str):
            raise self.wrong(name, "must be a string")
        return value

    def number(self, name: str, default: int | None = None) -> int:
        """Return an integer; required when there is no default."""
        value = self.value(name) if default is None else self._data.get(name, default)
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.wrong(name, "must be an integer")
        return value

    def flag(self, name: str, default: bool) -> bool:
        """Return a boolean."""
        value = self._data.get(name)
        if not isinstance(value, bool | None):
            raise self.wrong(name, "must be a boolean")
        return default if value is None else value

    def choice(self, name: str, choices: Sequence[str], default: str | None = None) -> str:
        """Return one of several strings; required when there is no default."""
        value = self.text(name, default)
        if value not in choices:
            raise self.wrong(name, one_of(choices))
        return value

    def port(self, name: str, default: int | None = None) -> int:
        """Return a TCP port."""
        value = self.number(name, default)
        if not 1 <= value <= 65535:
            raise self.wrong(name, "must be between 1 and 65535")
        return value

    def cidr(self, name: str) -> str:
        """Return an IPv4 range in CIDR notation."""
        try:
            return str(ipaddress.IPv4Network(self.text(name)))
        except ValueError as error:
            raise self.wrong(name, "must be an IPv4 network in CIDR notation") from error

    def selector(self, name: str) -> str:
        """Return a label selector that can be read."""
        selector = self.text(name)
        parse(selector)
        return selector

    def labels(self) -> dict[str, str]:
        """Return the field `labels`, checked; empty when it is absent."""
        return check_labels(self.object("labels")._data)

    def list(self, name: str) -> Sequence[Any]:
        """Return a list; empty when it is absent."""
        value = self._data.get(name)
        if not isinstance(value, list | None):
            raise self.wrong(name, "must be a list")
        return value or ()

    def numbers(self, name: str) -> Sequence[int]:
        """Return a list of ids; empty when it is absent."""
        values = self.list(name)
        if not all(isinstance(value, int) for value in values):
            raise self.wrong(name, "must be a list of integers")
        return values

    def texts(self, name: str) -> Sequence[str]:
        """Return a list of strings; empty when it is absent."""
        values = self.list(name)
        if not all(isinstance(value, str) for value in values):
            raise self.wrong(name, "must be a list of strings")
        return values

    def object(self, name: str) -> Body:
        """Return the object in a field; empty when it is absent."""
        return Body(self._data.get(name) or {}, f"{self._path}{name}.")

    def objects(self, name: str) -> Sequence[Body]:
        """Return the objects in a list; empty when it is absent."""
        return [Body(each, f"{self._path}{name}.{index}.") for index, each in enumerate(self.list(name))]

    def wrong(self, name: str, problem: str) -> Exception:
        """Return the refusal of one field."""
        return invalid(self._path + name, problem)
