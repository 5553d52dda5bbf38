"""What changed between two versions of an object, as merge patches."""

from __future__ import annotations

from typing import Any

from tallship.lab.kubeclient import Object

_GUARDED = ("finalizers", "ownerReferences")


def copy_json(value: Any) -> Any:
    """Return a deep copy of plain JSON data."""
    if isinstance(value, dict):
        return {key: copy_json(each) for key, each in value.items()}
    if isinstance(value, list):
        return [copy_json(each) for each in value]
    return value


def difference(before: Any, after: Any) -> Any:
    """Return the merge patch (RFC 7386) that makes `before` into `after`; empty when they are equal."""
    if not isinstance(before, dict) or not isinstance(after, dict):
        return after
    patch: dict[str, Any] = dict.fromkeys(before.keys() - after.keys())
    for key, value in after.items():
        if key not in before:
            patch[key] = value
        elif before[key] != value:
            patch[key] = difference(before[key], value)
    return patch


def main_patch(before: Object, after: Object) -> Object:
    """Return the patch for everything but the status."""
    patch: Object = difference({**before, "status": None}, {**after, "status": None})
    return patch


def guards(patch: Object) -> list[str]:
    """Return the lists in this patch that several controllers write, where a stale copy would lose an entry."""
    return [key for key in _GUARDED if key in patch.get("metadata", {})]


def status_patches(before: Object, after: Object, stored: Object) -> tuple[Object, Object]:
    """Return (patch for the conditions, patch for the rest of the status); each empty when nothing changed.

    Conditions that changed are put among those of `stored`, so that other writers' conditions stay.
    """
    conditions: Object = {}
    rest: Object = {}
    for key, change in difference(before.get("status", {}), after.get("status", {})).items():
        if key == "conditions":
            conditions[key] = _rebased(before["status"].get(key, []) if "status" in before else [], change, stored)
        elif key == "v1beta2" and change and "conditions" in change:
            conditions[key] = {"conditions": _rebased_new(before, after, stored)}
            if others := {name: value for name, value in change.items() if name != "conditions"}:
                rest[key] = others
        else:
            rest[key] = change
    return ({"status": conditions} if conditions else {}), ({"status": rest} if rest else {})


def _rebased(before: list[Object], after: list[Object] | None, stored: Object) -> list[Object]:
    was = {each["type"]: each for each in before}
    wanted = {each["type"]: each for each in after or []}
    merged = {each["type"]: each for each in stored.get("status", {}).get("conditions", [])}
    for kind in was.keys() | wanted.keys():
        if was.get(kind) == wanted.get(kind):
            continue
        if kind in wanted:
            merged[kind] = wanted[kind]
        else:
            merged.pop(kind, None)
    return sorted(merged.values(), key=lambda each: (each["type"] != "Ready", each["type"]))


def _rebased_new(before: Object, after: Object, stored: Object) -> list[Object]:
    """Return the v1beta2 conditions of `after`, in its order, with what others have written meanwhile."""
    was, now, there = ({each["type"]: each for each in _new(item)} for item in (before, after, stored))
    merged = [there.get(kind, each) if was.get(kind) == each else each for kind, each in now.items()]
    return merged + [each for kind, each in there.items() if kind not in was and kind not in now]


def _new(item: Object) -> list[Object]:
    listed: list[Object] = item.get("status", {}).get("v1beta2", {}).get("conditions", [])
    return listed
