"""The rules of an object's metadata: names, labels, annotations, owners and finalizers.

Source: Kubernetes v1.32, `apimachinery/pkg/api/validation` and `util/validation`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

Document = dict[str, Any]
Cause = dict[str, str]

GIVEN_BY_SERVER = (
    "uid", "creationTimestamp", "generation", "resourceVersion", "deletionTimestamp", "deletionGracePeriodSeconds",
    "generateName", "selfLink",
)  # fmt: skip
"""What a writer cannot change once the object exists."""

ANNOTATIONS_LIMIT = 256 * 1024
GENERATED_NAME_LIMIT = 58

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_WORD = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_LABEL_TEXT = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with"
    f" an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '{_LABEL}')"
)
_SUBDOMAIN_TEXT = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and"
    f" end with an alphanumeric character (e.g. 'example.com', regex used for validation is '{_SUBDOMAIN}')"
)
_VALUE_TEXT = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and"
    f" end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is"
    f" '({_WORD})?')"
)
_KEY_TEXT = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric"
    f" character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '{_WORD}')"
)
_LABEL_NAMED = ("Namespace", "Service")
_FREELY_NAMED = ("ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding")


def violations(kind: str, new: Document, old: Document | None) -> Iterator[Cause]:
    """Yield a cause for everything that is wrong with the metadata."""
    if old is None:
        yield from _name_violations(kind, str(new["name"]))
    yield from _label_violations(new.get("labels", {}))
    yield from _annotation_violations(new.get("annotations", {}))
    yield from _owner_violations(new.get("ownerReferences", []))
    if old is not None and "deletionTimestamp" in old:
        added = [each for each in new.get("finalizers", []) if each not in old.get("finalizers", [])]
        if added:
            text = f"Forbidden: no new finalizers can be added if the object is being deleted, found new: {added}"
            yield _cause("FieldValueForbidden", "metadata.finalizers", text)
    for number, finalizer in enumerate(new.get("finalizers", [])):
        if not is_qualified(finalizer):
            yield _invalid(f"metadata.finalizers[{number}]", finalizer, _KEY_TEXT)


def is_label_value(text: str) -> bool:
    """True for what may stand as a label's value."""
    return len(text) <= 63 and (not text or re.fullmatch(_WORD, text) is not None)


def is_qualified(text: str) -> bool:
    """True for `name` and `domain/name`."""
    prefix, slash, name = text.rpartition("/")
    if slash and (len(prefix) > 253 or not re.fullmatch(_SUBDOMAIN, prefix)):
        return False
    return len(name) <= 63 and re.fullmatch(_WORD, name) is not None


def _name_violations(kind: str, name: str) -> Iterator[Cause]:
    if kind in _FREELY_NAMED:
        if name in (".", "..") or "/" in name or "%" in name:
            yield _invalid("metadata.name", name, "may not contain '/' or '%'")
        return
    pattern, limit, text = (_LABEL, 63, _LABEL_TEXT) if kind in _LABEL_NAMED else (_SUBDOMAIN, 253, _SUBDOMAIN_TEXT)
    if len(name) > limit:
        yield _invalid("metadata.name", name, f"must be no more than {limit} bytes")
    if not re.fullmatch(pattern, name):
        yield _invalid("metadata.name", name, text)


def _label_violations(labels: Document) -> Iterator[Cause]:
    for key, value in labels.items():
        if not is_qualified(key):
            yield _invalid("metadata.labels", key, _KEY_TEXT)
        if len(value) > 63:
            yield _invalid("metadata.labels", value, "must be no more than 63 bytes")
        elif not is_label_value(value):
            yield _invalid("metadata.labels", value, _VALUE_TEXT)


def _annotation_violations(annotations: Document) -> Iterator[Cause]:
    size = 0
    for key, value in annotations.items():
        size += len(key) + len(value.encode())
        if not is_qualified(key.lower()):
            yield _invalid("metadata.annotations", key, _KEY_TEXT)
    if size > ANNOTATIONS_LIMIT:
        text = f"Too long: may not be more than {ANNOTATIONS_LIMIT} bytes"
        yield _cause("FieldValueTooLong", "metadata.annotations", text)


def _owner_violations(owners: list[Document]) -> Iterator[Cause]:
    for number, owner in enumerate(owners):
        for field in ("apiVersion", "kind", "name", "uid"):
            if not owner.get(field):
                where = f"metadata.ownerReferences[{number}].{field}"
                yield _cause("FieldValueInvalid", where, 'Invalid value: "": must not be empty')
    if sum(bool(owner.get("controller")) for owner in owners) > 1:
        text = "Invalid value: only one reference can have Controller set to true"
        yield _cause("FieldValueInvalid", "metadata.ownerReferences", text)


def _invalid(field: str, value: str, why: str) -> Cause:
    return _cause("FieldValueInvalid", field, f'Invalid value: "{value}": {why}')


def _cause(reason: str, field: str, message: str) -> Cause:
    return {"reason": reason, "message": message, "field": field}
