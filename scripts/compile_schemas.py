"""Makes the lab's schemas of custom resources from CustomResourceDefinitions: facts only, no descriptions.

python scripts/compile_schemas.py FOLDER_WITH_CRDS > src/tallship/lab/kube/schemas.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import yaml

from tallship.lab.kinds import CLUSTER_API

PROSE = ("description", "example", "externalDocs", "title")


def compiled(folder: Path) -> dict[str, Any]:
    """Return the definition of every kind the lab knows, by kind."""
    wanted = {(kind.group, kind.kind): kind for kind in CLUSTER_API}
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*.yaml")):
        for crd in yaml.load_all(path.read_text(encoding="utf-8"), yaml.CSafeLoader):
            if not isinstance(crd, dict) or crd.get("kind") != "CustomResourceDefinition":
                continue
            spec = crd["spec"]
            kind = wanted.get((spec["group"], spec["names"]["kind"]))
            if kind is not None:
                found[kind.kind] = definition(spec, kind.version)
    return dict(sorted(found.items()))


def definition(spec: dict[str, Any], version: str) -> dict[str, Any]:
    """Return what one definition says of the version that is stored."""
    one = next(each for each in spec["versions"] if each["name"] == version)
    names = {key: value for key, value in spec["names"].items() if key != "listKind"}
    columns = [without_prose(each) for each in one.get("additionalPrinterColumns", [])]
    return {
        "group": spec["group"],
        "version": version,
        "scope": spec["scope"],
        "names": names,
        "subresources": one.get("subresources", {}),
        "columns": columns,
        "schema": without_prose(one["schema"]["openAPIV3Schema"]),
    }


def without_prose(value: Any, inside_properties: bool = False) -> Any:
    """Return a schema without its prose; a property may be called `description` and stays."""
    if isinstance(value, dict):
        return {
            key: without_prose(each, key == "properties")
            for key, each in value.items()
            if inside_properties or key not in PROSE or not isinstance(each, str)
        }
    if isinstance(value, list):
        return [without_prose(each) for each in value]
    return value


if __name__ == "__main__":
    json.dump(compiled(Path(sys.argv[1])), sys.stdout, separators=(",", ":"), sort_keys=True)
    sys.stdout.write("\n")
