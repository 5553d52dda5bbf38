"""What `$patch: delete` in a patch means to Talos' machinery v1.12.0, its defects included.

Deletions are taken out of a patch before it is read, and done before the rest of it is merged.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from tallship.lab.talos.config.keys import ConfigError, fields, section_of

Document = dict[str, Any]
Path = tuple[str, ...]
Identity = tuple[str, str, str]


class PatchError(Exception):
    """A patch that machinery refuses, in its words."""


class PatchPanic(Exception):
    """A patch at which machinery panics, in its words."""


@dataclass(frozen=True)
class Deletion:
    """What is to be deleted in which document; in a list, the entry that is named by `key` and `value`."""

    identity: Identity
    path: Path
    key: str = ""
    value: str = ""

    def apply(self, document: Document | Deletion) -> None:
        """Delete it. Raises PatchError when it is not there, PatchPanic below a section that is not there.

        Another deletion may stand where a document is missing: in it there is nothing.
        """
        if isinstance(document, Deletion):
            raise self._lookup_failed()
        self._delete(document, {"section": section_of(document)}, "", self.path)

    def _delete(self, value: Any, kind: Any, letters: str, path: Path) -> None:
        if value is None and "p" in letters:
            raise PatchPanic("reflect: call of reflect.Value.Type on zero Value")
        if isinstance(kind, dict) and "list" in kind:
            self._delete_entry(value or [], kind["list"], path)
            return
        name, below = path[0], path[1:]
        if isinstance(kind, dict) and "section" in kind and name in fields(kind["section"]):
            if below:
                self._delete((value or {}).get(name), *fields(kind["section"])[name], below)
            else:
                (value or {}).pop(name, None)
            return
        if isinstance(kind, dict) and "map" in kind and name in (value or {}):
            if below:
                self._delete(value[name], kind["map"], "", below)
            else:
                del value[name]
            return
        raise self._lookup_failed()

    def _delete_entry(self, entries: list[Any], kind: Any, path: Path) -> None:
        if len(path) > 1:
            raise PatchError("searching for complex paths in slices is not supported")
        if isinstance(kind, dict) and "section" in kind and self.key in fields(kind["section"]):
            for number, entry in enumerate(entries):
                if entry.get(self.key, "") == self.value:
                    del entries[number]
                    return
        raise self._lookup_failed()

    def _lookup_failed(self) -> PatchError:
        path, (version, kind, _) = ".".join(self.path), self.identity
        return PatchError(
            f"patch delete: path '{path}' in document '{version}/{kind}': failed to delete path '{path}': lookup failed"
        )


def take_deletions(root: yaml.Node) -> tuple[list[Deletion], bool]:
    """Return the deletions in a patch's document, taken out of it, and whether anything of it is left.

    Raises ConfigError for a deletion that cannot be said like this.
    """
    if not isinstance(root, yaml.MappingNode):
        return [], True
    found = list(_found(root, ()))
    whole = _is_delete(root)
    deletions = [_deletion(root, path, entry) for path, entry in found]
    emptied = not whole and _take_out(root)
    return deletions, not (whole or emptied or _says_nothing(root))


def identity(document: Document) -> Identity:
    """Return what tells documents apart: version, kind and name."""
    if "kind" not in document:
        return ("", "v1alpha1", "")
    return (str(document.get("apiVersion", "")), str(document["kind"]), str(document.get("name", "")))


def _is_delete(node: yaml.Node) -> bool:
    return isinstance(node, yaml.MappingNode) and any(
        key.value == "$patch" and value.value == "delete" for key, value in node.value
    )


def _found(node: yaml.Node, path: Path, is_entry: bool = False) -> Iterator[tuple[Path, yaml.Node | None]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == "$patch" and value.value == "delete":
                if not is_entry and any(part.startswith("[") for part in path):
                    raise ConfigError(f"cannot delete an inner key in '{'.'.join(path)}'")
                yield path, node if is_entry else None
                return
            yield from _found(value, (*path, key.value))
    elif isinstance(node, yaml.SequenceNode):
        for number, each in enumerate(node.value):
            yield from _found(each, (*path, f"[{number}]"), is_entry=True)


def _deletion(root: yaml.MappingNode, path: Path, entry: yaml.Node | None) -> Deletion:
    values = {key.value: value.value for key, value in root.value}
    if not path:
        missing = [name for name in ("apiVersion", "kind") if name not in values]
        if missing:
            raise ConfigError(f"missing {missing[0]} in document for which $patch: delete is used")
    if bool(values.get("kind")) != bool(values.get("apiVersion")):
        raise ConfigError(f"kind and apiVersion must be both set for path {'.'.join(path)}")
    whose = (values.get("apiVersion", ""), values.get("kind", "v1alpha1"), values.get("name", ""))
    if entry is None:
        return Deletion(whose, path)
    named = [(key.value, value.value) for key, value in entry.value if key.value != "$patch"]
    if not named:
        raise ConfigError(f"no key:val found in sequence node for path {'.'.join(path)}")
    return Deletion(whose, path, *named[0])


def _take_out(node: yaml.Node) -> bool:
    """Take deletions out of a node, and what they leave empty; True when nothing is left of it."""
    if _is_delete(node):
        return True
    if isinstance(node, yaml.MappingNode):
        kept: list[Any] = [(key, value) for key, value in node.value if not _take_out(value)]
    elif isinstance(node, yaml.SequenceNode):
        kept = [each for each in node.value if not _take_out(each)]
    else:
        return False
    emptied = bool(node.value) and not kept
    node.value = kept
    return emptied


def _says_nothing(root: yaml.MappingNode) -> bool:
    return all(
        isinstance(value, yaml.ScalarNode) and key.value in ("version", "kind", "name") for key, value in root.value
    )
