"""The three ordinary patches: merge (RFC 7396), JSON (RFC 6902), and Kubernetes' strategic merge."""

from __future__ import annotations

import copy
from typing import Any

from tallship.lab.kube.errors import RefusedRequest
from tallship.lab.kube.fields import KEYED_LISTS, SETS


def merge_patch(value: Any, change: Any) -> Any:
    """Return the value after a merge patch: null removes, lists are replaced."""
    if not isinstance(change, dict):
        return copy.deepcopy(change)
    result = dict(value) if isinstance(value, dict) else {}
    for name, each in change.items():
        if each is None:
            result.pop(name, None)
        else:
            result[name] = merge_patch(result.get(name), each)
    return result


def strategic_patch(value: Any, change: Any, name: str = "") -> Any:
    """Return the value after a strategic merge patch, as for the built-in kinds: keyed lists are merged by key."""
    if isinstance(change, dict):
        if change.get("$patch") == "replace":
            return {key: copy.deepcopy(each) for key, each in change.items() if key != "$patch"}
        result = dict(value) if isinstance(value, dict) else {}
        for key, each in change.items():
            if key.startswith("$"):
                continue
            if each is None:
                result.pop(key, None)
            else:
                result[key] = strategic_patch(result.get(key), each, key)
        return result
    if isinstance(change, list) and isinstance(value, list):
        if name in SETS:
            return value + [each for each in change if each not in value]
        if name in KEYED_LISTS:
            return _merge_keyed(value, change, KEYED_LISTS[name])
    return copy.deepcopy(change)


def _merge_keyed(value: list[Any], change: list[Any], keys: tuple[str, ...]) -> list[Any]:
    result = list(value)
    for each in change:
        place = next((n for n, old in enumerate(result) if all(old.get(k) == each.get(k) for k in keys)), None)
        if each.get("$patch") == "delete":
            if place is not None:
                del result[place]
        elif place is None:
            result.append(copy.deepcopy(each))
        else:
            result[place] = strategic_patch(result[place], each)
    return result


def json_patch(value: Any, operations: Any) -> Any:
    """Return the value after a JSON patch; raises RefusedRequest when an operation cannot be done."""
    if not isinstance(operations, list):
        raise RefusedRequest("BadRequest", "a JSON patch is a list of operations")
    result = copy.deepcopy(value)
    for operation in operations:
        try:
            result = _operate(result, operation)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise RefusedRequest(
                "Invalid", f"the server rejected our request due to an error in our request: {error}"
            ) from error
    return result


def _operate(value: Any, operation: dict[str, Any]) -> Any:
    kind, path = operation["op"], _pointer(operation["path"])
    if kind in ("move", "copy"):
        source = _pointer(operation["from"])
        moved = copy.deepcopy(_find(value, source))
        if kind == "move":
            _remove(value, source)
        return _add(value, path, moved)
    if kind == "test":
        if _find(value, path) != operation["value"]:
            raise ValueError(f"testing value {operation['path']} failed")
        return value
    if kind == "remove":
        _remove(value, path)
        return value
    if kind == "replace":
        _find(value, path)
        if path and isinstance(_find(value, path[:-1]), list):
            _remove(value, path)
        return _add(value, path, operation["value"])
    if kind == "add":
        return _add(value, path, operation["value"])
    raise ValueError(f"unknown operation {kind}")


def _pointer(text: str) -> list[str]:
    return [part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:]]


def _find(value: Any, path: list[str]) -> Any:
    for part in path:
        value = value[int(part)] if isinstance(value, list) else value[part]
    return value


def _add(value: Any, path: list[str], new: Any) -> Any:
    if not path:
        return new
    place = _find(value, path[:-1])
    if isinstance(place, list):
        place.insert(len(place) if path[-1] == "-" else int(path[-1]), new)
    else:
        place[path[-1]] = new
    return value


def _remove(value: Any, path: list[str]) -> None:
    place = _find(value, path[:-1])
    if isinstance(place, list):
        del place[int(path[-1])]
    else:
        del place[path[-1]]
