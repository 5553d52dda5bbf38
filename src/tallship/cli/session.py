"""From options to an Env: which file, which folder, the real Hetzner or the lab."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import FrameType

from tallship.cli.folder import state_folder
from tallship.cli.options import Options, pairs
from tallship.engine import Flow, Outcome, Reporter, Run, Seen, State, Step
from tallship.env import Env, Site, SystemClock
from tallship.errors import SetupError, SpecError
from tallship.ops.token import read_token
from tallship.report.answer import current
from tallship.spec import changed, load_spec
from tallship.spec.load import dotted, load_spec_with, read_spec


def open_env(options: Options, replace: bool = False, changes: Sequence[str] = ()) -> Env:
    """Return the Env of a command, with some values of the file set for this run. Raises SpecError or SetupError."""
    spec = load_spec_with(options.file, pairs(changes)) if changes else load_spec(options.file)
    written = read_spec(options.file).spec if changes else spec  # None where it is right only with these changes
    folder = state_folder(options, spec)
    if options.verbose:
        _show_calls()
    if options.lab:
        from tallship.cli.lab import site_of_lab

        site, clock = site_of_lab(options, folder)
        current().data["lab"] = True
        if options.text and not options.quiet:
            faster = f"{clock.speed:g} seconds pass in one"
            sys.stderr.write(f"lab: nothing here is real; time is the lab's, {faster}\n")
        return Env(spec, site, folder, clock, options.file.parent, replace, options.yes, written)
    site = Site(
        read_token(spec, os.environ, options.file.parent),
        hetzner_endpoint=os.environ.get("HCLOUD_ENDPOINT", Site.hetzner_endpoint),
        path=os.environ.get("PATH", ""),
        address_url=spec.firewall.address_url,
    )
    return Env(spec, site, folder, SystemClock(), options.file.parent, replace, options.yes, written)


def _show_calls() -> None:
    """Write a line to stderr for each call that an adapter makes."""
    import logging

    from tallship.adapters.calls import LOG

    shown = logging.StreamHandler(sys.stderr)
    shown.setFormatter(logging.Formatter("call: %(message)s"))
    LOG.addHandler(shown)
    LOG.setLevel(logging.DEBUG)
    LOG.propagate = False


@contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Hold the folder's lock. Raises SetupError that tells who holds it."""
    from filelock import FileLock, Timeout

    lock, holder = FileLock(folder / "lock"), folder / "lock-holder"
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        who = holder.read_text(encoding="utf-8") if holder.exists() else "another run"
        raise SetupError(
            f"{who} is working on this cluster", hint="wait for it, or stop it with Ctrl-C there"
        ) from error
    try:
        holder.write_text(f"process {os.getpid()} (`{_doing()}`)", encoding="utf-8")
        yield
    finally:
        lock.release()


def _doing() -> str:
    """Return the command without its values, for those who wait for it."""
    return " ".join(["tallship", *sys.argv[1:2]])


def make(flow: Flow[Env], env: Env, options: Options, *, alone: bool = True) -> list[Outcome]:
    """Run a flow with live progress, a journal, and Ctrl-C that stops at the next wait.

    `alone`: while nobody else changes the cluster, from here or from elsewhere; False for what never touches it.
    """
    from tallship.ops.lease import RENEWAL, ClusterLease
    from tallship.report.console import for_people
    from tallship.report.journal import Journal
    from tallship.report.live import Live
    from tallship.report.plain import Plain, Silent

    console = for_people()
    audience: Live | Plain | Silent
    if options.quiet:
        audience = Silent()
    elif console.is_terminal and not options.verbose:
        audience = Live(console, env.clock)
    else:
        audience = Plain(sys.stderr, env.clock)
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    log = env.folder / "logs" / f"{stamp}-{os.getpid()}.jsonl"
    current().log = log
    journal = Journal(log, env.clock, audience)
    pace = RENEWAL / env.clock.speed if isinstance(env.clock, SystemClock) else None
    lease = ClusterLease(env, _doing(), pace) if alone else None
    run = Run(env, env.clock, journal, options.timeout, env.stop, guard=lease)
    env.tell = partial(_told, journal)
    try:
        with stop_at_next_wait(run.stop), lease.held() if lease else nullcontext():
            return run.make(flow)
    finally:
        current().data["steps"] = [as_data(outcome) for outcome in run.outcomes]
        journal.note("calls", **env.calls())
        journal.close()
        audience.close()
        _tell_of_changed_file(env, options)


def _tell_of_changed_file(env: Env, options: Options) -> None:
    """Say what somebody has written into the cluster file meanwhile, which this run knows nothing of."""
    if env.written is None:
        return
    try:
        now = load_spec(options.file)
    except SpecError:
        told = ["it is no valid cluster file any more, `tallship validate` shows why"]
    else:
        places = changed.differing(env.written, now)
        told = [dotted(keys) for keys in places if changed.value(now, keys) != changed.value(env.spec, keys)]
    if told:
        current().data["file_changed"] = told
        sys.stderr.write(
            f"note: {options.file} was changed while this ran: {'; '.join(told)}\n"
            "      nothing of it was done: `tallship plan` shows what it means\n"
        )


def _told(audience: Reporter, step: Step[Env], text: str) -> None:
    audience.saw(step, Seen(State.WORKING, text))


def as_data(outcome: Outcome) -> dict[str, object]:
    """Return a step's outcome as the JSON envelope shows it."""
    return {
        "name": outcome.name,
        "state": outcome.state.value,
        "detail": outcome.detail,
        "acted": list(outcome.acted),
        "seconds": round(outcome.seconds, 1),
    }


@contextmanager
def stop_at_next_wait(stop: threading.Event) -> Iterator[None]:
    """Let the first Ctrl-C ask for a stop and the second one end the process."""

    def heard(_signal: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        sys.stderr.write("\nstopping at the next wait; Ctrl-C again ends at once\n")

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, heard)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
