"""Every verb of the adapters meets every fault that its API can have: what is thrown says what to do about it.

The table in docs/fault-matrix.md is what these tests saw; GOLDEN=rewrite writes it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from adversity import ADVERSITIES, Adversity, everywhere
from lab_world import LabWorld
from ship import Kept, Ship
from verbs import ASKS_NOBODY, CHANGES_NODES, ELSEWHERE, ONCE, VERBS, Scene, verbs

from tallship.adapters.hetzner_errors import CHOOSE_ANOTHER
from tallship.errors import ApiError, ProgramError, SetupError, StepFailed, TallshipError

PAGE = Path(__file__).parents[2] / "docs/fault-matrix.md"
BEGIN, END = "<!-- verbs: written by GOLDEN=rewrite -->", "<!-- end of verbs -->"
MEETS = [each for each in ADVERSITIES if not each.fault.startswith(("program", "action", "unlisted"))]
"""The faults that an answer can be."""
AGAIN, OTHER, STOP, PASSES = "again", "other", "stop", "✓"
CLASSES = {"401": STOP, "quota": STOP, "412 sold out": OTHER, "slow": PASSES}
"""What a fault must mean to whoever asks; where it is not here: ask again."""
ROWS: dict[str, dict[str, str]] = {}


@pytest.fixture(scope="module", autouse=True)
def _page_is_written() -> Iterator[None]:
    yield
    if os.environ.get("GOLDEN") == "rewrite":
        before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
        _, _, after = rest.partition(END)
        PAGE.write_text(f"{before}{BEGIN}\n\n{table()}\n\n{END}{after}", encoding="utf-8")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """One finished cluster for all verbs that leave it well."""
    with LabWorld(tmp_path_factory.mktemp("shared")) as world:
        ship = Ship(world)
        ship.make()
        with closing(ship.env()) as env:
            yield world.run(lambda: Scene(ship, env))


def test_no_verb_is_forgotten() -> None:
    assert set(verbs()) - ASKS_NOBODY - set(ELSEWHERE) == set(VERBS)


@pytest.mark.parametrize("name", [name for name in VERBS if name not in CHANGES_NODES])
def test_what_a_verb_throws_says_what_to_do(name: str, shared: Scene) -> None:
    says_what_to_do(name, shared, MEETS)


@pytest.mark.parametrize("name", [name for name in VERBS if name in CHANGES_NODES])
def test_what_a_verb_throws_that_changes_nodes_says_what_to_do(name: str, kept: Kept) -> None:
    with kept.copy() as ship, closing(ship.env()) as env:
        scene = ship.world.run(lambda: Scene(ship, env))
        before = [each for each in MEETS if each.fault in ("server-error", "reset", "unauthorized")]
        after = [each for each in MEETS if each.fault == "lost-answer"]
        says_what_to_do(name, scene, [*before, *after])


def says_what_to_do(name: str, scene: Scene, adversities: list[Adversity]) -> None:
    row = ROWS[name] = {}
    for adversity in adversities:
        scene.ship.world.run(scene.tidy)
        found = outcomes(scene, name, adversity)
        wanted = STOP if name in ONCE and adversity.title == "500" else CLASSES.get(adversity.title, AGAIN)
        assert found <= {wanted, PASSES}, f"{adversity.title}: {found}"
        if found:
            row[adversity.title] = wanted if wanted in found else PASSES
    assert os.environ.get("GOLDEN") == "rewrite" or line(name) in PAGE.read_text(encoding="utf-8").splitlines()


def outcomes(scene: Scene, name: str, adversity: Adversity) -> set[str]:
    """Return what came of each request of the verb that met the fault; at the end it goes well."""
    verb, found, world = VERBS[name], set[str](), scene.ship.world
    with everywhere(world, adversity) as trouble:
        for _ in range(8):
            world.do(trouble.end)
            thing = world.run(lambda: verb.make(scene))
            world.do(trouble.begin)
            before = len(trouble.met)
            try:
                world.run(partial(verb.call, scene, thing))
            except TallshipError as error:
                if len(trouble.met) == before and name in CHANGES_NODES:
                    return found  # the node is busy with what it was told
                if len(trouble.met) == before:
                    raise
                found.add(class_of(error, world.token))
            else:
                return found | ({PASSES} if len(trouble.met) > before else set())
    raise AssertionError("it never goes well")


def class_of(error: TallshipError, token: str) -> str:
    """Return what is to be done about an error, after a look that it says so to a person too."""
    assert error.message and error.hint, repr(error)
    assert token not in f"{error.message}{error.detail}{error.hint}"
    if isinstance(error, SetupError | StepFailed | ProgramError) or not isinstance(error, ApiError):
        return STOP
    if error.code in CHOOSE_ANOTHER:
        return OTHER
    return AGAIN if error.may_pass else STOP


def table() -> str:
    titles = [each.title for each in MEETS]
    head = [f"| verb | {' | '.join(titles)} |", f"|{'---|' * (len(titles) + 1)}"]
    return "\n".join([*head, *map(line, ROWS)])


def line(name: str) -> str:
    """Return a verb's row of the table."""
    return f"| `{name}` | {' | '.join(ROWS[name].get(each.title, '') for each in MEETS)} |"
