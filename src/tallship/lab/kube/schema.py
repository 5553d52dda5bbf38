"""Structural schemas: pruning, defaults and validation, as an API server does them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime
from functools import cache
from typing import Any

from tallship.lab.kube.documents import copied

Schema = dict[str, Any]
Cause = dict[str, str]
Names = list[str]

PRESERVE = "x-kubernetes-preserve-unknown-fields"
TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
}
WIDTHS = {"int32": 2**31, "int64": 2**63}
_NOTHING: Schema = {}


def prune(value: Any, schema: Schema) -> Names:
    """Remove every field that the schema does not have; return their paths."""
    if isinstance(value, dict):
        return _prune_fields(value, schema)
    found = []
    items = schema.get("items")
    if isinstance(value, list) and items:
        for number, each in enumerate(value):
            if isinstance(each, dict | list):
                found += [_joined(f"[{number}]", inner) for inner in prune(each, items)]
    return found


def _prune_fields(value: dict[str, Any], schema: Schema) -> Names:
    known, extra = schema.get("properties", _NOTHING), schema.get("additionalProperties")
    found = []
    for name in list(value):
        inner = known.get(name, extra)
        if isinstance(inner, dict):
            if isinstance(value[name], dict | list):
                found += [_joined(name, each) for each in prune(value[name], inner)]
        elif not inner and PRESERVE not in schema:
            del value[name]
            found.append(name)
    return found


def _joined(head: str, tail: str) -> str:
    return head + tail if tail.startswith("[") else f"{head}.{tail}"


def fill_defaults(value: Any, schema: Schema) -> None:
    """Add the defaults of what is absent, or null where null is not allowed; an absent object stays absent."""
    if isinstance(value, dict):
        known = schema.get("properties", _NOTHING)
        for name, inner in known.items():
            if "default" in inner and value.get(name) is None and not (name in value and inner.get("nullable")):
                value[name] = copied(inner["default"])
            if isinstance(value.get(name), dict | list):
                fill_defaults(value[name], inner)
        extra = schema.get("additionalProperties")
        if isinstance(extra, dict):
            for name in value.keys() - known.keys():
                fill_defaults(value[name], extra)
    elif isinstance(value, list) and "items" in schema:
        for each in value:
            fill_defaults(each, schema["items"])


def drop_nulls(value: Any, schema: Schema) -> None:
    """Remove nulls where they mean absent: everywhere but in fields that are nullable or without a schema."""
    if isinstance(value, dict):
        known, extra = schema.get("properties", _NOTHING), schema.get("additionalProperties")
        for name, each in list(value.items()):
            inner = known.get(name, extra)
            if isinstance(inner, dict):
                if each is None and not inner.get("nullable"):
                    del value[name]
                elif isinstance(each, dict | list):
                    drop_nulls(each, inner)
    elif isinstance(value, list) and "items" in schema:
        for each in value:
            drop_nulls(each, schema["items"])


def violations(value: Any, schema: Schema, path: str = "") -> Iterator[Cause]:
    """Yield a cause for everything in the value that breaks the schema."""
    if value is None and schema.get("nullable"):
        return
    if schema.get("x-kubernetes-int-or-string"):
        if not isinstance(value, int | str) or isinstance(value, bool):
            yield _wrong_type(value, "integer,string", path)
            if value is not None:
                text = f'Invalid value: "": "{path}" must validate at least one schema (anyOf)'
                yield _cause("FieldValueInvalid", "", text)
                yield _wrong_type(value, "integer", path)
        return
    wanted = schema.get("type")
    if wanted and not _has_type(value, wanted):
        yield _wrong_type(value, wanted, path)
        yield from _enum_violations(value, schema, path)
    elif isinstance(value, dict):
        yield from _object_violations(value, schema, path)
    elif isinstance(value, list):
        yield from _list_violations(value, schema, path)
    else:
        yield from _enum_violations(value, schema, path)
        if isinstance(value, str):
            yield from _string_violations(value, schema, path)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield from _number_violations(value, schema, path)


def _object_violations(value: dict[str, Any], schema: Schema, path: str) -> Iterator[Cause]:
    for name in schema.get("required", ()):
        if name not in value:
            yield _cause("FieldValueRequired", f"{path}.{name}".lstrip("."), "Required value")
    known, extra = schema.get("properties", _NOTHING), schema.get("additionalProperties")
    for name, each in value.items():
        inner = known.get(name, extra)
        if isinstance(inner, dict):
            yield from violations(each, inner, f"{path}.{name}".lstrip("."))


def _list_violations(value: list[Any], schema: Schema, path: str) -> Iterator[Cause]:
    if len(value) > schema.get("maxItems", len(value)):
        yield _cause("FieldValueTooMany", path, f"Too many: {len(value)}: must have at most {schema['maxItems']} items")
    if len(value) < schema.get("minItems", 0):
        text = f"Invalid value: {len(value)}: {path} in body should have at least {schema['minItems']} items"
        yield _cause("FieldValueInvalid", path, text)
    kind = schema.get("x-kubernetes-list-type")
    if kind in ("map", "set"):
        yield from _duplicates(value, schema.get("x-kubernetes-list-map-keys", ()) if kind == "map" else None, path)
    items = schema.get("items")
    if items:
        for number, each in enumerate(value):
            yield from violations(each, items, f"{path}[{number}]")


def _duplicates(value: list[Any], keys: list[str] | None, path: str) -> Iterator[Cause]:
    seen: list[Any] = []
    for number, each in enumerate(value):
        key = {name: each[name] for name in keys if name in each} if keys and isinstance(each, dict) else each
        if key in seen:
            yield _cause("FieldValueDuplicate", f"{path}[{number}]", f"Duplicate value: {_shown(key)}")
        seen.append(key)


def _enum_violations(value: Any, schema: Schema, path: str) -> Iterator[Cause]:
    parts = [part["enum"] for part in schema.get("allOf", ()) if "enum" in part]
    refusing = [each for each in (schema.get("enum"), *parts) if each and value not in each]
    for number, each in enumerate(refusing):
        if each not in refusing[:number]:  # the API server tells each cause once
            supported = ", ".join(f'"{one}"' for one in each)
            text = f"Unsupported value: {_shown(value)}: supported values: {supported}"
            yield _cause("FieldValueNotSupported", path, text)
    if any(part in refusing for part in parts):
        text = f'Invalid value: "": "{path}" must validate all the schemas (allOf). None validated'
        yield _cause("FieldValueInvalid", "", text)


def _string_violations(value: str, schema: Schema, path: str) -> Iterator[Cause]:
    shown = _shown(value)
    if len(value) < schema.get("minLength", 0):
        text = f"Invalid value: {shown}: {path} in body should be at least {schema['minLength']} chars long"
        yield _cause("FieldValueInvalid", path, text)
    if len(value) > schema.get("maxLength", len(value)):
        yield _cause("FieldValueTooLong", path, f"Too long: may not be more than {schema['maxLength']} bytes")
    if "pattern" in schema and not _pattern(schema["pattern"]).search(value):
        text = f"Invalid value: {shown}: {path} in body should match '{schema['pattern']}'"
        yield _cause("FieldValueInvalid", path, text)
    if schema.get("format") == "date-time" and not _is_date(value):
        text = f"Invalid value: {shown}: {path} in body must be of type date-time: {shown}"
        yield _cause("FieldValueInvalid", path, text)


def _number_violations(value: float, schema: Schema, path: str) -> Iterator[Cause]:
    width = WIDTHS.get(schema.get("format", ""))
    if width and not -width <= value < width:
        text = f"Invalid value: {value}: {path} in body must be of type {schema['format']}: {value}"
        yield _cause("FieldValueTypeInvalid", path, text)
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


def _wrong_type(value: Any, wanted: str, path: str) -> Cause:
    found = _type_of(value)
    text = f'Invalid value: "{found}": {path} in body must be of type {wanted}: "{found}"'
    return _cause("FieldValueTypeInvalid", path, text)


def _type_of(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    return next(name for name, types in TYPES.items() if isinstance(value, types))


@cache
def _pattern(text: str) -> re.Pattern[str]:
    # Python's $ also matches before a last newline, RE2's does not.
    return re.compile(text[:-1] + r"\Z" if text.endswith("$") and not text.endswith(r"\$") else text)


def in_go(value: Any) -> str:
    """Return a value as Go's source has it (`%#v`)."""
    if isinstance(value, dict):
        inside = ", ".join(f"{json.dumps(key)}:{in_go(each)}" for key, each in value.items())
        return "map[string]interface {}{" + inside + "}"
    if isinstance(value, list):
        return "[]interface {}{" + ", ".join(map(in_go, value)) + "}"
    return "interface {}(nil)" if value is None else json.dumps(value)


def _is_date(text: str) -> bool:
    try:
        return datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False


def _shown(value: Any) -> str:
    """Return a value as the API server shows it: texts and null in quotes, all else as Go's source has it."""
    return '"null"' if value is None else in_go(value)


def _cause(reason: str, field: str, message: str) -> Cause:
    return {"reason": reason, "message": message, "field": field or "<nil>"}
