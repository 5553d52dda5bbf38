"""Makes things true: a step is a probe that looks and an act that starts a change. Knows nothing of clusters."""

from __future__ import annotations

import enum
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from tallship.errors import ApiError, Interrupted, SetupError, StepFailed, TallshipError, TimedOut, Unreachable
from tallship.lanes import side_by_side

PATIENCE = 30.0
"""Seconds for which a step that has neither seen anything nor acted yet puts up with errors that may pass."""
SLOWEST = 15.0
"""Seconds between two looks, at most, unless a step or whoever is asked wants it otherwise."""
HEED = 2.0
"""Seconds after which one who waits heeds the wish to stop, at most."""


class Surroundings:
    """What the engine itself asks of the things that steps use."""

    def moment(self) -> AbstractContextManager[object]:
        """Return what lasts as long as one probe looks, so that it asks for nothing twice."""
        return nullcontext()

    def brake(self) -> tuple[float, str]:
        """Return the least seconds between two looks now, and why they are so many; asked at each wait."""
        return 0.0, ""


EnvT = TypeVar("EnvT", bound=Surroundings)


def rest(interval: float, quiet: float, slowest: float = SLOWEST) -> float:
    """Return the seconds until the next look at what has not changed for `quiet` seconds: it hardly will just now."""
    return max(interval, min(quiet / 10, slowest))


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
    """Seconds between two probes; while nothing changes they become more, up to `slowest`."""
    slowest: ClassVar[float] = SLOWEST
    advice: ClassVar[str] = "run the same command again: it goes on from here"
    """What a person can do when the step is late, unless what it saw last knows better."""

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

    def take(self, tell: Callable[[str], None]) -> None:
        """Return when this run is the one; asked before each act. Raises SetupError that tells who is.

        `tell` hears what it waits for.
        """


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
        side_by_side(clock.run_threads, [partial(look_at, lane) for lane in lanes])
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
            side_by_side(self.clock.run_threads, [partial(self._make_lane, lane) for lane in lanes])
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

    def pause(self, step: Step[EnvT], seconds: float) -> None:
        """Wait until the next probe is due; raises Interrupted when somebody wants the run to stop."""
        until = self.clock.now() + seconds
        while (left := until - self.clock.now()) > 0:
            if self.stop.is_set():
                hint = "run the same command again: it goes on from here"
                raise Interrupted(f"stopped during `{step.name}`", hint=hint)
            if self._failed:
                raise Interrupted(f"`{step.name}` stopped because a step beside it failed")
            self.clock.sleep(min(left, HEED))

    def left(self, began: float, step: Step[EnvT]) -> float:
        """Return the seconds until the step is late, or the time of the whole run is up."""
        ends = [began + step.timeout, *([] if self._deadline is None else [self._deadline])]
        return min(ends) - self.clock.now()


class _Attempt(Generic[EnvT]):
    """One step of one run, until it is ready, broken or late."""

    MAX_TRIES = 3
    """How often one change is started when its act ends in an error that may pass, and may have done something."""

    def __init__(self, run: Run[EnvT], step: Step[EnvT]) -> None:
        self._run = run
        self._step = step
        self._began = run.clock.now()
        self._acted: dict[str, int] = {}
        self._done: set[str] = set()
        self._last: Seen | None = None
        """What a probe saw last."""
        self._since = self._began
        """When it saw that for the first time."""
        self._polite = 0.0
        """Seconds after which who was asked last wants to be asked again, at least."""

    def make(self) -> Seen:
        while True:
            seen = self._probe()
            if seen.state is State.READY:
                return seen
            self._run.reporter.saw(self._step, seen)
            self._refuse(seen)
            if seen.state is State.MISSING and seen.change not in self._done:
                self._act(seen)
            else:
                self._wait(seen)

    def outcome(self, state: State, detail: str, hint: str = "") -> Outcome:
        seconds = self._run.clock.now() - self._began
        return Outcome(self._step.name, self._step.title, state, detail, tuple(self._acted), seconds, "", hint)

    def _probe(self) -> Seen:
        now = self._run.clock.now()
        try:
            with self._run.env.moment():
                seen = self._step.probe(self._run.env)
        except ApiError as error:
            is_patient = self._acted or self._last or error.again_after or now - self._began < PATIENCE
            if not error.may_pass or not is_patient:
                raise
            return self._met(error)
        if seen != self._last:
            self._last, self._since = seen, now
        self._polite = 0.0
        return seen

    def _met(self, error: ApiError) -> Seen:
        """Return what is seen of an error that may pass."""
        self._polite = error.again_after
        again = f"; asked again in {self._polite:.0f} s" if self._polite else ""
        return Seen(State.WORKING, error.message + again, hint=error.hint)

    def _wait(self, seen: Seen) -> None:
        """Wait for the next look: the longer, the longer nothing has changed. Raises TimedOut when time is up."""
        if (left := self._run.left(self._began, self._step)) <= 0:
            raise self._late(seen)
        quiet = self._run.clock.now() - self._since
        seconds = max(rest(self._step.interval, quiet, self._step.slowest), self._polite)
        least, why = self._run.env.brake()
        if least > seconds:
            self._run.reporter.saw(self._step, replace(seen, detail="; ".join(filter(None, (seen.detail, why)))))
        self._run.pause(self._step, min(max(seconds, least), left))

    def _refuse(self, seen: Seen) -> None:
        if seen.state is State.BROKEN:
            raise StepFailed(seen.detail, detail="\n".join(self._evidence()), hint=seen.hint)
        if seen.state is State.BLOCKED:
            hint = seen.hint or "`tallship up` does the steps before it too"
            word = "go on" if self._acted or self._since > self._began else "begin yet"
            raise SetupError(f"`{self._step.name}` cannot {word}: {seen.detail}", hint=hint)

    def _act(self, seen: Seen) -> None:
        """Start the change once; one that ended in a passing error is looked at again and may be started again."""
        self._run.reporter.acting(self._step, seen)
        tries = self._acted[seen.change] = self._acted.get(seen.change, 0) + 1
        try:
            if self._run.guard is not None:
                self._run.guard.take(lambda text: self._run.reporter.saw(self._step, Seen(State.WORKING, text)))
            self._step.act(self._run.env, seen)
        except ApiError as error:
            if not error.may_pass or (tries >= self.MAX_TRIES and not error.again_after):
                raise
            met = self._met(error)
            self._run.reporter.saw(self._step, met)
            self._wait(met)
            return
        self._done.add(seen.change)

    def _late(self, seen: Seen) -> TimedOut:
        seconds = self._run.clock.now() - self._began
        evidence = [seen.detail or f"still to do: {seen.change}"]
        if self._last not in (None, seen) and self._last.detail not in ("", seen.detail):
            evidence.append(f"seen before that: {self._last.detail}")
        evidence += self._evidence()
        return TimedOut(
            f"`{self._step.name}` is not there yet after {seconds:.0f} s",
            detail="\n".join(filter(None, evidence)),
            hint=seen.hint or self._step.advice,
        )

    def _evidence(self) -> list[str]:
        """Return what the step says for a person; who is silent says so, and the verdict stays."""
        try:
            return self._step.explain(self._run.env)
        except TallshipError as error:
            return [error.message]
