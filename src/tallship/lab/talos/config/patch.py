"""Patches of a configuration by the rules of Talos' machinery v1.12.0, its defects included."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import yaml

from tallship.lab.kube.errors import RefusedRequest
from tallship.lab.kube.patch import json_patch
from tallship.lab.talos.config import scalars
from tallship.lab.talos.config.deletion import Deletion, PatchError, PatchPanic, identity, take_deletions
from tallship.lab.talos.config.keys import (
    ConfigError,
    fields,
    nodes,
    plain,
    read,
    read_once,
    section_of,
    written,
)

__all__ = ["PatchError", "PatchPanic", "apply_patches"]

Document = dict[str, Any]
Step = Deletion | Document

KEYED = {
    "v1alpha1.Device": ("interface", "deviceSelector"),
    "v1alpha1.Vlan": ("vlanId",),
    "v1alpha1.AdmissionPluginConfig": ("name",),
    "extensions.ConfigFile": ("mountPath",),
}
"""Entries of lists that are merged with the one of the same name; other lists grow."""


@dataclass(frozen=True)
class _JsonPatch:
    operations: list[Any]


def apply_patches(documents: list[Document], patches: list[str]) -> list[Document]:
    """Return the documents after all patches, in order, as Talos writes them. Raises PatchError or PatchPanic.

    All patches are read before the first one is applied. Documents that nothing patches are not looked at.
    """
    if not patches:
        return documents
    typed: list[Step] | None = None  # between strategic patches nothing is written or read again
    try:
        for patch in [_load(text) for text in patches]:
            if isinstance(patch, _JsonPatch):
                documents, typed = _json_patched(documents if typed is None else _encoded(typed), patch), None
            else:
                typed = _patched(_typed(documents) if typed is None else typed, patch)
    except ConfigError as error:
        raise PatchError(str(error)) from error
    return documents if typed is None else _encoded(typed)


def _typed(documents: list[Document]) -> list[Step]:
    """Return the documents as Talos reads them again."""
    return [*read(yaml.dump_all(documents, Dumper=yaml.CSafeDumper))]


def _encoded(typed: list[Step]) -> list[Document]:
    """Return the documents as Talos writes them.

    A deletion that found no document has become one itself: it is written as nothing, or machinery panics.
    """
    if any(isinstance(each, Deletion) and each.identity[2] for each in typed):
        raise PatchPanic("reflect.Value.Interface: cannot return value obtained from unexported field or method")
    return [{} if isinstance(each, Deletion) else written(section_of(each), each) for each in typed]


def _load(text: str) -> list[Step] | _JsonPatch:
    """Return a patch: what Talos cannot read as documents may be a JSON patch, and so is nothing at all."""
    try:
        return _steps(text)
    except ConfigError:
        try:
            said = [plain(node) for node in nodes(text)]
        except ConfigError:
            said = [text]
        operations = said[0] if said else []
        if isinstance(operations, list) and all(isinstance(each, dict) for each in operations):
            return _JsonPatch(operations)
        raise


def _steps(text: str) -> list[Step]:
    """Return deletions and documents in the order of their application: deletions in v1alpha1 come first."""
    steps: list[Step] = []
    found: dict[tuple[str, str, str], Document] = {}
    for node in nodes(text):
        deletions, is_left = take_deletions(node)
        steps += deletions
        if is_left:
            steps.append(read_once(node, found))
    if not steps:
        raise ConfigError("config not found")
    return sorted(steps, key=_place)


def _whose(step: Step) -> tuple[str, str, str]:
    return step.identity if isinstance(step, Deletion) else identity(step)


def _place(step: Step) -> int:
    return 2 if _whose(step)[1] != "v1alpha1" else 0 if isinstance(step, Deletion) else 1


def _json_patched(documents: list[Document], patch: _JsonPatch) -> list[Document]:
    if len(documents) != 1:
        raise PatchError("JSON6902 patches are not supported for multi-document machine configuration")
    try:
        return [json_patch(documents[0], patch.operations)]
    except RefusedRequest as error:
        raise PatchError(f"failure applying rfc6902 patches to talos machine config: {error}") from error


def _patched(typed: list[Step], steps: list[Step]) -> list[Step]:
    """Return the documents after one patch; what it adds itself is no target of its other documents."""
    result = list(typed)
    targets = {_whose(each): each for each in typed}
    for step in steps:
        target = targets.get(_whose(step))
        if target is None:
            result.append(step)
        elif isinstance(step, Deletion):
            if step.path:
                step.apply(target)
            else:
                result.remove(target)
                del targets[_whose(step)]
        elif isinstance(target, Deletion):
            raise PatchError("merge type mismatch: a deletion is in the document's place")
        else:
            _merge_section(target, step, section_of(step))
    return result


def _merge_section(left: Document, right: Document, section: str) -> None:
    for name, (kind, letters) in fields(section).items():
        if name not in right:
            continue
        is_absent = name not in left
        if is_absent and "p" in letters:
            left[name] = copy.deepcopy(right[name])
        else:
            have = left.get(name, _empty(kind))
            left[name] = _merged(have, right[name], kind, is_replaced="r" in letters, is_pointer="p" in letters)


def _empty(kind: Any) -> Any:
    if isinstance(kind, str):
        return scalars.zero(kind)
    return [] if "list" in kind else {}


def _merged(left: Any, right: Any, kind: Any, is_replaced: bool = False, is_pointer: bool = False) -> Any:
    if right is None or (is_replaced and kind == "object" and not right):
        return left
    if left is None or is_replaced:
        return copy.deepcopy(right)
    if isinstance(kind, str):
        return _merged_named(left, right, kind, is_pointer)
    if "section" in kind:
        _merge_section(left, right, kind["section"])
        return left
    if "list" in kind:
        return _merged_lists(left, right, kind["list"])
    changed = {name: _merged(left[name], each, kind["map"]) if name in left else each for name, each in right.items()}
    return {**left, **copy.deepcopy(changed)}


def _merged_named(left: Any, right: Any, kind: str, is_pointer: bool) -> Any:
    if kind in ("object", "any"):
        return _merged_free(left, right)
    if kind in scalars.URLS and left and right:
        return scalars.merged_urls(left, right)
    is_nothing = right == scalars.zero(kind) and kind != "boolean" and not is_pointer
    return left if is_nothing else copy.deepcopy(right)


def _merged_free(left: Any, right: Any) -> Any:
    """Return two values of any form merged; two of different kinds are refused."""
    if left is None or right is None:
        return copy.deepcopy(right) if left is None else left
    if type(left) is not type(right):
        raise PatchError(f"merge type mismatch left {type(left).__name__} right {type(right).__name__}")
    if isinstance(left, dict):
        return {**left, **{name: _merged_free(left.get(name), each) for name, each in right.items()}}
    if isinstance(left, list):
        return left + copy.deepcopy(right)
    return left if right in ("", 0) and not isinstance(right, bool) else right


def _merged_lists(left: list[Any], right: list[Any], kind: Any) -> list[Any]:
    section = kind.get("section", "") if isinstance(kind, dict) else ""
    if section not in KEYED:
        return left + copy.deepcopy(right)
    result = list(left)
    for each in right:
        key = next((key for key in KEYED[section] if each.get(key)), KEYED[section][-1])
        same = next((old for old in result if old.get(key) == each.get(key)), None)
        if same is None or (section == "v1alpha1.Device" and key not in each):
            result.append(copy.deepcopy(each))
        else:
            _merge_section(same, each, section)
    return result
