"""Makes the lab's table of Talos' configuration keys from Talos' JSON schema: names and types only, no prose.

python scripts/compile_talos_keys.py config.schema.json > src/tallship/lab/talos/config/keys.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

ROOT = "v1alpha1.Config"


def compiled(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of every section, and which section each kind of document begins with."""
    sections = {name: fields(body) for name, body in schema["$defs"].items()}
    kinds = {}
    for name, body in schema["$defs"].items():
        found = body.get("properties", {})
        if "kind" in found and "apiVersion" in found:
            kinds[found["kind"]["enum"][0]] = name
    return {"kinds": dict(sorted(kinds.items())), "root": ROOT, "sections": dict(sorted(sections.items()))}


def fields(body: dict[str, Any]) -> dict[str, Any]:
    """Return a section's fields with their types."""
    return {name: kind(each) for name, each in sorted(body.get("properties", {}).items())}


def kind(body: dict[str, Any]) -> Any:
    """Return a type: a word, `{"section": …}`, `{"list": …}` or `{"map": …}`."""
    if "$ref" in body:
        return {"section": body["$ref"].rpartition("/")[2]}
    if body.get("type") == "array":
        return {"list": kind(body.get("items", {}))}
    if body.get("type") == "object":
        patterns = list(body.get("patternProperties", {}).values())
        return {"map": kind(patterns[0])} if patterns else "any"
    if "enum" in body:
        return "string"
    return body.get("type", "any")


if __name__ == "__main__":
    json.dump(compiled(json.loads(Path(sys.argv[1]).read_text())), sys.stdout, separators=(",", ":"), sort_keys=True)
    sys.stdout.write("\n")
