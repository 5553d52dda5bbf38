"""How Talos 1.12 reads and writes a configuration: which keys there are, of which kind, and what is left out.

`keys.json` holds the fields of every section, as Talos' machinery v1.12.0 has them. A field is its kind and
letters: `p` behind a pointer (absent is not the same as empty), `w` written even when empty, `r` replaced by a
patch. A kind is a scalar's name, `any`, `object` (a mapping of any form), `{"list": kind}`, `{"map": kind}`,
`{"section": name}`, or the name of a type that reads itself (`scalars.py`).
"""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from tallship.lab.talos.config import scalars
from tallship.lab.talos.config.scalars import ConfigError

__all__ = ["ConfigError", "fields", "plain", "read", "read_once", "section_of", "written"]

Document = dict[str, Any]
Kind = Any

PEM_PARTS = {
    "x509.PEMEncodedCertificate": ("crt",),
    "x509.PEMEncodedCertificateAndKey": ("crt", "key"),
    "x509.PEMEncodedKey": ("key",),
}
LEGACY_KEYS = ("machine", "cluster", "debug", "persist")


@cache
def table() -> dict[str, Any]:
    """Return the fields of every section and the kinds of documents."""
    found: dict[str, Any] = json.loads((Path(__file__).parent / "keys.json").read_text(encoding="utf-8"))
    return found


def fields(section: str) -> dict[str, tuple[Kind, str]]:
    """Return the fields of a section."""
    found: dict[str, tuple[Kind, str]] = table()["sections"][section]
    return found


def section_of(document: Document) -> str:
    """Return the section that a document is. Raises ConfigError when there is no such kind of document."""
    kind, version = document.get("kind", ""), document.get("apiVersion", "")
    if not kind:
        if version != "v1alpha1" and not any(key in document for key in LEGACY_KEYS):
            raise ConfigError("missing kind")
        return str(table()["kinds"][""])
    if version != "v1alpha1" or kind not in table()["kinds"]:
        raise ConfigError(f'"{kind}" "{version}": not registered')
    return str(table()["kinds"][kind])


def read(text: str) -> list[Document]:
    """Return the documents of a configuration. Raises ConfigError when Talos cannot load them."""
    found: dict[tuple[str, str, str], Document] = {}
    for node in nodes(text):
        read_once(node, found)
    return list(found.values())


def read_once(node: yaml.Node, found: dict[tuple[str, str, str], Document]) -> Document:
    """Read a document into those that were found before it. Raises ConfigError when it is there already."""
    if not isinstance(node, yaml.MappingNode):
        raise ConfigError("recovered: expected a mapping node")
    says = {key.value: value.value for key, value in node.value if isinstance(value, yaml.ScalarNode)}
    whose = (says.get("apiVersion", ""), says.get("kind", "v1alpha1"), says.get("name", ""))
    if whose in found:
        raise ConfigError(f"duplicate document {'/'.join(whose)} is not allowed")
    found[whose] = _document(node)
    return found[whose]


def nodes(text: str) -> list[yaml.Node]:
    """Return the documents of a YAML text, unread. Raises ConfigError when it is not YAML."""
    try:
        found = [node for node in yaml.compose_all(text, yaml.CSafeLoader) if node is not None]
    except yaml.YAMLError as error:
        raise ConfigError(f"decode error: {error}") from error
    return [node for node in found if node.tag != "tag:yaml.org,2002:null" or node.value]


def _document(node: yaml.MappingNode) -> Document:
    names = {key.value: value for key, value in node.value}
    for name in ("kind", "apiVersion"):
        if name in names and not isinstance(names[name], yaml.ScalarNode):
            raise ConfigError(f"{name}: cannot unmarshal {names[name].value!r} into string")
    section = section_of({name: value.value for name, value in names.items()})
    document: Document = _read(node, {"section": section}, "")
    return document


