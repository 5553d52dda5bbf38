"""The files of a local management cluster are on this machine: given by the user, or fetched once and kept.

A fetched file gets its name only after it was held against what its publisher says of it. So one that has its name is
trusted, and not verified again.
"""

from __future__ import annotations

import hashlib
import os
import platform
import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tallship.engine import Clock
from tallship.errors import Interrupted, SetupError
from tallship.ops.files import make_private_folder, unwritable
from tallship.versions import ImageFile, LocalFile

if TYPE_CHECKING:
    from tallship.adapters.https import Progress

SIDE_BY_SIDE = 4
LOCK_SECONDS = 3600.0
"""So long another run may take to fetch one program."""
LOOK_SECONDS = 0.5
"""Between two looks whether it has."""
_MB = 1024**2
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True)
class Outside:
    """How programs are fetched."""

    clock: Clock
    stop: threading.Event
    """Set when somebody wants the run to stop."""
    mirrors: Mapping[str, str]
    """For a host, registry or release server, where else to ask: `{"ghcr.io": "https://mirror.example/ghcr"}`."""
    ca_file: Path | None = None
    """A further authority to trust; then no proxy is used."""


def missing(cache: Path, sources: Sequence[LocalFile], path: Path | None) -> list[str]:
    """Return what `ensure` would fetch, each as `etcd v3.5.21`; nothing when there is a folder of the user's own.

    Raises SetupError when this machine can run none of them, or when the user's own folder lacks one.
    """
    if path is not None:
        _check_given(path, sources)
        return []
    architecture = _architecture()
    return [f"{each.name} {each.version}" for each in sources if not _is_there(_place(cache, each, architecture), each)]


def ensure(
    cache: Path,
    sources: Sequence[LocalFile],
    path: Path | None,
    tell: Callable[[str], None],
    outside: Outside,
) -> Path:
    """Return a folder that holds all files by their names; what is not in `cache` is fetched, side by side.

    With `path`, a folder of the user's own, nothing is fetched: that folder is returned. The folder's name differs for
    every other set of versions. Runs may do this at the same time; one that is killed leaves nothing half. `tell` hears
    how far it is, in MB. Raises SetupError, ApiError, Unreachable, Interrupted: the first error, which ends the others.
    """
    if path is not None:
        _check_given(path, sources)
        return path
    architecture = _architecture()
    make_private_folder(cache)
    absent = [each for each in sources if not _is_there(_place(cache, each, architecture), each)]
    if absent:
        _Fetch(cache, architecture, outside, tell).all(absent)
    try:
        return _linked(cache, sources, architecture)
    except OSError as error:
        raise unwritable(cache, error) from error


class _Fetch:
    """Some programs that are fetched side by side; the first error ends them all."""

    def __init__(self, cache: Path, architecture: str, outside: Outside, tell: Callable[[str], None]) -> None:
        from tallship.adapters.downloads import Downloads
        from tallship.adapters.https import Https
        from tallship.adapters.registry import Registry

        self._cache, self._architecture, self._outside = cache, architecture, outside
        self._errors: list[Exception] = []
        self._told = _Told(tell)
        https = Https(outside.clock, self._is_stopped, outside.ca_file)
        self._registry = Registry(https, outside.mirrors)
        self._downloads = Downloads(https, outside.mirrors)

    def all(self, programs: Sequence[LocalFile]) -> None:
        """Fetch them. Raises the first error that is more than a stop."""
        waiting: queue.SimpleQueue[LocalFile] = queue.SimpleQueue()
        for each in programs:
            waiting.put(each)

        def work() -> None:
            while not self._errors:
                try:
                    self._one(waiting.get_nowait())
                except queue.Empty:
                    return
                except Exception as error:  # raised again below: a thread has nobody to raise it to
                    self._errors.append(error)

        self._outside.clock.run_threads([work] * min(SIDE_BY_SIDE, len(programs)))
        if self._errors:
            raise min(self._errors, key=lambda each: isinstance(each, Interrupted))

    def _one(self, program: LocalFile) -> None:
        from tallship.adapters.arrivals import sweep

        place = _place(self._cache, program, self._architecture)
        make_private_folder(place.parent)
        with self._alone(place, program.name):
            if _is_there(place, program):  # another run was faster
                return
            sweep(place)
            self._load(program, place, lambda here, whole: self._told.progress(program.name, here, whole))
        self._told.done(program.name)

    def _load(self, program: LocalFile, place: Path, tell: Progress) -> None:
        from tallship.adapters.arrivals import DOCUMENT, PROGRAM

        if isinstance(program.source, ImageFile):
            source = program.source
            self._registry.fetch(source.image, source.path, f"linux/{self._architecture}", place, tell)
        else:
            release = program.source.of(self._architecture)
            mode = PROGRAM if program.is_program else DOCUMENT
            self._downloads.fetch(release.url, release.checksums, place, tell, release.member, mode)

    @contextmanager
    def _alone(self, place: Path, name: str) -> Iterator[None]:
        """Hold the program's lock, which the end of a run sets free however it ends."""
        from filelock import FileLock, Timeout

        lock = FileLock(place.parent / "lock", timeout=LOCK_SECONDS, mode=0o600)
        try:
            try:
                lock.acquire(timeout=0)
            except Timeout:
                self._told.waiting(name)
                lock.acquire(poll_interval=LOOK_SECONDS, cancel_check=self._is_stopped)
        except Timeout as error:
            if self._is_stopped():
                raise Interrupted("stopped while programs were fetched", hint="run the same command again") from error
            hint = "end it, or wait for it"
            raise SetupError(f"another run has been fetching `{place.name}` for an hour", hint=hint) from error
        except OSError as error:
            raise unwritable(place.parent, error) from error
        try:
            yield
        finally:
            lock.release()

    def _is_stopped(self) -> bool:
        return bool(self._errors) or self._outside.stop.is_set()


