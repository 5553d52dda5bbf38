"""One external program: started in a private home, watched, and ended gently.

Never a shell; secrets go through stdin or files of mode 0600; of the environment a program inherits only what it
needs to reach the network and the container engine.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tallship.errors import ProgramError, SetupError

INHERITED = (
    "USER", "LANG", "LC_ALL", "TMPDIR", "XDG_RUNTIME_DIR", "GITHUB_TOKEN", "KIND_EXPERIMENTAL_PROVIDER",
    "DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY", "CONTAINER_HOST",
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR",
)  # fmt: skip
"""What a program may know of our environment. HCLOUD_TOKEN and KUBECONFIG are not in it."""

LOOKS = 10_000
"""How often a lock is tried that others share for a moment to look at it."""
STOP_SECONDS = 20.0
"""How long a program may take to end after SIGTERM before it is killed."""


def environment(path: str, home: Path) -> dict[str, str]:
    """Return the whole environment of a program with this PATH and this private home."""
    docker = os.environ.get("DOCKER_CONFIG") or str(Path.home() / ".docker")
    return {
        **{key: os.environ[key] for key in INHERITED if key in os.environ},
        "PATH": path,
        "HOME": str(home),
        "XDG_CONFIG_HOME": str(home / "config"),
        "XDG_CACHE_HOME": str(home / "cache"),
        "XDG_DATA_HOME": str(home / "data"),
        "HELM_CONFIG_HOME": str(home / "config" / "helm"),
        "HELM_CACHE_HOME": str(home / "cache" / "helm"),
        "HELM_DATA_HOME": str(home / "data" / "helm"),
        "DOCKER_CONFIG": docker,  # the person's own: it says which engine is in use
        "CLUSTERCTL_DISABLE_VERSIONCHECK": "true",  # without it every clusterctl command calls out afterwards
    }


@dataclass(frozen=True)
class Mark:
    """Tells later runs about a program that changes something: is it still at it, or was it killed?

    The file is locked through a descriptor that the program inherits, so the lock outlives a killed tallship for just
    as long as the program does. The file is removed when the program ended by itself.
    """

    file: Path

    @property
    def is_running(self) -> bool:
        """True while the program runs, whoever started it."""
        try:
            with self.file.open() as mark:
                fcntl.flock(mark, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except FileNotFoundError:
            pass
        return False

    @property
    def was_killed(self) -> bool:
        """True when a signal ended the program, or nobody saw its end: it may have left things half done."""
        return self.file.exists() and not self.is_running

    @contextmanager
    def held(self) -> Iterator[int]:
        """Give the descriptor that the program must inherit. Raises ProgramError when an earlier one is still at it."""
        self.file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self.file.open("w") as mark:
            if not _lock(mark):
                hint = "wait until it has ended, and run the same command again"
                raise ProgramError(f"an earlier `{self.file.stem}` is still running", hint=hint)
            yield mark.fileno()

    def clear(self) -> None:
        """Forget the program: it ended by itself."""
        self.file.unlink(missing_ok=True)


def _lock(mark: IO[str]) -> bool:
    """Lock the file; False when a program has it. Who looks whether one has it shares it for a moment: try again."""
    for _ in range(LOOKS):
        try:
            fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            pass
        try:
            fcntl.flock(mark, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        fcntl.flock(mark, fcntl.LOCK_UN)
    return False


def run(argv: Sequence[str], env: Mapping[str, str], stdin: str, timeout: float, mark: Mark | None = None) -> str:
    """Run a program to its end and return its stdout; with a mark, later runs can tell what became of it.

    Raises ProgramError with the end of its stderr when it fails or does not end within `timeout` seconds, and
    SetupError when it cannot be started.
    """
    if mark is None:
        return _run(argv, env, stdin, timeout)
    with mark.held() as descriptor:
        process = None
        try:
            process = _start(argv, env, (descriptor,))
            return _finish(process, argv, stdin, timeout)
        finally:
            if process is None or process.returncode >= 0:  # below 0 a signal ended it
                mark.clear()


def _run(argv: Sequence[str], env: Mapping[str, str], stdin: str, timeout: float) -> str:
    return _finish(_start(argv, env, ()), argv, stdin, timeout)


def _start(argv: Sequence[str], env: Mapping[str, str], kept: tuple[int, ...]) -> subprocess.Popen[str]:
    try:
        return subprocess.Popen(
            list(argv),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(env),
            pass_fds=kept,
            text=True,
            errors="replace",
            start_new_session=True,  # Ctrl-C is ours to handle: helm and kind must not be torn out of their work
        )
    except OSError as error:
        hint = "is it a program for this machine?"
        raise SetupError(f"`{argv[0]}` cannot be run: {error.strerror}", hint=hint) from error


def _finish(process: subprocess.Popen[str], argv: Sequence[str], stdin: str, timeout: float) -> str:
    what = f"{Path(argv[0]).name} {argv[1]}"
    try:
        out, err = process.communicate(stdin, timeout)
    except subprocess.TimeoutExpired as error:
        heard = _stop(process)
        hint = "is the network slow? run the same command again"
        raise ProgramError(f"`{what}` did not end within {timeout:.0f} s", detail=_tail(heard), hint=hint) from error
    except BaseException:
        _stop(process)
        raise
    if process.returncode != 0:
        hint = "when its own words name no cause to mend, run the same command again: it goes on from here"
        raise ProgramError(f"`{what}` {_end(process.returncode)}", detail=_tail(err or out), hint=hint)
    return out


def _stop(process: subprocess.Popen[str]) -> str:
    """End a program gently and return its stderr.

    Helm marks its release failed on SIGTERM, and leaves it pending when it is killed.
    """
    process.terminate()
    try:
        _, err = process.communicate(timeout=STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # with its children, which hold the pipes open
        try:
            _, err = process.communicate(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:  # a child that has left the group holds them still
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()
            process.wait()
            return ""
    return err


def _end(status: int) -> str:
    return f"failed ({status})" if status >= 0 else f"was killed ({signal.Signals(-status).name})"


def _tail(text: str, lines: int = 8) -> str:
    return "\n".join(text.strip().splitlines()[-lines:])
