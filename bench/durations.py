"""The lab's durations with their sources, read from the tables themselves so that the page cannot differ from them."""

from __future__ import annotations

import ast
import re
from pathlib import Path

LAB = Path(__file__).parents[1] / "src/tallship/lab"
TABLES = {
    "Hetzner": "hetzner/times.py",
    "Talos": "talos/durations.py",
    "pulls": "pulls.py",
    "nodes": "controllers/nodes/durations.py",
    "programs": "programs/times.py",
    "rescue": "rescue.py",
    "CAPI": "controllers/core/cluster.py",
    "CAPH": "controllers/caph/machine.py",
    "CACPPT": "controllers/cacppt/control_plane.py",
}
SOURCES = {
    "CAPH": "CAPH v1.0.7: when it looks again at a machine (10 s; 60 s after a look that met `starting`)",
    "CACPPT": "CACPPT v0.5.12: when it looks again at a control plane",
}


def table() -> list[tuple[str, ...]]:
    """Return part, name, seconds and source of every modelled duration."""
    return [(part, *row) for part, file in TABLES.items() for row in _rows(LAB / file, SOURCES.get(part, ""))]


def _rows(path: Path, source: str) -> list[tuple[str, str, str]]:
    text = path.read_text(encoding="utf-8")
    lines, tree = text.splitlines(), ast.parse(text)
    general = source or (ast.get_docstring(tree) or "").partition("\n\n")[2].replace("\n", " ")
    found: list[tuple[str, str, str]] = []
    for node, after in zip(tree.body, [*tree.body[1:], None], strict=True):
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        value = getattr(node, "value", None)
        if not isinstance(target, ast.Name) or not target.id.isupper() or target.id.endswith("PORT"):
            continue
        about = _told(after) or general
        if isinstance(value, ast.Constant) and isinstance(value.value, int | float):
            found.append((target.id, f"{value.value:g}", about))
        elif isinstance(value, ast.Dict):
            found += _entries(target.id, value, lines, general or about)
    return found


def _entries(name: str, value: ast.Dict, lines: list[str], about: str) -> list[tuple[str, str, str]]:
    return [
        (f"{name}: {key.value!s}", f"{number.value:g}", _comment(lines[number.lineno - 1]) or about)
        for key, number in zip(value.keys, value.values, strict=True)
        if isinstance(key, ast.Constant) and isinstance(number, ast.Constant) and isinstance(number.value, int | float)
    ]


def _told(node: ast.stmt | None) -> str:
    """Return the text under a constant on one line, or nothing."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
        return re.sub(r"\s+", " ", node.value.value).strip()
    return ""


def _comment(line: str) -> str:
    return line.partition("  # ")[2].strip()
