"""Structural schemas of custom resources: pruning, defaults and validation, as an API server does them."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

Schema = dict[str, Any]
Cause = dict[str, str]

TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
}


def unknown_fields(value: Any, schema: Schema, path: str = "") -> Iterator[str]:
    """Yield the path of every field that the schema does not have."""
    if schema.get("x-kubernetes-preserve-unknown-fields") and "properties" not in schema:
        return
    if isinstance(value, dict):
        known = schema.get("properties", {})
        extra = schema.get("additionalProperties")
        for name, each in value.items():
            where = f"{path}.{name}" if path else name
            if name in known:
                yield from unknown_fields(each, known[name], where)
            elif isinstance(extra, dict):
                yield from unknown_fields(each, extra, where)
            elif not extra and not schema.get("x-kubernetes-preserve-unknown-fields") and _is_root_field(path, name):
                yield where
    elif isinstance(value, list) and "items" in schema:
        for number, each in enumerate(value):
            yield from unknown_fields(each, schema["items"], f"{path}[{number}]")


def prune(value: Any, schema: Schema, is_root: bool = True) -> None:
    """Remove every field that the schema does not have."""
    if isinstance(value, dict):
        known = schema.get("properties", {})
        extra = schema.get("additionalProperties")
        keep_all = schema.get("x-kubernetes-preserve-unknown-fields")
        for name in list(value):
            if is_root and name in ("apiVersion", "kind", "metadata"):
                continue
            if name in known:
                prune(value[name], known[name], False)
            elif isinstance(extra, dict):
                prune(value[name], extra, False)
            elif not extra and not keep_all:
                del value[name]
    elif isinstance(value, list) and "items" in schema:
        for each in value:
            prune(each, schema["items"], False)


def fill_defaults(value: Any, schema: Schema) -> None:
    """Add the defaults of what is absent; inside an absent object without a default nothing is added."""
    if isinstance(value, dict):
        for name, inner in schema.get("properties", {}).items():
            null = name in value and value[name] is None and not inner.get("nullable")
            if "default" in inner and (null or name not in value):
                value[name] = copy.deepcopy(inner["default"])
            if name in value:
                fill_defaults(value[name], inner)
        extra = schema.get("additionalProperties")
        if isinstance(extra, dict):
            for name in value.keys() - schema.get("properties", {}).keys():
                fill_defaults(value[name], extra)
    elif isinstance(value, list) and "items" in schema:
        for each in value:
            fill_defaults(each, schema["items"])


def violations(value: Any, schema: Schema, path: str = "") -> Iterator[Cause]:
    """Yield a cause for everything in the value that breaks the schema."""
    if value is None and schema.get("nullable"):
        return
    if schema.get("x-kubernetes-int-or-string"):
        if not isinstance(value, (int, str)) or isinstance(value, bool):
            yield _cause("FieldValueTypeInvalid", path, f"Invalid value: {_shown(value)}: must be integer or string")
        return
    wanted = schema.get("type")
    if wanted and not _has_type(value, wanted):
        text = f'Invalid value: "{_type_of(value)}": {path} in body must be of type {wanted}: "{_type_of(value)}"'
        yield _cause("FieldValueTypeInvalid", path, text)
        return
    if isinstance(value, dict):
        yield from _object_violations(value, schema, path)
    elif isinstance(value, list):
        yield from _list_violations(value, schema, path)
    else:
        yield from _scalar_violations(value, schema, path)


def _object_violations(value: dict[str, Any], schema: Schema, path: str) -> Iterator[Cause]:
    for name in schema.get("required", ()):
        if name not in value:
            yield _cause("FieldValueRequired", f"{path}.{name}".lstrip("."), "Required value")
    known, extra = schema.get("properties", {}), schema.get("additionalProperties")
    for name, each in value.items():
        where = f"{path}.{name}".lstrip(".")
        if name in known:
            yield from violations(each, known[name], where)
        elif isinstance(extra, dict):
            yield from violations(each, extra, where)


def _list_violations(value: list[Any], schema: Schema, path: str) -> Iterator[Cause]:
    if len(value) > schema.get("maxItems", len(value)):
        yield _cause("FieldValueTooMany", path, f"Too many: {len(value)}: must have at most {schema['maxItems']} items")
    if len(value) < schema.get("minItems", 0):
        text = f"Invalid value: {len(value)}: {path} in body should have at least {schema['minItems']} items"
        yield _cause("FieldValueInvalid", path, text)
    keys = schema.get("x-kubernetes-list-map-keys")
    if keys:
        seen: list[Any] = []
        for number, each in enumerate(value):
            key = [each.get(name) for name in keys] if isinstance(each, dict) else each
            if key in seen:
                yield _cause("FieldValueDuplicate", f"{path}[{number}]", f"Duplicate value: {_shown(key)}")
            seen.append(key)
    for number, each in enumerate(value):
        if "items" in schema:
            yield from violations(each, schema["items"], f"{path}[{number}]")


def _scalar_violations(value: Any, schema: Schema, path: str) -> Iterator[Cause]:
    if "enum" in schema and value not in schema["enum"]:
        supported = ", ".join(f'"{each}"' for each in schema["enum"])
        yield _cause(
            "FieldValueNotSupported", path, f"Unsupported value: {_shown(value)}: supported values: {supported}"
        )
    if isinstance(value, str):
        if len(value) < schema.get("minLength", 0):
            text = f"Invalid value: {_shown(value)}: {path} in body should be at least {schema['minLength']} chars long"
            yield _cause("FieldValueInvalid", path, text)
        if len(value) > schema.get("maxLength", len(value)):
            yield _cause("FieldValueTooLong", path, f"Too long: may not be more than {schema['maxLength']} bytes")
        if "pattern" in schema and not re.search(schema["pattern"], value):
            text = f"Invalid value: {_shown(value)}: {path} in body should match '{schema['pattern']}'"
            yield _cause("FieldValueInvalid", path, text)
        if schema.get("format") == "date-time" and not _is_date(value):
            text = f"Invalid value: {_shown(value)}: {path} in body must be of type date-time: {_shown(value)}"
            yield _cause("FieldValueInvalid", path, text)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        if value < schema.get("minimum", value):
            text = f"Invalid value: {value}: {path} in body should be greater than or equal to {schema['minimum']}"
            yield _cause("FieldValueInvalid", path, text)
        if value > schema.get("maximum", value):
            text = f"Invalid value: {value}: {path} in body should be less than or equal to {schema['maximum']}"
            yield _cause("FieldValueInvalid", path, text)


def _has_type(value: Any, wanted: str) -> bool:
    if isinstance(value, bool):
        return wanted == "boolean"
    return isinstance(value, TYPES[wanted])


def _type_of(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    return next(name for name, types in TYPES.items() if isinstance(value, types))


def _is_date(text: str) -> bool:
    try:
        datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return False
    return True


def _is_root_field(path: str, name: str) -> bool:
    return bool(path) or name not in ("apiVersion", "kind", "metadata")


def _shown(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


def _cause(reason: str, field: str, message: str) -> Cause:
    return {"reason": reason, "message": message, "field": field or "<root>"}
