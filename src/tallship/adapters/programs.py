"""The external programs, spoken to through thin verbs: kind, clusterctl and helm."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tallship import atomic
from tallship.adapters.calls import Calls
from tallship.adapters.programs_process import Mark, environment, run
from tallship.adapters.shapes import MISREAD, fitted
from tallship.errors import ProgramError, SetupError
from tallship.versions import Chart

VERSION_ARGUMENTS = {
    "kind": ("version", "-q"),
    "clusterctl": ("version", "-o", "json"),
    "helm": ("version", "--template", "{{.Version}}"),
}
ENGINES = ("docker", "nerdctl", "podman")
"""What kind may run its node in, in the order in which kind looks for them."""
MOVE_TIMEOUT = 600.0
"""Seconds for `clusterctl move`; some 25 objects take it 3."""
HELM_TIMEOUT = 330.0
"""Seconds: helm's own time limit of five minutes, and a little for it to say so."""
LAST_GOOD = ("deployed", "superseded")
"""Helm's words for a revision that was whole once."""


@dataclass(frozen=True)
class Program:
    """A program on this machine."""

    name: str
    path: Path
    version: str
    """Three numbers, or empty when it did not tell."""


class Programs:
    """The programs of one PATH, with a private home: `home` holds their caches, their files, and our marks."""

    def __init__(self, path: str, home: Path) -> None:
        self.calls = Calls("program")
        self._path = path
        self._home = home
        self._found: dict[str, Program | None] = {}

    def search(self, name: str) -> Program | None:
        """Return the program and its version, or None when it is not on PATH."""
        if name not in self._found:
            place = shutil.which(name, path=self._path)
            self._found[name] = None if place is None else Program(name, Path(place), self._version(name))
        return self._found[name]

    def find(self, name: str) -> Program:
        """Return the program. Raises SetupError when it is not on PATH."""
        found = self.search(name)
        if found is None:
            raise _missing(name)
        return found

    def kind_clusters(self) -> list[str]:
        """Return the names of the kind clusters on this machine, running or stopped."""
        return self._run("kind", "get", "clusters", timeout=60).split()

    def kind_create(self, name: str, image: str, kubeconfig: Path) -> None:
        """Create a kind cluster of one node and write its kubeconfig; does not wait until the node is ready."""
        options = ("--name", name, "--image", image, "--kubeconfig", str(kubeconfig))
        self._run("kind", "create", "cluster", *options, timeout=600, mark=self._mark("kind", name))
        kubeconfig.chmod(0o600)

    def kind_kubeconfig(self, name: str, kubeconfig: Path) -> None:
        """Write the kubeconfig of a kind cluster."""
        self._run("kind", "export", "kubeconfig", "--name", name, "--kubeconfig", str(kubeconfig), timeout=60)
        kubeconfig.chmod(0o600)

    def kind_start(self, name: str) -> None:
        """Start the stopped node of a kind cluster; nothing happens to one that runs."""
        self._run(self._engine(), "start", f"{name}-control-plane", timeout=60)

    def kind_delete(self, name: str, kubeconfig: Path) -> None:
        """Delete a kind cluster and its entries in the kubeconfig; one that is gone already is fine."""
        options = ("--name", name, "--kubeconfig", str(kubeconfig))
        self._run("kind", "delete", "cluster", *options, timeout=120, mark=self._mark("kind", name))

    def kind_is_running(self, name: str) -> bool:
        """True while a kind that we started, perhaps in an earlier run, still works on this cluster."""
        return self._mark("kind", name).is_running

    def kind_was_killed(self, name: str) -> bool:
        """True when the kind that made this cluster was killed: its nodes are half made, and must be deleted."""
        return self._mark("kind", name).was_killed

    def clusterctl_init(
        self,
        kubeconfig: Path,
        context: str | None,
        config: Mapping[str, Any],
        arguments: Sequence[str],
        timeout: float,
    ) -> None:
        """Install Cluster API and its providers; what is there at the same version is left alone.

        `config` is clusterctl's configuration, `arguments` name each provider and its version.
        """
        file = self._private_file("clusterctl.yaml", json.dumps(config))
        where = (*_cluster(kubeconfig, context), "--config", str(file))
        self._run("clusterctl", "init", *where, *arguments, timeout=timeout)

    def clusterctl_move(self, source: Path, target: Path, context: str | None = None) -> None:
        """Move every Cluster API object of the default namespace to another cluster.

        Begun again after a kill it goes on: what is there already is written again, what is gone already is left.
        """
        self._move(*_cluster(source, context), "--to-kubeconfig", str(target))

    def clusterctl_export(self, source: Path, folder: Path, context: str | None = None) -> None:
        """Write every Cluster API object into an empty folder, secrets in clear; the controllers pause meanwhile."""
        self._move(*_cluster(source, context), "--to-directory", str(folder))

    def clusterctl_is_running(self) -> bool:
        """True while a `clusterctl move` that we started, perhaps in an earlier run, is still at it."""
        return self._mark("clusterctl", "move").is_running

    def clusterctl_was_killed(self) -> bool:
        """True when the last `clusterctl move` did not end by itself: it may have left the Cluster paused."""
        return self._mark("clusterctl", "move").was_killed

    def _move(self, *arguments: str) -> None:
        mark = self._mark("clusterctl", "move")
        self._run("clusterctl", "move", *arguments, "--namespace", "default", timeout=MOVE_TIMEOUT, mark=mark)

    def helm_upgrade(
        self, chart: Chart, version: str, values: Mapping[str, Any], kubeconfig: Path, folder: Path | None = None
    ) -> None:
        """Install or upgrade a chart's release with exactly these values, without waiting until its pods run.

        With a folder the chart is not fetched: `helm pull` has put its package there. Helm refuses while the release
        is pending: see `helm_recover`.
        """
        reference, source = chart.reference, ("--repo", chart.repository) if chart.repository else ()
        if folder is not None:
            reference, source = str(folder / f"{chart.name}-{version}.tgz"), ()
        place = ("--version", version, "--namespace", chart.namespace, "--kubeconfig", str(kubeconfig))
        fixed = ("--values", "-", "--reset-values", "--history-max", "10", "--timeout", "5m", "--output", "json")
        arguments = ("--install", reference, *source, *place, *fixed)
        self._helm("upgrade", chart.release, arguments, json.dumps(values))

    def helm_recover(self, release: str, namespace: str, kubeconfig: Path) -> None:
        """Free a release that a killed helm left pending, so that it can be upgraded again.

        A first install is removed; else the release goes back to its newest revision that was whole.
        """
        place = ("--namespace", namespace, "--kubeconfig", str(kubeconfig))
        history = _revisions(self._helm("history", release, (*place, "--max", "256", "--output", "json")))
        if not history or not history[-1][1].startswith("pending-"):
            return
        whole = [number for number, status in history if status in LAST_GOOD]
        if whole:
            self._helm("rollback", release, (str(whole[-1]), *place))
        else:
            self._helm("uninstall", release, place)

    def helm_is_running(self, release: str) -> bool:
        """True while a helm that we started, perhaps in an earlier run, still works on this release."""
        return self._mark("helm", release).is_running

    def helm_was_killed(self, release: str) -> bool:
        """True when a helm that we started for this release was killed: nobody else works on it."""
        return self._mark("helm", release).was_killed

    def _helm(self, verb: str, release: str, arguments: Sequence[str], stdin: str = "") -> str:
        mark = None if verb == "history" else self._mark("helm", release)
        return self._run("helm", verb, release, *arguments, stdin=stdin, timeout=HELM_TIMEOUT, mark=mark)

    def _run(self, name: str, *arguments: str, timeout: float, stdin: str = "", mark: Mark | None = None) -> str:
        self.calls.note(f"{name} {arguments[0]}")
        place = shutil.which(name, path=self._path)
        if place is None:
            raise _missing(name)
        self._home.mkdir(parents=True, exist_ok=True, mode=0o700)
        return run([place, *arguments], environment(self._path, self._home), stdin, timeout, mark)

    def _version(self, name: str) -> str:
        try:
            out = self._run(name, *VERSION_ARGUMENTS[name], timeout=30)
        except (ProgramError, SetupError):
            return ""
        found = re.search(r"\d+\.\d+\.\d+", out)
        return found[0] if found else ""

    def _engine(self) -> str:
        """Return the container engine that kind uses here."""
        wanted = os.environ.get("KIND_EXPERIMENTAL_PROVIDER", "")
        there = [each for each in ENGINES if shutil.which(each, path=self._path)]
        return wanted if wanted in ENGINES else next(iter(there), ENGINES[0])

    def _mark(self, program: str, thing: str) -> Mark:
        return Mark(self._home / "running" / f"{program} {thing}.lock")

    def _private_file(self, name: str, text: str) -> Path:
        self._home.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = self._home / name
        atomic.write(file, text.encode(), 0o600)
        return file


