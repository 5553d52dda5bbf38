"""Makes things true: a step is a probe that looks and an act that starts a change. Knows nothing of clusters."""

from __future__ import annotations

import enum
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from tallship.errors import (
    ApiError,
    Interrupted,
    ManyErrors,
    SetupError,
    StepFailed,
    TallshipError,
    TimedOut,
    Unreachable,
)

EnvT = TypeVar("EnvT")

PATIENCE = 30.0
"""Seconds for which a step that has neither seen anything nor acted yet puts up with errors that may pass."""


class State(enum.Enum):
    """What a probe found."""

    READY = "ready"  # nothing to do
    MISSING = "missing"  # absent or different: act
    WORKING = "working"  # someone is already converging it: wait, do not act again
    BLOCKED = "blocked"  # an earlier step is not there yet: never act
    BROKEN = "broken"  # acting could do harm: stop and explain


@dataclass(frozen=True)
class Seen:
    """A probe's answer."""

    state: State
    detail: str = ""
    change: str = ""
    """With MISSING: what act would do now; shown by plan."""
    hint: str = ""


class Clock(Protocol):
    """The only way to wait and to know the time."""

    def now(self) -> float:
        """Return seconds that only ever grow; their zero means nothing."""

    def today(self) -> datetime:
        """Return the date and time of day, in UTC."""

    def sleep(self, seconds: float) -> None:
        """Return when so many seconds have passed."""

    def run_threads(self, bodies: Sequence[Callable[[], None]]) -> None:
        """Run the bodies side by side, one thread each; return when all have ended."""


class Step(Generic[EnvT]):
    """One thing that must be true. Subclasses are frozen dataclasses named after it."""

    name: ClassVar[str]
    title: ClassVar[str]
    timeout: ClassVar[float] = 300
    """Seconds from the first probe until the step is late."""
    interval: ClassVar[float] = 2
    """Seconds between two probes."""

    def probe(self, env: EnvT) -> Seen:
        """Look and never touch."""
        raise NotImplementedError

    def act(self, env: EnvT, seen: Seen) -> None:
        """Start the change that `seen` names. Steps that only wait do not have one."""
        raise NotImplementedError(f"{self.name} only waits")

    def explain(self, env: EnvT) -> list[str]:
        """Return evidence for a person when the step is late."""
        return []


@dataclass(frozen=True)
class Lanes(Generic[EnvT]):
    """Sequences of steps that run side by side."""

    lanes: tuple[tuple[Step[EnvT], ...], ...]


Flow = tuple[Step[EnvT] | Lanes[EnvT], ...]


@dataclass(frozen=True)
class Outcome:
    """How a step ended."""

    name: str
    title: str
    state: State
    detail: str
    acted: tuple[str, ...]
    seconds: float
    change: str = ""
    hint: str = ""
    error: TallshipError | None = None
    """What the probe raised."""


class Reporter(Protocol):
    """Hears what a run does; called from several threads."""

    def started(self, step: Step[Any]) -> None:
        """A step begins."""

    def saw(self, step: Step[Any], seen: Seen) -> None:
        """A probe answered, and the step is not done."""

    def acting(self, step: Step[Any], seen: Seen) -> None:
        """A change is about to be made."""

    def ended(self, step: Step[Any], outcome: Outcome) -> None:
        """A step ended; state is READY when it succeeded."""


class Guard(Protocol):
    """Lets one run at a time change things."""

    def take(self) -> None:
        """Return when this run is the one; asked before each act. Raises SetupError that tells who is."""


def steps(flow: Flow[EnvT]) -> Iterator[Step[EnvT]]:
    """Yield every step of a flow in order."""
    for part in flow:
        if isinstance(part, Lanes):
            for lane in part.lanes:
                yield from lane
        else:
            yield part


