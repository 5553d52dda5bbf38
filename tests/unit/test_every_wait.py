"""Every wait ends, and says what it waits for: read from the code itself, so that no new one can be forgotten."""

from __future__ import annotations

import ast
import importlib
import math
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from test_engine import FakeClock, Recorder

import tallship.ops
from tallship.engine import SLOWEST, Run, Seen, State, Step, Surroundings, steps
from tallship.errors import TimedOut, Unreachable
from tallship.flows import CLEAN, PIVOT, UP, change, destroy, upgrade_in_place
from tallship.ops import drill, image, restore, restore_anew
from tallship.ops.rollout import SERVER_SECONDS
from tallship.ops.scale import ControlPlanesCounted
from tallship.ops.upgrade import FileSays
from tallship.ops.upgrade_in_place import NODE_SECONDS

SOURCES = Path(tallship.__file__).parent
OURS = [path for path in sorted(SOURCES.rglob("*.py")) if not {"lab", "talosproto"} & set(path.parts)]
LONGEST = 3600.0
ONE_BY_ONE = {"roll-out": SERVER_SECONDS, "upgrade-in-place": NODE_SECONDS}
"""Steps that take servers one by one, each with a deadline of its own, and how long that is."""
FILE = FileSays(Path("tallship.yaml"), {("kubernetes", "version"): "v1.33.1"})
FLOWS = {
    "up": UP,
    "pivot": PIVOT,
    "clean": CLEAN,
    "destroy": destroy(images=True, volumes=True),
    "change": change(FILE, (ControlPlanesCounted(3),)),
    "upgrade --in-place": upgrade_in_place(FILE),
    "image build": tuple(step() for step in image.STEPS.values()),
    "backup restore": restore.flow(Path("snapshot")),
    "backup restore --anew": restore_anew.flow(Path("snapshot"), Path("secrets"), UP),
    "backup drill": drill.flow(drill.Drill(Path("backup"), Path("drill"))),
}
STEPS = {f"{name}: {step.name}": step for name, flow in FLOWS.items() for step in steps(flow)}


def kinds() -> Iterator[type[Step[Any]]]:
    """Yield every class of steps that there is."""
    for module in pkgutil.iter_modules(tallship.ops.__path__, "tallship.ops."):
        importlib.import_module(module.name)
    found = Step.__subclasses__()
    while found:
        each = found.pop()
        found += each.__subclasses__()
        if each.__module__.startswith("tallship.") and hasattr(each, "name"):
            yield each


@pytest.mark.parametrize("kind", [*kinds()], ids=lambda kind: kind.name)
def test_a_step_looks_no_more_than_once_a_second_and_not_for_ever(kind: type[Step[Any]]) -> None:
    assert 1 <= kind.interval <= kind.slowest <= SLOWEST
    assert 0 < kind.timeout < math.inf
    assert kind.interval < kind.timeout
    assert ONE_BY_ONE.get(kind.name, kind.timeout) <= LONGEST


def test_no_step_is_outside_every_flow() -> None:
    flown = {type(step) for step in STEPS.values()}
    others = {each.__name__ for each in kinds()} - {each.__name__ for each in flown}
    assert others == {"CapiSaved", "BackupSaved", "EarlyChecksRemoved", "ForgottenMachineDeleted"}


class Nothing(Surroundings):
    """Where a step finds nothing: its probe is replaced."""


