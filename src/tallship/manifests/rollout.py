"""What a change of the control plane does: nothing, or every server is replaced.

CACPPT v0.5.12 replaces a machine unless Kubernetes version, template name and `controlPlaneConfig` are equal to what
it was made with, and it compares patches as text: one changed space is a change.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tallship import bounded

Document = dict[str, Any]


class _SaidTwice(Exception):
    """Two patches set the same value or list: their order and Talos' rules for it decide."""


ON_DELETE = {"type": "OnDelete"}
"""CACPPT: the strategy that replaces only Machines that somebody deletes."""


def replaces_machines(live: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Return why applying `wanted` over `live` would replace machines; nothing when it would not."""
    before, after = live["spec"], wanted["spec"]
    if is_on_delete(wanted):
        return []
    reasons = []
    if before["version"] != after["version"]:
        reasons.append(f"Kubernetes {before['version']} becomes {after['version']}")
    old, new = (spec["infrastructureTemplate"]["name"] for spec in (before, after))
    if old != new:
        reasons.append(f"template {old} becomes {new}: server type or image differ")
    return reasons + _config_changes(_controlplane(live), _controlplane(wanted))


def is_on_delete(control_plane: Mapping[str, Any]) -> bool:
    """True when no Machine of the control plane is replaced because of what its document says."""
    return (control_plane["spec"].get("rolloutStrategy") or {}).get("type") == ON_DELETE["type"]


def without_replacing(wanted: Document) -> Document:
    """Return the document so that it replaces no Machine: what it says counts for new ones only."""
    return {**wanted, "spec": {**wanted["spec"], "rolloutStrategy": dict(ON_DELETE)}}


def differs_in_talos_alone(
    live: Mapping[str, Any], wanted: Mapping[str, Any], templates: tuple[Mapping[str, Any], Mapping[str, Any]]
) -> bool:
    """True when two control planes differ in nothing but the version of Talos; `templates` are their machines'."""
    before, after = (_without_talos(each) for each in (live, wanted))
    old, new = (dict(each["spec"]["template"]["spec"]) for each in templates)
    machines = [{key: value for key, value in each.items() if key != "imageName"} for each in (old, new)]
    return before == after and machines[0] == machines[1]


def _without_talos(control_plane: Mapping[str, Any]) -> tuple[Any, ...]:
    config = {key: value for key, value in _filled(_controlplane(control_plane)).items() if key != "talosVersion"}
    return control_plane["spec"]["version"], config


def same_config(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """True when two Talos configurations are the same to the byte, as CACPPT compares them; empty values are none."""
    return _filled(one) == _filled(other)


def _filled(config: Mapping[str, Any]) -> Document:
    return {key: value for key, value in config.items() if value not in ([], {}, "", None)}


def _config_changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    reasons = []
    if before.get("talosVersion") != after.get("talosVersion"):
        reasons.append(f"Talos {before.get('talosVersion')} becomes {after.get('talosVersion')}")
    if _patches(before) != _patches(after):
        reasons.append("its Talos patches differ")
    kept = ("talosVersion", "strategicPatches")
    rest = [{key: value for key, value in each.items() if key not in kept and value} for each in (before, after)]
    if rest[0] != rest[1]:
        reasons.append("its Talos configuration differs")
    return reasons


def with_stored_patches(live: Mapping[str, Any], wanted: Document) -> Document:
    """Return the wanted document with the stored bytes of patches that mean the same."""
    if not same_meaning(live, wanted):
        return wanted
    kept = copy.deepcopy(wanted)
    kept["spec"]["controlPlaneConfig"]["controlplane"]["strategicPatches"] = list(_patches(_controlplane(live)))
    return kept


def same_meaning(live: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """True when the patches of two control planes mean the same, however they are written or divided."""
    return same_patches(_patches(_controlplane(live)), _patches(_controlplane(wanted)))


def same_patches(one: Sequence[str], other: Sequence[str]) -> bool:
    """True when patches mean the same, however they are written or divided."""
    try:
        before, after = _parsed(one), _parsed(other)
    except bounded.Unreadable:
        return False
    if before == after:
        return True
    try:
        return _joined(before) == _joined(after)
    except _SaidTwice:
        return False


def _controlplane(document: Mapping[str, Any]) -> Mapping[str, Any]:
    return document["spec"].get("controlPlaneConfig", {}).get("controlplane") or {}


def _patches(controlplane: Mapping[str, Any]) -> Sequence[str]:
    return controlplane.get("strategicPatches") or []


def _parsed(patches: Iterable[str]) -> list[Any]:
    return [document for patch in patches for document in bounded.load_all(patch) if document]


def _joined(documents: Iterable[Any]) -> dict[tuple[str, ...], Document]:
    """Return patches as one for each document they patch, where no two say anything about the same value."""
    joined: dict[tuple[str, ...], Document] = {}
    for document in documents:
        if not isinstance(document, dict):
            raise _SaidTwice
        key = tuple(str(document.get(part, "")) for part in ("apiVersion", "kind", "name"))
        if key in joined and any(key):
            raise _SaidTwice
        joined[key] = _union(joined.get(key, {}), document)
    return joined


def _union(one: Document, other: Document) -> Document:
    union = dict(one)
    for key, value in other.items():
        if key not in union:
            union[key] = value
        elif isinstance(union[key], dict) and isinstance(value, dict):
            union[key] = _union(union[key], value)
        else:
            raise _SaidTwice
    return union