def select(flow: Flow[EnvT], only: str = "", first: str = "", last: str = "") -> Flow[EnvT]:
    """Return the part of a flow: one step, or those from `first` until `last`, both included.

    Raises SetupError for a name that no step has.
    """
    names = [step.name for step in steps(flow)]
    for name in filter(None, (only, first, last)):
        if name not in names:
            raise SetupError(f"there is no step `{name}`", hint=f"steps are: {', '.join(names)}")
    if only:
        first = last = only
    begin = names.index(first) if first else 0
    end = names.index(last) if last else len(names) - 1
    if begin > end:
        raise SetupError(f"`{first}` comes after `{last}`", hint=f"steps are, in order: {', '.join(names)}")
    wanted = set(names[begin : end + 1])
    return tuple(_kept(flow, wanted))


def _kept(flow: Flow[EnvT], wanted: set[str]) -> Iterator[Step[EnvT] | Lanes[EnvT]]:
    for part in flow:
        if isinstance(part, Lanes):
            lanes = tuple(tuple(step for step in lane if step.name in wanted) for lane in part.lanes)
            if kept := tuple(lane for lane in lanes if lane):
                yield Lanes(kept)
        elif part.name in wanted:
            yield part


def look(flow: Flow[EnvT], env: EnvT, clock: Clock) -> list[Outcome]:
    """Return what every probe sees, touching nothing; one that fails is BROKEN. Lanes are looked at side by side."""
    found: dict[str, Outcome] = {}

    def look_at(part: Sequence[Step[EnvT]]) -> None:
        for step in part:
            began = clock.now()
            try:
                seen = step.probe(env)
                error = None
            except Unreachable as silence:
                seen, error = Seen(State.BLOCKED, silence.message, hint=silence.hint), None
            except TallshipError as known:
                seen, error = Seen(State.BROKEN, known.message, hint=known.hint), known
            seconds = clock.now() - began
            found[step.name] = Outcome(
                step.name, step.title, seen.state, seen.detail, (), seconds, seen.change, seen.hint, error
            )

    for part in flow:
        lanes = part.lanes if isinstance(part, Lanes) else ((part,),)
        _side_by_side(clock, [partial(look_at, lane) for lane in lanes])
    return [found[step.name] for step in steps(flow)]


@dataclass
class Run(Generic[EnvT]):
    """One run of a flow: its clock, its audience, its deadline, and the wish to stop."""

    env: EnvT
    clock: Clock
    reporter: Reporter
    timeout: float | None = None
    """Seconds for the whole run."""
    stop: threading.Event = field(default_factory=threading.Event)
    """Set by the first Ctrl-C, and when a lane beside has failed; heeded at the next wait."""
    outcomes: list[Outcome] = field(default_factory=list)
    guard: Guard | None = None
    """Asked before each act; None where nobody else can be at work."""

    def __post_init__(self) -> None:
        self._deadline = None if self.timeout is None else self.clock.now() + self.timeout
        self._failed = False

    def make(self, flow: Flow[EnvT]) -> list[Outcome]:
        """Make every step of the flow true, in order; returns how each ended.

        Raises StepFailed, TimedOut, SetupError, Interrupted, or what an act raised; errors of several lanes as
        ManyErrors.
        """
        for part in flow:
            lanes = part.lanes if isinstance(part, Lanes) else ((part,),)
            _side_by_side(self.clock, [partial(self._make_lane, lane) for lane in lanes])
        return self.outcomes

    def _make_lane(self, lane: Sequence[Step[EnvT]]) -> None:
        try:
            for step in lane:
                self._make_step(step)
        except BaseException:
            self._failed = True
            raise

    def _make_step(self, step: Step[EnvT]) -> None:
        attempt = _Attempt(self, step)
        self.reporter.started(step)
        try:
            seen = attempt.make()
        except TallshipError as error:
            self.reporter.ended(step, attempt.outcome(State.BROKEN, error.message, error.hint))
            raise
        outcome = attempt.outcome(seen.state, seen.detail)
        self.outcomes.append(outcome)
        self.reporter.ended(step, outcome)

    def pause(self, step: Step[EnvT]) -> None:
        """Wait until the next probe is due; raises Interrupted when somebody wants the run to stop."""
        if self.stop.is_set():
            raise Interrupted(f"stopped during `{step.name}`", hint="run the same command again: it goes on from here")
        if self._failed:
            raise Interrupted(f"`{step.name}` stopped because a step beside it failed")
        self.clock.sleep(step.interval)

    def is_over(self) -> bool:
        """True when the time of the whole run is up."""
        return self._deadline is not None and self.clock.now() >= self._deadline


