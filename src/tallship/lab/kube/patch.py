"""The three ordinary patches: merge (RFC 7396), JSON (RFC 6902), and Kubernetes' strategic merge."""

from __future__ import annotations

from typing import Any

from tallship.lab.kube.documents import copied
from tallship.lab.kube.errors import RefusedRequest
from tallship.lab.kube.fields import Schema, is_set, map_keys, property_schema


def merge_patch(value: Any, change: Any) -> Any:
    """Return the value after a merge patch: null removes, lists are replaced."""
    if not isinstance(change, dict):
        return copied(change)
    result = dict(value) if isinstance(value, dict) else {}
    for name, each in change.items():
        if each is None:
            result.pop(name, None)
        else:
            result[name] = merge_patch(result.get(name), each)
    return result


def strategic_patch(value: Any, change: Any, schema: Schema) -> Any:
    """Return the value after a strategic merge patch: keyed lists are merged by their first key, sets by value."""
    if isinstance(change, dict):
        return _strategic_map(value if isinstance(value, dict) else {}, change, schema)
    if isinstance(change, list):
        there = value if isinstance(value, list) else []
        if is_set(schema):
            return there + [each for each in change if each not in there]
        if map_keys(schema):
            return _strategic_list(there, change, schema)
    return copied(change)


def _strategic_map(value: dict[str, Any], change: dict[str, Any], schema: Schema) -> dict[str, Any]:
    if change.get("$patch") == "replace":
        return {key: copied(each) for key, each in change.items() if key != "$patch"}
    if change.get("$patch") == "delete":
        return {}
    keep = change.get("$retainKeys")
    result = {key: each for key, each in value.items() if keep is None or key in keep}
    for key, each in change.items():
        if key.startswith("$deleteFromPrimitiveList/"):
            name = key.partition("/")[2]
            result[name] = [old for old in result.get(name, []) if old not in each]
        elif key.startswith("$"):
            continue  # $setElementOrder and the like tell of order only
        elif each is None:
            result.pop(key, None)
        else:
            result[key] = strategic_patch(result.get(key), each, property_schema(schema, key))
    return result


def _strategic_list(value: list[Any], change: list[Any], schema: Schema) -> list[Any]:
    key, items = map_keys(schema)[0], schema.get("items", {})
    directives = [each.get("$patch") for each in change]
    if "replace" in directives:
        return [copied(each) for each in change if "$patch" not in each]
    result = list(value)
    for each, directive in zip(change, directives, strict=True):
        place = next((n for n, old in enumerate(result) if old.get(key) == each.get(key)), None)
        if directive == "delete":
            result = [old for old in result if old.get(key) != each.get(key)]
        elif place is None:
            result.append(strategic_patch({}, each, items))
        else:
            result[place] = strategic_patch(result[place], each, items)
    return result


def json_patch(value: Any, operations: Any) -> Any:
    """Return the value after a JSON patch; raises RefusedRequest when an operation cannot be done."""
    if not isinstance(operations, list):
        raise RefusedRequest("BadRequest", "a JSON patch is a list of operations")
    result = copied(value)
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
        moved = copied(_find(value, source))
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
        value = value[_index(part)] if isinstance(value, list) else value[part]
    return value


def _index(text: str) -> int:
    if not text.isdigit():
        raise IndexError(f"unable to access invalid index: {text}")
    return int(text)


def _add(value: Any, path: list[str], new: Any) -> Any:
    if not path:
        return new
    place = _find(value, path[:-1])
    if isinstance(place, list):
        number = len(place) if path[-1] == "-" else _index(path[-1])
        if number > len(place):
            raise IndexError(f"unable to access invalid index: {number}")
        place.insert(number, new)
    else:
        place[path[-1]] = new
    return value


def _remove(value: Any, path: list[str]) -> None:
    place = _find(value, path[:-1])
    if isinstance(place, list):
        del place[_index(path[-1])]
    else:
        del place[path[-1]]