def _read(node: yaml.Node, kind: Kind, path: str) -> Any:
    """Return a node's value; None stands for what is not there."""
    if plain(node) is None and isinstance(node, yaml.ScalarNode):
        return None
    if isinstance(kind, str):
        return _read_named(node, kind, path)
    if "list" in kind:
        if not isinstance(node, yaml.SequenceNode):
            raise ConfigError(f"{path}: cannot unmarshal {node.value!r} into a list")
        entries = (_read(each, kind["list"], f"{path}[{number}]") for number, each in enumerate(node.value))
        return [entry for entry in entries if entry is not None]
    pairs = _pairs(node, path)
    if "map" in kind:
        values = {name: _read(each, kind["map"], f"{path}.{name}") for name, each in pairs.items()}
        return {name: "" if value is None and kind["map"] == "string" else value for name, value in values.items()}
    known = fields(kind["section"])
    unknown = [f"{path}.{name}".lstrip(".") for name in pairs if name not in known]
    if unknown:
        raise ConfigError(f"unknown keys found during decoding: {', '.join(unknown)}")
    values = {name: _read(each, known[name][0], f"{path}.{name}".lstrip(".")) for name, each in pairs.items()}
    return {name: value for name, value in values.items() if value is not None}


def _read_named(node: yaml.Node, kind: str, path: str) -> Any:
    if kind == "any":
        return plain(node)
    if kind == "object":
        _pairs(node, path)
        return plain(node)
    if kind in PEM_PARTS:
        pairs = _pairs(node, path)
        return {part: scalars.base64_text(pairs[part].value) for part in PEM_PARTS[kind] if part in pairs}
    if not isinstance(node, yaml.ScalarNode):
        raise ConfigError(f"{path}: cannot unmarshal {node.value!r} into {kind}")
    try:
        return scalars.read(kind, node.value, plain(node))
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def _pairs(node: yaml.Node, path: str) -> dict[str, yaml.Node]:
    if not isinstance(node, yaml.MappingNode):
        raise ConfigError(f"{path or 'document'}: cannot unmarshal {node.value!r} into a mapping")
    found: dict[str, yaml.Node] = {}
    for key, value in node.value:
        if key.value in found:
            raise ConfigError(f"mapping key {key.value!r} already defined")
        found[key.value] = value
    return found


def plain(node: yaml.Node) -> Any:
    """Return a node's value by the rules of YAML 1.2, as Go reads what has no kind: `yes` and dates are text."""
    if isinstance(node, yaml.MappingNode):
        return {name: plain(each) for name, each in _pairs(node, "").items()}
    if isinstance(node, yaml.SequenceNode):
        return [plain(each) for each in node.value]
    is_quoted = isinstance(node, yaml.ScalarNode) and node.style in ("'", '"', "|", ">")
    return node.value if is_quoted else _scalar(node.value)


def _scalar(text: str) -> Any:
    if text in ("", "~", "null", "Null", "NULL"):
        return None
    if text.lower() in ("true", "false") and (text.islower() or text.istitle() or text.isupper()):
        return text.lower() == "true"
    if re.fullmatch(r"[-+]?(0|[1-9][0-9_]*|0o?[0-7_]+|0x[0-9a-fA-F_]+|0b[01_]+)", text):
        return int(re.sub(r"^([-+]?)0(?=[0-7])", r"\g<1>0o", text), 0)
    if re.fullmatch(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", text):
        return float(text)
    return text


def written(section: str, value: Document) -> Document:
    """Return a section as Talos writes it: empty fields are left out, or written, each as Talos has it."""
    result: Document = {}
    for name, (kind, letters) in fields(section).items():
        if name in value:
            if letters or not _is_empty(kind, value[name]):
                result[name] = _written(kind, value[name])
        elif "w" in letters:
            result[name] = None if "p" in letters else _zero(kind)
    return result


def _written(kind: Kind, value: Any) -> Any:
    if value is None:
        return None
    if isinstance(kind, str):
        return {part: value.get(part, "") for part in PEM_PARTS[kind]} if kind in PEM_PARTS else value
    if "section" in kind:
        return written(kind["section"], value)
    if "list" in kind:
        return [_written(kind["list"], each) for each in value]
    return {name: _written(kind["map"], each) for name, each in value.items()}


def _is_empty(kind: Kind, value: Any) -> bool:
    if isinstance(kind, dict) and "section" in kind:
        known = fields(kind["section"])
        return all("p" not in known[name][1] and _is_empty(known[name][0], each) for name, each in value.items())
    return not value or (isinstance(kind, str) and bool(value == scalars.zero(kind)))


def _zero(kind: Kind) -> Any:
    if isinstance(kind, str):
        return scalars.zero(kind)
    return written(kind["section"], {}) if "section" in kind else [] if "list" in kind else {}