@pytest.mark.parametrize("name", STEPS)
def test_a_late_step_tells_what_it_saw_last_and_what_to_do(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    step = STEPS[name]
    answers: list[Seen | Exception] = [Seen(State.WORKING, "one of two"), Unreachable("no answer from it")]

    def probe(_self: object, _env: object) -> Seen:
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def explain(_self: object, _env: object) -> list[str]:
        raise Unreachable("nobody tells why")

    monkeypatch.setattr(type(step), "probe", probe)
    monkeypatch.setattr(type(step), "explain", explain)
    clock, recorder = FakeClock(), Recorder()
    with pytest.raises(TimedOut) as caught:
        Run(Nothing(), clock, recorder).make((step,))
    assert clock.now() == pytest.approx(step.timeout)
    assert caught.value.detail == "no answer from it\nseen before that: one of two\nnobody tells why"
    assert caught.value.hint
    assert recorder.heard.count(f"{step.name} working") <= 60 + step.timeout / step.slowest


def calls(path: Path) -> Iterator[ast.Call]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield node


def states(path: Path) -> Iterator[tuple[str, ast.Call]]:
    """Yield each `Seen(State.X, …)` with its X."""
    for call in calls(path):
        if isinstance(call.func, ast.Name) and call.func.id == "Seen" and call.args:
            first = call.args[0]
            if isinstance(first, ast.Attribute) and isinstance(first.value, ast.Name) and first.value.id == "State":
                yield first.attr, call


def test_who_waits_or_stops_says_why() -> None:
    silent = [
        f"{path.relative_to(SOURCES)}:{call.lineno}"
        for path in OURS
        for state, call in states(path)
        if state in ("WORKING", "BLOCKED", "BROKEN") and (len(call.args) < 2 or is_empty(call.args[1]))
    ]
    assert silent == []


def test_what_is_missing_says_what_would_be_done() -> None:
    silent = [
        f"{path.relative_to(SOURCES)}:{call.lineno}"
        for path in OURS
        for state, call in states(path)
        if state == "MISSING" and len(call.args) < 3 and not any(each.arg == "change" for each in call.keywords)
    ]
    assert silent == []


def is_empty(text: ast.expr) -> bool:
    return isinstance(text, ast.Constant) and not text.value


SLEEPS = {
    "engine.py pause": "until the next look of a step, which has a timeout",
    "env.py pause": "for as long as whoever asks says, or until the stop",
    "env.py answers": "three times",
    "env.py sleep": "the clock itself",
    "adapters/https.py _wait": "between four tries, a minute at most",
    "adapters/talos_channel.py __aexit__": "one turn of the loop",
    "localplane/plane.py remove": "with a deadline",
    "localplane/plane.py _wait_ready": "with a deadline",
    "localplane/plane.py _spawn": "with a deadline",
    "localplane/processes.py gone": "with a deadline",
    "ops/image_builder.py when_unlocked": "two minutes",
    "ops/image_builder.py _patiently": "two minutes",
}
"""Who sleeps, and for how long at most; whoever is new here has a deadline and says what it waits for."""


def test_nobody_else_sleeps() -> None:
    found = {
        f"{path.relative_to(SOURCES)} {function.name}"
        for path in OURS
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for call in ast.walk(function)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "sleep"
    }
    assert found == set(SLEEPS)


TIMED = {
    ("subprocess", "run"): math.inf,
    ("process", "communicate"): 2,
    ("socket", "create_connection"): 2,
    ("_opener", "open"): 3,
    ("asyncio", "wait_for"): 2,
    ("hcloud", "Client"): math.inf,
    ("kubeconfig_", "client"): math.inf,
    ("transport", "open_session"): math.inf,
    ("transport", "start_client"): 2,
}
"""What waits for the outside, and with how many positional arguments it is told for how long."""


def test_whoever_waits_for_the_outside_says_how_long() -> None:
    seen, endless = set(), []
    for path in OURS:
        for call in calls(path):
            if not isinstance(call.func, ast.Attribute):
                continue
            owner = call.func.value
            name = owner.id if isinstance(owner, ast.Name) else owner.attr if isinstance(owner, ast.Attribute) else ""
            if (what := (name, call.func.attr)) in TIMED:
                seen.add(what)
                if "timeout" not in keywords(call) and len(call.args) < TIMED[what]:
                    endless.append(f"{path.relative_to(SOURCES)}:{call.lineno}")
    assert endless == []
    assert seen == set(TIMED)


def test_each_call_to_talos_says_how_long() -> None:
    told = [keywords(call) for path in OURS for call in calls(path) if "metadata" in keywords(call)]
    assert len(told) >= 4
    assert all("timeout" in each for each in told)


def keywords(call: ast.Call) -> set[str | None]:
    return {each.arg for each in call.keywords}
