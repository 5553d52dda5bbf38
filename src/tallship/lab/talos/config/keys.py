"""Which keys a Talos 1.12 configuration may have: what Talos refuses to load is refused here."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

DEPRECATED = {
    "v1alpha1.Config": ("persist",),
    "v1alpha1.MachineConfig": ("time", "registries", "systemDiskEncryption", "disks"),
    "v1alpha1.NetworkConfig": (
        "hostname", "interfaces", "nameservers", "searchDomains", "extraHostEntries", "disableSearchDomain",
    ),
    "v1alpha1.InstallConfig": ("extraKernelArgs", "extensions", "bootloader"),
    "v1alpha1.FeaturesConfig": ("rbac", "stableHostname", "apidCheckExtKeyUsage"),
    "v1alpha1.APIServerConfig": ("disablePodSecurityPolicy",),
    "v1alpha1.ExternalCloudProviderConfig": ("manifests",),
}  # fmt: skip
"""Keys that Talos still loads and no longer documents."""
TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "array": (list,),
}


class ConfigError(Exception):
    """A configuration that Talos cannot load."""


@cache
def table() -> dict[str, Any]:
    """Return the fields of every section and the kinds of documents."""
    text = (Path(__file__).parent / "keys.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    for section, names in DEPRECATED.items():
        for name in names:
            found["sections"][section].setdefault(name, "any")
    return found


def check_document(document: Any) -> None:
    """Raise ConfigError when a document has unknown keys, wrong types, or is of an unknown kind."""
    if not isinstance(document, dict):
        raise ConfigError("a document must be a mapping")
    if "kind" not in document:
        if document.get("version", "v1alpha1") != "v1alpha1":
            raise ConfigError(f"unknown version {document['version']!r}")
        _check(document, {"section": table()["root"]}, "")
        return
    section = table()["kinds"].get(document["kind"])
    if section is None:
        raise ConfigError(f'"{document["kind"]}" "{document.get("apiVersion", "")}": not registered')
    _check(document, {"section": section}, "")


def _check(value: Any, kind: Any, path: str) -> None:
    if kind == "any" or value is None:
        return
    if isinstance(kind, str):
        if not isinstance(value, TYPES[kind]) or (isinstance(value, bool) and kind != "boolean"):
            if kind == "string" and isinstance(value, (int, float)) and not isinstance(value, bool):
                return  # YAML scalars are read as text where text is wanted
            raise ConfigError(f"{path}: cannot decode {type(value).__name__} as {kind}")
        return
    if "list" in kind:
        if not isinstance(value, list):
            raise ConfigError(f"{path}: cannot decode {type(value).__name__} as a list")
        for number, each in enumerate(value):
            _check(each, kind["list"], f"{path}[{number}]")
        return
    if not isinstance(value, dict):
        raise ConfigError(f"{path or 'document'}: cannot decode {type(value).__name__} as a mapping")
    if "map" in kind:
        for name, each in value.items():
            _check(each, kind["map"], f"{path}.{name}")
        return
    fields = table()["sections"][kind["section"]]
    unknown = [name for name in value if name not in fields]
    if unknown:
        raise ConfigError(
            f"unknown keys found during decoding: {', '.join(f'{path}.{u}'.lstrip('.') for u in unknown)}"
        )
    for name, each in value.items():
        _check(each, fields[name], f"{path}.{name}".lstrip("."))
