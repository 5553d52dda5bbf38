"""The controllers' logs, wherever the controllers run: as pods, or as processes of this machine."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tallship import versions
from tallship.adapters.kube import UNKNOWN_KIND, Kube
from tallship.engine import rest
from tallship.env import Env
from tallship.errors import ApiError, SetupError, TallshipError
from tallship.localplane.files import last_lines
from tallship.ops import bootstrap

FOLLOW_SECONDS = 2.0
"""Between two looks of somebody who follows a log; more while nothing comes."""
MOST_LINES = 2000
"""So many lines are read at one look of somebody who follows."""
NOT_THERE = ("400", UNKNOWN_KIND)
"""Kubernetes' answers for the log of a Pod that has not begun, and of one that is gone: 400 and 404."""


@dataclass(frozen=True)
class _Pods:
    """Where the pods of a controller are, and what their names begin with."""

    namespace: str
    prefix: str
    inside: bool
    """True for what always runs in the cluster itself."""


_ADDONS = {
    "cilium": _Pods("kube-system", "cilium-", True),
    "hcloud-ccm": _Pods("kube-system", "hcloud-cloud-controller-manager", True),
    "talos-ccm": _Pods("kube-system", "talos-cloud-controller-manager", True),
}
PROVIDERS = {{"cluster-api": "capi"}.get(each.component, each.component): each for each in versions.PROVIDERS}
"""Cluster API's controllers by their short names."""
NAMES = (*PROVIDERS, *_ADDONS)
"""Every controller whose log can be read."""


def tail(env: Env, name: str, lines: int) -> list[str]:
    """Return the last lines of a controller, with its pod's name before each where it has several pods.

    Raises SetupError for a name that no controller has, or when it runs nowhere; ApiError.
    """
    return _told(_read(env, name, lines))


def follow(env: Env, name: str, lines: int, tell: Callable[[str], None]) -> Iterator[list[str]]:
    """Yield the last lines, and then, until somebody wants to stop, those that have come since.

    `tell` hears, once, why none can be read for a while.
    """
    seen = _read(env, name, MOST_LINES)
    yield _told({pod: found[-lines:] for pod, found in seen.items()})
    since, silence = env.clock.now(), ""
    while env.pause(rest(FOLLOW_SECONDS, env.clock.now() - since)):
        try:
            now = _read(env, name, MOST_LINES)
        except TallshipError as error:
            if isinstance(error, ApiError) and not error.may_pass:
                raise
            if silence != error.message:  # it has begun before: its pod is being replaced, or its API is away
                silence = error.message
                tell(silence)
            continue
        fresh = _told({pod: new_lines(seen.get(pod, []), found) for pod, found in now.items()}, len(now) > 1)
        seen, silence, since = now, "", env.clock.now() if fresh else since
        yield fresh


def new_lines(before: list[str], now: list[str]) -> list[str]:
    """Return what has come since: both are ends of the same log, read with the same limit."""
    for length in range(min(len(before), len(now)), 0, -1):
        if before[-length:] == now[:length]:
            return now[length:]
    return now


def _told(found: dict[str, list[str]], with_names: bool = False) -> list[str]:
    several = with_names or len(found) > 1
    return [clean(f"{pod}: {line}" if several else line) for pod, lines in found.items() for line in lines]


def _read(env: Env, name: str, lines: int) -> dict[str, list[str]]:
    """Return the last lines of each pod, or of the process."""
    if name not in NAMES:
        raise SetupError(f"there is no controller `{name}`", hint=f"there are: {', '.join(NAMES)}")
    if name in PROVIDERS and env.spec.management.mode == bootstrap.LOCAL and not env.manages_itself:
        return {name: _of_process(env, name, lines)}
    where = _ADDONS.get(name) or _Pods(PROVIDERS[name].namespace, PROVIDERS[name].deployment, False)
    kube = env.workload if where.inside else env.home
    pods = _pods(kube, where)
    if not pods:
        raise SetupError(f"`{name}` runs nowhere", hint="`tallship status` shows what is installed")
    found = {pod: log for pod in pods if (log := _of_pod(kube, where.namespace, pod, lines)) is not None}
    if not found:
        raise SetupError(f"no pod of `{name}` has begun", hint="`tallship diagnose` says what they wait for")
    return found


def _of_pod(kube: Kube, namespace: str, pod: str, lines: int) -> list[str] | None:
    """Return the last lines of a pod; None for one that has not begun, or has just gone."""
    try:
        return kube.log(namespace, pod, lines=lines)
    except ApiError as error:
        if error.code not in NOT_THERE:
            raise
        return None


def clean(line: str) -> str:
    """Return a line without anything that a terminal would obey."""
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", "", line)


def _pods(kube: Kube, where: _Pods) -> list[str]:
    names = [str(each["metadata"]["name"]) for each in kube.list("v1", "Pod", where.namespace)]
    return sorted(each for each in names if each.startswith(where.prefix))


def _of_process(env: Env, name: str, lines: int) -> list[str]:
    plane = bootstrap.LocalCluster(env).find()
    if plane is None:
        raise SetupError("the local plane does not run", hint="`tallship up --only kind-create` starts it")
    return last_lines(plane.log(PROVIDERS[name].component), lines).splitlines()
