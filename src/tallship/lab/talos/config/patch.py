"""Strategic merge patches by the rules of Talos' machinery v1.12.0, its defects included."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import yaml

from tallship.lab.talos.config.keys import ConfigError, check_document

Document = dict[str, Any]
Path = tuple[str, ...]

REPLACED: set[Path] = {
    ("cluster", "network", "podSubnets"),
    ("cluster", "network", "serviceSubnets"),
    ("cluster", "apiServer", "auditPolicy"),
}
"""What a patch of v1alpha1 replaces; other lists grow, other maps are merged (machinery: `merge` tags)."""
RULE_REPLACED: set[Path] = {("ingress",), ("portSelector", "ports")}
"""The same for NetworkRuleConfig."""
KEYED = {"interfaces": ("interface", "deviceSelector"), "vlans": ("vlanId",), "admissionControl": ("name",)}
"""Lists whose entries are merged by what names them."""


class PatchError(Exception):
    """A patch that machinery refuses, in its words."""


class PatchPanic(Exception):
    """A patch at which machinery v1.12.0 panics: a deletion below a section that is not there."""


def apply_patches(documents: list[Document], patches: list[str]) -> list[Document]:
    """Return the documents after all patches, in order. Raises PatchError or PatchPanic."""
    for text in patches:
        documents = _apply(documents, _load(text, len(documents)))
    return documents


def _load(text: str, number_of_documents: int) -> list[Document]:
    try:
        patch = [each for each in yaml.safe_load_all(text) if each is not None]
    except yaml.YAMLError as error:
        raise PatchError(f"yaml: {error}") from error
    if not patch or any(isinstance(each, list) for each in patch):
        if number_of_documents != 1:
            raise PatchError("JSON6902 patches are not supported for multi-document machine configuration")
        raise PatchError("JSON patches of a single document are not modelled here")
    for each in patch:
        try:
            check_document(_without_deletes(each))
        except ConfigError as error:
            raise PatchError(str(error)) from error
    return patch


def _apply(documents: list[Document], patch: list[Document]) -> list[Document]:
    result = copy.deepcopy(documents)
    for change in patch:
        deletions = list(_deletions(change))
        plain = _without_deletes(change)
        target = next((each for each in result if _identity(each) == _identity(change)), None)
        if target is None:
            result.append(plain)
        else:
            _merge(target, plain, (), RULE_REPLACED if change.get("kind") == "NetworkRuleConfig" else REPLACED)
        for path, entry in deletions:
            _delete(result, change, path, entry)
    return result


def _identity(document: Document) -> tuple[str, str, str]:
    kind = document.get("kind", "v1alpha1")
    return (document.get("apiVersion", ""), kind, document.get("name", "") if "kind" in document else "")


def _merge(left: Document, right: Document, path: Path, replaced: set[Path]) -> None:
    for name, value in right.items():
        where = (*path, name)
        have = left.get(name)
        if value in (None, "") or (value in ([], {}) and have):
            continue
        if have in (None, "", [], {}) or where in replaced:
            left[name] = copy.deepcopy(value)
        elif isinstance(have, dict) and isinstance(value, dict):
            _merge(have, value, where, replaced)
        elif isinstance(have, list) and isinstance(value, list):
            left[name] = _merge_lists(name, have, value)
        elif isinstance(have, (dict, list)) or isinstance(value, (dict, list)):
            raise PatchError(f"merge type mismatch left {type(have).__name__} right {type(value).__name__}")
        else:
            left[name] = value


def _merge_lists(name: str, left: list[Any], right: list[Any]) -> list[Any]:
    keys = KEYED.get(name)
    if keys is None:
        return left + copy.deepcopy(right)
    result = list(left)
    for each in right:
        key = next((key for key in keys if each.get(key)), None)
        same = next((old for old in result if key and old.get(key) == each[key]), None)
        if same is None:
            result.append(copy.deepcopy(each))
        else:
            _merge(same, each, (), set())
    return result


def _deletions(value: Any, path: Path = ()) -> Iterator[tuple[Path, Document | None]]:
    """Yield the path of everything that says `$patch: delete`; an entry of a list comes with what names it."""
    if isinstance(value, dict):
        if value.get("$patch") == "delete":
            yield path, None
            return
        for name, each in value.items():
            yield from _deletions(each, (*path, name))
    elif isinstance(value, list):
        for each in value:
            if isinstance(each, dict) and each.get("$patch") == "delete":
                yield path, {key: text for key, text in each.items() if key != "$patch"}


def _without_deletes(value: Any) -> Any:
    if isinstance(value, dict):
        kept = {
            name: _without_deletes(each)
            for name, each in value.items()
            if not (isinstance(each, dict) and each.get("$patch") == "delete")
        }
        return {name: each for name, each in kept.items() if each != {} or value[name] == {}}
    if isinstance(value, list):
        return [_without_deletes(e) for e in value if not (isinstance(e, dict) and e.get("$patch") == "delete")]
    return value


def _delete(documents: list[Document], change: Document, path: Path, entry: Document | None) -> None:
    target = next((each for each in documents if _identity(each) == _identity(change)), None)
    if target is None:
        raise PatchError("lookup failed")
    if not path:
        documents.remove(target)
        return
    place: Any = target
    for name in path[:-1]:
        if not isinstance(place, dict):
            raise PatchError(f"lookup failed: {'.'.join(path)}")
        if place.get(name) in (None, {}) and name != path[-2]:
            raise PatchPanic("runtime error: invalid memory address or nil pointer dereference")
        place = place.get(name)
        if place is None:
            raise PatchPanic("runtime error: invalid memory address or nil pointer dereference")
    if not isinstance(place, dict) or path[-1] not in place:
        raise PatchError(f"lookup failed: {'.'.join(path)}")
    if entry is None:
        del place[path[-1]]
    else:
        _delete_entry(place, path, entry)
    _drop_empty(target, path[:-1])


def _delete_entry(place: Document, path: Path, entry: Document) -> None:
    name, wanted = next(iter(entry.items()))
    found = [each for each in place[path[-1]] if each.get(name) == wanted]
    if not found:
        raise PatchError(f"lookup failed: {'.'.join(path)}")
    place[path[-1]].remove(found[0])


def _drop_empty(target: Document, path: Path) -> None:
    """Remove the map that has lost its last entry, as encoding leaves it out."""
    if path and (place := _at(target, path)) == {} and place is not None:
        parent = _at(target, path[:-1])
        if parent is not None:
            del parent[path[-1]]


def _at(value: Any, path: Path) -> Any:
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value
