"""Keeps the programs of a folder running until it is told to stop. Knows nothing of Kubernetes."""

from __future__ import annotations

import json
import logging
import os
import select
import signal
import socket

from tallship.localplane.child import END_SECONDS, Child, State
from tallship.localplane.files import Layout, read_json, write_private
from tallship.localplane.processes import gone, send, started_at
from tallship.localplane.program import Program

_LOG_LOOK_SECONDS = 60.0
_log = logging.getLogger(__name__)


class Supervisor:
    """The children of one folder. SIGTERM and SIGINT end them and it; SIGHUP makes it read the descriptions again."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._children: dict[str, Child] = {}
        self._wanted: dict[str, Program] = {}
        self._stopping = False
        self._stale = True
        self._published = ""
        self._wake, self._waker = socket.socketpair()

    def run(self) -> None:
        """Return when everything has ended."""
        self._listen()
        try:
            while not self._stopping or self._children:
                self._round()
        finally:
            self._layout.running.unlink(missing_ok=True)
            self._wake.close()
            self._waker.close()

    def _listen(self) -> None:
        self._wake.setblocking(False)
        self._waker.setblocking(False)
        signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stop())
        signal.signal(signal.SIGHUP, lambda *_: self._read_again())
        signal.signal(signal.SIGCHLD, lambda *_: None)  # only to be woken

    def _stop(self) -> None:
        self._stopping = True

    def _read_again(self) -> None:
        self._stale = True

    def _round(self) -> None:
        if self._stale:
            self._stale = False
            self._wanted = _descriptions(self._layout)
        while self._take_turns():
            pass
        self._write_files()
        if self._stopping and not self._children:
            return
        seconds = min([_LOG_LOOK_SECONDS, *(child.pause for child in self._children.values())])
        if select.select([self._wake], [], [], seconds)[0]:
            self._wake.recv(4096)

    def _take_turns(self) -> bool:
        """Let every child do what is due; True when one changed, so that another's turn may have come."""
        before = self._states()
        for child in list(self._children.values()):
            self._settle(child)
        if not self._stopping:
            for name in self._wanted.keys() - self._children.keys():
                self._children[name] = Child(self._wanted[name], self._layout)
        for child in self._children.values():
            child.look(self._may_start)
        after = self._states()
        for name in after.keys() - {name for name, state in before.items() if after.get(name) == state}:
            _log.info("%s is %s; %s", name, after[name], self._children[name].facts())
        return before != after

    def _states(self) -> dict[str, State]:
        return {name: child.state for name, child in self._children.items()}

    def _settle(self, child: Child) -> None:
        """End a child that is wanted no longer, after all that need it; forget it when it has ended."""
        name = child.program.name
        if not self._stopping and self._wanted.get(name) == child.program:
            return
        if not child.is_alive:
            del self._children[name]
        elif not any(name in other.program.after for other in self._children.values() if other.is_alive):
            child.end()

    def _may_start(self, program: Program) -> bool:
        if self._stopping or self._wanted.get(program.name) != program:
            return False
        before = (self._children.get(name) for name in program.after)
        return all(child is not None and child.state is State.READY for child in before)

    def _write_files(self) -> None:
        """Write what others read. A full disk ends nothing: it is tried again at the next turn."""
        try:
            self._publish()
            for child in self._children.values():
                child.rotate_log()
        except OSError as problem:
            _log.error("%s", problem)

    def _publish(self) -> None:
        programs = {name: child.facts() for name, child in sorted(self._children.items())}
        known = {"pid": os.getpid(), "started": started_at(os.getpid()), "programs": programs}
        text = json.dumps(known, indent=1)
        if text != self._published:
            write_private(self._layout.running, text)
            self._published = text


def _descriptions(layout: Layout) -> dict[str, Program]:
    found: dict[str, Program] = {}
    for file in sorted(layout.programs.glob("*.json")):
        try:
            program = Program.read(file)
        except (OSError, ValueError, KeyError, TypeError) as problem:
            _log.error("%s cannot be read: %r", file.name, problem)
        else:
            found[program.name] = program
    return found


def end_former(layout: Layout) -> None:
    """See that nothing of an earlier supervisor is left: its children die with it, but that takes a moment."""
    for name, facts in read_json(layout.running).get("programs", {}).items():
        pid, started = int(facts["pid"]), str(facts["started"])
        if not gone(pid, started, END_SECONDS):
            _log.warning("%s of an earlier supervisor is still there and is killed", name)
            send(pid, started, signal.SIGKILL)
            gone(pid, started, END_SECONDS)
