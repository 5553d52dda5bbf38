"""Label and field selectors."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from tallship.lab.kube.errors import RefusedRequest
from tallship.lab.kube.resources import Resource
from tallship.lab.kube.tables import json_path

Document = dict[str, Any]
Matches = Callable[[Document], bool]

_CUSTOM_FIELDS = ("metadata.name", "metadata.namespace")
_SET = re.compile(r"(\S+)\s+(in|notin)\s*\(([^)]*)\)")
_EXISTS = re.compile(r"!?\s*[\w./-]+")
_COMPARISON = re.compile(r"([\w./-]+)\s*(==|!=|=)\s*([\w.-]*)")


def selector(query: Mapping[str, str], resource: Resource) -> Matches:
    """Return whether an object is selected by a request. Raises RefusedRequest (BadRequest)."""
    tests = [_label_test(each) for each in _split(query.get("labelSelector", ""))]
    tests += [_field_test(each, resource) for each in _split(query.get("fieldSelector", ""))]
    return lambda item: all(test(item) for test in tests)


def _split(text: str) -> list[str]:
    """Return the requirements of a selector; commas inside brackets separate values, not requirements."""
    return [each.strip() for each in re.split(r",(?![^()]*\))", text) if each.strip()]


def _label_test(requirement: str) -> Matches:
    if among := _SET.fullmatch(requirement):
        values = {each.strip() for each in among[3].split(",")}
        return lambda item: (_labels(item).get(among[1]) in values) == (among[2] == "in")
    if found := _COMPARISON.fullmatch(requirement):
        return lambda item: (_labels(item).get(found[1]) == found[3]) == (found[2] != "!=")
    if not _EXISTS.fullmatch(requirement):
        raise RefusedRequest("BadRequest", f"unable to parse requirement: {requirement}")
    name = requirement.lstrip("! ")
    return lambda item: (name in _labels(item)) != requirement.startswith("!")


def _labels(item: Document) -> Document:
    labels: Document = item["metadata"].get("labels", {})
    return labels


def _field_test(requirement: str, resource: Resource) -> Matches:
    found = re.fullmatch(r"([\w.]+)\s*(==|!=|=)\s*(.*)", requirement)
    if found is None:
        raise RefusedRequest("BadRequest", f'invalid selector: "{requirement}"; can\'t understand "{requirement}"')
    if resource.is_custom and found[1] not in _CUSTOM_FIELDS:
        raise RefusedRequest("BadRequest", f"field label not supported: {found[1]}")
    return lambda item: (str(json_path(item, f".{found[1]}") or "") == found[3]) == (found[2] != "!=")
