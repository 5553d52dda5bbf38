"""What the project promises about itself: names, sizes, documents."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tallship.cli.main import COMMANDS, GROUPS
from tallship.engine import Step, steps
from tallship.env import Env
from tallship.errors import TallshipError
from tallship.flows import UP
from tallship.spec import Spec

ROOT = Path(__file__).parents[1]
SOURCES = sorted(path for path in (ROOT / "src").rglob("*.py") if "talosproto" not in path.parts)
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
README = (ROOT / "README.md").read_text()
FILE_LINES, FUNCTION_LINES, TITLE_WIDTH = 400, 50, 40
HOST_PATHS = re.compile(r"(?<![\w.~$])/(?:work|root|tmp|home|Users)/\w[^\s)`]*")


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("step", list(steps(UP)), ids=lambda step: step.name)
def test_step_has_a_name_a_title_and_a_docstring(step: Step[Env]) -> None:
    name, title = step.name, step.title
    assert re.fullmatch(r"[a-z][a-z-]+", name)
    assert len(title) <= TITLE_WIDTH
    assert re.fullmatch(r"[A-Z][a-z]+ .*[^.]", title)
    assert not title.split()[0].endswith(("s", "ed", "ing"))
    assert type(step).__doc__


def test_names_of_steps_are_unique() -> None:
    names = [step.name for step in steps(UP)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    "name", [*COMMANDS, *(f"{group} {name}" for group, (_, commands) in GROUPS.items() for name in commands)]
)
def test_command_is_in_the_readme(name: str) -> None:
    rows = [line.split("|")[1] for line in README.splitlines() if line.startswith("| `")]
    group, _, verb = name.rpartition(" ")
    row = " ".join(each for each in rows if f"tallship {group}" in each) if group else " ".join(rows)
    assert re.search(rf"\b{verb}\b", row)


def test_field_of_the_cluster_file_is_described() -> None:
    schema = Spec.model_json_schema()
    silent = [
        f"{name}.{field}"
        for name, model in {"Spec": schema, **schema["$defs"]}.items()
        for field, facts in model.get("properties", {}).items()
        if not facts.get("description")
    ]
    assert silent == []


def test_kind_of_error_says_who_must_act() -> None:
    def kinds(of: type[TallshipError]) -> Iterator[type[TallshipError]]:
        for each in of.__subclasses__():
            yield each
            yield from kinds(each)

    assert [each.__name__ for each in kinds(TallshipError) if not each.__doc__] == []


def test_files_are_short() -> None:
    long = {relative(path): count for path in SOURCES if (count := path.read_text().count("\n")) > FILE_LINES}
    assert long == {}


def test_functions_are_short() -> None:
    long = [
        f"{relative(path)}:{node.lineno} {node.name}"
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or node.lineno) - node.lineno + 1 > FUNCTION_LINES
    ]
    assert long == []


def test_make_targets_that_documents_name_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    named = re.search(r"^STEPS := ((?:.*\\\n)*.*)", makefile, re.MULTILINE)
    assert named is not None
    targets = set(re.findall(r"^([a-z][a-z0-9-]*):", makefile, re.MULTILINE)) | set(named[1].replace("\\", " ").split())
    missing = {
        f"{relative(path)}: {target}"
        for path in DOCUMENTS
        for target in re.findall(r"(?:`|\$ )make ([a-z][a-z0-9-]*)", path.read_text())
        if target not in targets
    }
    assert missing == set()


def test_step_of_the_makefile_is_a_step_of_up() -> None:
    makefile = (ROOT / "Makefile").read_text().replace("\\\n", " ")
    named = re.search(r"^STEPS := (.*)", makefile, re.MULTILINE)
    assert named is not None
    assert set(named[1].split()) == {step.name for step in steps(UP)} - {"preflight"}


def test_links_between_documents_lead_somewhere() -> None:
    dead = [
        f"{relative(path)}: {link}"
        for path in DOCUMENTS
        for link in re.findall(r"\]\((?!https?:|#)([^)#]+)", path.read_text())
        if not (path.parent / link).exists()
    ]
    assert dead == []


def test_documents_name_no_place_of_one_machine() -> None:
    found = [f"{relative(path)}: {place}" for path in DOCUMENTS for place in HOST_PATHS.findall(path.read_text())]
    assert found == []