def output_of(command: Sequence[str], timeout: float = 60) -> str:
    """Return what a person's own command prints, such as a password manager's; its stderr stays on the terminal.

    Raises SetupError when it cannot be run or fails.
    """
    hint = "run it by hand: it must print the token and nothing else"
    try:
        done = subprocess.run(list(command), stdout=subprocess.PIPE, timeout=timeout, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SetupError(f"`{command[0]}` could not be run: {error}", hint=hint) from error
    if done.returncode != 0:
        raise SetupError(f"`{command[0]}` failed ({done.returncode})", hint=hint)
    return done.stdout.decode(errors="replace")


def _revisions(text: str) -> list[tuple[int, str]]:
    """Return number and status of each revision that `helm history` tells. Raises ProgramError for anything else."""
    try:
        found = fitted(json.loads(text), [{"revision!": int, "status!": str}])
        return [(each["revision"], each["status"]) for each in found]
    except MISREAD as error:
        hint = "run the same command again; is it a helm that `tallship tools` accepts?"
        raise ProgramError("`helm history` did not answer as helm does", detail=text[-300:], hint=hint) from error


def _cluster(kubeconfig: Path, context: str | None) -> tuple[str, ...]:
    return ("--kubeconfig", str(kubeconfig), *(("--kubeconfig-context", context) if context else ()))


def _missing(name: str) -> SetupError:
    return SetupError(f"`{name}` is not installed", hint="`tallship tools` shows how to get it")
