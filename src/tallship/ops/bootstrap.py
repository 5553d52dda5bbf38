"""The bootstrap cluster that tallship makes itself: in Docker with kind, or as plain processes of this machine."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tallship import versions
from tallship.engine import Seen, State
from tallship.env import Env
from tallship.errors import SetupError, Unreachable
from tallship.localplane import plane
from tallship.localplane.child import State as Running
from tallship.localplane.plane import LocalPlane, Settings
from tallship.ops import local_programs
from tallship.ops.local_programs import Outside

LOCAL = "local"
LOCAL_FILES = (*versions.LOCAL_PROGRAMS, *versions.LOCAL_COMPONENTS)
PLANE = "plane"
"""The folder of the local plane, in the cluster's own."""


class Bootstrap(Protocol):
    """A bootstrap cluster of ours."""

    @property
    def title(self) -> str:
        """What it is called, with its name."""

    def exists(self) -> bool:
        """True when it is there, running or stopped."""

    def probe(self) -> Seen:
        """Return what is to do until its API answers, when it does not."""

    def act(self, seen: Seen, tell: Callable[[str], None]) -> None:
        """Create it, start it, or write its kubeconfig; `tell` hears how far that is."""

    def delete(self) -> None:
        """Delete it with everything in it; its kubeconfig goes too."""


def of(env: Env) -> Bootstrap | None:
    """Return the bootstrap cluster that the file asks for; None when it names a Kubernetes of the user's own."""
    kinds: dict[str, Callable[[Env], Bootstrap]] = {"kind": KindCluster, LOCAL: LocalCluster}
    kind = kinds.get(env.spec.management.mode)
    return None if kind is None else kind(env)


def home_answers(env: Env) -> bool:
    """True when the API that holds the Cluster API objects answers, False where there is none yet or any more.

    Raises Unreachable when it is there and silent: that may pass, and says nothing of what it holds.
    """
    if env.manages_itself:
        return True
    if not env.management_kubeconfig.exists():
        return False
    try:
        env.management.find("v1", "Namespace", "default")
    except Unreachable:
        if is_gone(env):
            return False
        raise
    return True


def is_gone(env: Env) -> bool:
    """True when the file asks for a bootstrap cluster of ours, and there is none."""
    cluster = of(env)
    return cluster is not None and not cluster.exists()


@dataclass(frozen=True)
class KindCluster:
    """A cluster of one node in a container."""

    env: Env

    @property
    def title(self) -> str:
        """What it is called, with its name."""
        return f"kind cluster {self._name}"

    def exists(self) -> bool:
        """True when it is there, running or stopped."""
        return self._name in self.env.programs.kind_clusters()

    def probe(self) -> Seen:
        """Return what is to do until its API answers, when it does not."""
        env = self.env
        if env.programs.kind_is_running(self._name):
            return Seen(State.WORKING, "kind is at it")
        if not self.exists():
            return Seen(State.MISSING, change=f"create {self.title}")
        if env.programs.kind_was_killed(self._name):
            return Seen(State.MISSING, "a kind that was killed left it half made", f"make {self.title} anew")
        if not env.management_kubeconfig.exists():
            return Seen(State.MISSING, change=f"write the kubeconfig of {self.title}")
        return Seen(State.MISSING, "its API does not answer", change=f"start {self.title}")

    def act(self, seen: Seen, tell: Callable[[str], None]) -> None:
        """Create it, start it, or write its kubeconfig."""
        env = self.env
        if seen.change.startswith("make"):
            env.programs.kind_delete(self._name, env.management_kubeconfig)
        if seen.change.startswith(("create", "make")):
            env.programs.kind_create(self._name, _node_image(env), env.management_kubeconfig)
        elif seen.change.startswith("write"):
            env.programs.kind_kubeconfig(self._name, env.management_kubeconfig)
        else:
            env.programs.kind_start(self._name)

    def delete(self) -> None:
        """Delete it with everything in it; its kubeconfig goes too."""
        self.env.programs.kind_delete(self._name, self.env.management_kubeconfig)
        self.env.management_kubeconfig.unlink(missing_ok=True)

    @property
    def _name(self) -> str:
        return self.env.spec.names.kind_cluster


@dataclass(frozen=True)
class LocalCluster:
    """An API server, etcd and the providers' managers as plain processes, which outlive the command."""

    env: Env

    @property
    def title(self) -> str:
        """What it is called, with its name."""
        return "the local plane"

    @property
    def folder(self) -> Path:
        """Where its data, keys and logs are."""
        return self.env.folder / PLANE

    def find(self) -> LocalPlane | None:
        """Return the plane when it runs."""
        return plane.find(self.folder)

    def exists(self) -> bool:
        """True when it is there, running or stopped."""
        return self.folder.exists()

    def probe(self) -> Seen:
        """Return what is to do until its API answers, when it does not."""
        found = self.find()
        if found is None:
            change = f"{'start' if self.exists() else 'create'} {self.title}"
            absent = missing_programs(self.env)
            return Seen(State.MISSING, change=f"{change}, with {', '.join(absent)} fetched" if absent else change)
        down = [name for name, each in found.programs().items() if each.state is not Running.READY]
        return Seen(State.MISSING, f"{', '.join(down) or 'its API'} does not answer", f"start {self.title}")

    def act(self, seen: Seen, tell: Callable[[str], None]) -> None:
        """Fetch what is missing, and start it, or wait until its programs run again; its data stay."""
        found = plane.start(self.folder, Settings(ensure_programs(self.env, tell)))
        self.env.management_kubeconfig.unlink(missing_ok=True)
        self.env.management_kubeconfig.symlink_to(found.kubeconfig)

    def delete(self) -> None:
        """Delete it with everything in it; its kubeconfig goes too."""
        plane.stop(self.folder)
        shutil.rmtree(self.folder)
        self.env.management_kubeconfig.unlink(missing_ok=True)


def given_programs(env: Env) -> Path | None:
    """Return the folder of programs and components that somebody put together; None when they are fetched.

    Raises SetupError in a lab that has no real programs.
    """
    if env.site.local_programs is not None:
        return env.site.local_programs
    if env.site.is_lab:
        hint = "`tallship lab up --fresh --kubernetes real --programs DIR`, or rehearse with `management: kind`"
        raise SetupError("plain processes of this machine need a lab of real API servers", hint=hint)
    given = env.spec.programs.path
    return None if given is None else env.base / Path(given).expanduser()


def cache_folder() -> Path:
    """Return where fetched programs are kept, for every cluster of this user."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tallship" / "programs"


def missing_programs(env: Env) -> list[str]:
    """Return what has to be fetched. Raises SetupError when this machine, or a given folder, cannot serve."""
    return local_programs.missing(cache_folder(), LOCAL_FILES, given_programs(env))


def ensure_programs(env: Env, tell: Callable[[str], None]) -> Path:
    """Return the folder that holds every file, fetching what is not there; `tell` hears how far that is."""
    outside = Outside(env.clock, env.stop, env.spec.programs.mirrors)
    return local_programs.ensure(cache_folder(), LOCAL_FILES, given_programs(env), tell, outside)


def _node_image(env: Env) -> str:
    """Return the node image that belongs to the kind release found."""
    kind = env.programs.find("kind")
    image = versions.node_image(kind.version)
    if image is None:
        raise SetupError(
            f"kind {kind.version} has no node image that Cluster API {versions.COMPONENTS['cluster-api'].version} fits",
            hint="`tallship tools` shows which releases of kind do",
        )
    return image