class _Attempt(Generic[EnvT]):
    """One step of one run, until it is ready, broken or late."""

    MAX_TRIES = 3
    """How often one change is started when its act ends in an error that may pass."""

    def __init__(self, run: Run[EnvT], step: Step[EnvT]) -> None:
        self._run = run
        self._step = step
        self._began = run.clock.now()
        self._acted: dict[str, int] = {}
        self._done: set[str] = set()
        self._has_seen = False

    def make(self) -> Seen:
        step, run = self._step, self._run
        while True:
            seen = self._probe()
            if seen.state is State.READY:
                return seen
            run.reporter.saw(step, seen)
            self._refuse(seen)
            if seen.state is State.MISSING and seen.change not in self._done:
                self._act(seen)
                continue
            if run.clock.now() - self._began >= step.timeout or run.is_over():
                raise self._late(seen)
            run.pause(step)

    def outcome(self, state: State, detail: str, hint: str = "") -> Outcome:
        seconds = self._run.clock.now() - self._began
        return Outcome(self._step.name, self._step.title, state, detail, tuple(self._acted), seconds, "", hint)

    def _probe(self) -> Seen:
        try:
            seen = self._step.probe(self._run.env)
        except ApiError as error:
            is_patient = self._acted or self._has_seen or self._run.clock.now() - self._began < PATIENCE
            if not error.may_pass or not is_patient:
                raise
            return Seen(State.WORKING, error.message, hint=error.hint)
        self._has_seen = True
        return seen

    def _refuse(self, seen: Seen) -> None:
        if seen.state is State.BROKEN:
            raise StepFailed(seen.detail, detail="\n".join(self._evidence()), hint=seen.hint)
        if seen.state is State.BLOCKED:
            hint = seen.hint or "`tallship up` does the steps before it too"
            raise SetupError(f"`{self._step.name}` cannot begin yet: {seen.detail}", hint=hint)

    def _act(self, seen: Seen) -> None:
        """Start the change once; one that ended in a passing error is looked at again and may be started again."""
        self._run.reporter.acting(self._step, seen)
        tries = self._acted[seen.change] = self._acted.get(seen.change, 0) + 1
        try:
            if self._run.guard is not None:
                self._run.guard.take()
            self._step.act(self._run.env, seen)
        except ApiError as error:
            if not error.may_pass or tries >= self.MAX_TRIES:
                raise
            self._run.reporter.saw(self._step, Seen(State.WORKING, error.message, hint=error.hint))
            self._run.pause(self._step)
            return
        self._done.add(seen.change)

    def _late(self, seen: Seen) -> TimedOut:
        seconds = self._run.clock.now() - self._began
        evidence = [seen.detail, *self._evidence()]
        return TimedOut(
            f"`{self._step.name}` is not there yet after {seconds:.0f} s",
            detail="\n".join(filter(None, evidence)),
            hint=seen.hint or "run the same command again: it goes on from here",
        )

    def _evidence(self) -> list[str]:
        """Return what the step says for a person; who is silent says so, and the verdict stays."""
        try:
            return self._step.explain(self._run.env)
        except TallshipError as error:
            return [error.message]


def _side_by_side(clock: Clock, bodies: Sequence[Callable[[], None]]) -> None:
    """Run the bodies side by side; afterwards raise what they raised."""
    if len(bodies) == 1:
        bodies[0]()
        return
    errors: list[BaseException] = []

    def guarded(body: Callable[[], None]) -> Callable[[], None]:
        def guard() -> None:
            try:
                body()
            except BaseException as error:  # carried over to the thread that waits
                errors.append(error)

        return guard

    clock.run_threads([guarded(body) for body in bodies])
    for error in errors:
        if not isinstance(error, TallshipError):
            raise error
    known = [error for error in errors if isinstance(error, TallshipError)]
    causes = [error for error in known if not isinstance(error, Interrupted)] or known[:1]
    if len(causes) == 1:
        raise causes[0]
    if causes:
        raise ManyErrors(causes)