class _Told:
    """What is under way, as one line, told when it changes."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._lock = threading.Lock()
        self._under_way: dict[str, str] = {}

    def progress(self, name: str, here: int, whole: int) -> None:
        """Note how many bytes of a program are here, of how many; 0: nobody knows."""
        of = f" of {whole // _MB}" if whole else ""
        with self._lock:
            said = f"{name} {here // _MB}{of} MB"
            if self._under_way.get(name) != said:
                self._under_way[name] = said
                self._tell(", ".join(self._under_way.values()))

    def waiting(self, name: str) -> None:
        """Note that another run fetches a program."""
        with self._lock:
            self._under_way[name] = f"{name}: waiting for another run that fetches it"
            self._tell(", ".join(self._under_way.values()))

    def done(self, name: str) -> None:
        """Note that a program is here."""
        with self._lock:
            self._under_way.pop(name, None)


def _architecture() -> str:
    """Return this machine's architecture. Raises SetupError where the programs do not run."""
    found = _MACHINES.get(platform.machine())
    if platform.system() != "Linux" or found is None:
        here = f"{platform.system()} on {platform.machine()}"
        hint = "`management.mode: kind` runs it in a container"
        raise SetupError(f"`management: local` needs Linux on x86_64 or aarch64; this is {here}", hint=hint)
    return found


def _check_given(path: Path, sources: Sequence[LocalFile]) -> None:
    """Raise SetupError when a folder lacks a file, naming each."""
    if not path.is_dir():
        raise SetupError(f"there is no folder `{path}`", hint="`programs.path` names the folder of the programs")
    lacking = [each.name for each in sources if not (path / each.name).is_file()]
    closed = [each.name for each in sources if each.name not in lacking and not _is_there(path / each.name, each)]
    if not (lacking or closed):
        return
    problems = [
        f"{noun}: {', '.join(names)}" for noun, names in (("missing", lacking), ("not executable", closed)) if names
    ]
    versions = ", ".join(f"{each.name} {each.version}" for each in sources if each.name in (*lacking, *closed))
    hint = f"put there, by these names and programs with mode 0755: {versions}"
    raise SetupError(f"`{path}` does not hold every file; {'; '.join(problems)}", hint=hint)


def _is_there(file: Path, wanted: LocalFile) -> bool:
    return file.is_file() and (not wanted.is_program or os.access(file, os.X_OK))


def _place(cache: Path, program: LocalFile, architecture: str) -> Path:
    return cache / f"{program.name}-{program.version}-linux-{architecture}" / program.name


def _linked(cache: Path, sources: Sequence[LocalFile], architecture: str) -> Path:
    """Return a folder with a link to each file. Raises OSError."""
    text = "\n".join(f"{each.name} {each.version}" for each in sources)
    folder = cache / f"set-{hashlib.sha256(text.encode()).hexdigest()[:12]}-linux-{architecture}"
    folder.mkdir(mode=0o700, exist_ok=True)
    for each in sources:
        link, target = folder / each.name, Path("..") / _place(cache, each, architecture).relative_to(cache)
        if not (link.is_symlink() and link.readlink() == target):
            fresh = folder / f".{each.name}-{os.getpid()}-{threading.get_ident()}"
            fresh.unlink(missing_ok=True)
            fresh.symlink_to(target)
            fresh.replace(link)
    return folder
