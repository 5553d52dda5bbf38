"""Which provider runs where: in every Kubernetes API, as long as its Deployment there is available."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Callable

from tallship.lab.clock import LabClock, timestamp
from tallship.lab.controllers import cabpt, cacppt, caph, core
from tallship.lab.controllers.caph.hcloud import Hetzner
from tallship.lab.controllers.informer import Informer, ProviderProcess
from tallship.lab.controllers.patch import copy_json
from tallship.lab.controllers.reconciler import UNREACHABLE, ProviderCrashed
from tallship.lab.kubeclient import KubeClient, KubeRefused, Object

log = logging.getLogger(__name__)

PROVIDERS = ("capi", "caph", "cabpt", "cacppt")
"""Each is the Deployment `NAME-controller-manager` in namespace `NAME-system`."""

FIRST_RESTART, LONGEST_RESTART = 10.0, 300.0
"""Seconds that kubelet waits before it starts a crashed container again: doubled each time, up to five minutes."""

LOOK = 1.0
"""Seconds between two looks for a node that a provider waits for."""

Alive = Callable[[str], bool]
"""Tells of a node's name whether something runs on it now."""

Connect = Callable[[str], KubeClient]
"""Returns a client for one Kubernetes API, with this user agent and a manager's rights."""

AGENTS = {
    "capi": core.USER_AGENT,
    "caph": caph.USER_AGENT,
    "cabpt": cabpt.USER_AGENT,
    "cacppt": cacppt.USER_AGENT,
}


def build(name: str, client: KubeClient, clock: LabClock, hetzner: Hetzner, source: str = "") -> ProviderProcess:
    """Return a provider's stand-in; `source` is the address that it calls Talos from."""
    if name == "capi":
        return core.build(client, clock)
    if name == "caph":
        return caph.build(client, clock, hetzner)
    if name == "cabpt":
        return cabpt.build(client, clock)
    return cacppt.build(client, clock, source)


class Runner:
    """The providers of all Kubernetes APIs of the lab."""

    def __init__(self, clock: LabClock, hetzner: Hetzner, without: frozenset[str] = frozenset()) -> None:
        self._clock = clock
        self._hetzner = hetzner
        self._without = without
        self._sites: dict[str, tuple[Site, asyncio.Task[None]]] = {}

    def manage(self, name: str, connect: Connect, source: str = "", alive: Alive = lambda _node: True) -> None:
        """Run providers in a Kubernetes API that is up, on nodes that are alive.

        `source` is the address that they call Talos from.
        """
        if name not in self._sites:
            site = Site(self._clock, connect, self._hetzner, source, self._without, alive)
            # A context of its own: whoever asks for this, a provider's waiting is never a client's waiting.
            self._sites[name] = (site, asyncio.create_task(site.run(), context=contextvars.Context()))

    async def unmanage(self, name: str) -> None:
        """Stop the providers of a Kubernetes API that goes down."""
        if name in self._sites:
            _, task = self._sites.pop(name)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def stop(self) -> None:
        """Stop all providers."""
        for name in list(self._sites):
            await self.unmanage(name)

    def runs(self, provider: str) -> bool:
        """True while a provider runs in some Kubernetes API of the lab."""
        return any(provider in site.running for site, _ in self._sites.values())

    def running(self, name: str) -> frozenset[str]:
        """Return the providers that run in a Kubernetes API."""
        return frozenset() if name not in self._sites else self._sites[name][0].running


class Site:
    """The providers of one Kubernetes API."""

    def __init__(
        self,
        clock: LabClock,
        connect: Connect,
        hetzner: Hetzner,
        source: str,
        without: frozenset[str],
        alive: Alive,
    ) -> None:
        self._clock = clock
        self._connect = connect
        self._hetzner = hetzner
        self._source = source
        self._alive = alive
        self._providers = [each for each in PROVIDERS if each not in without]
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._crashes: dict[str, int] = {}
        self._down: set[str] = set()
        self._changed = asyncio.Event()

    @property
    def running(self) -> frozenset[str]:
        """The providers that run now."""
        return frozenset(self._tasks)

    async def run(self) -> None:
        """Keep the providers running whose Deployments are available, until cancelled."""
        client = self._connect("tallship-lab")
        deployments, pods = (Informer(client, kind, self._clock) for kind in ("Deployment", "Pod"))
        try:
            async with asyncio.TaskGroup() as group:
                for informer in (deployments, pods):
                    informer.on_change(lambda _old, _new: self._changed.set())
                    group.create_task(informer.run())
                await pods.synced.wait()
                while True:
                    self._changed.clear()
                    if self._compare(group, client, deployments, pods):
                        await self._clock.sleep(LOOK)
                    else:
                        await self._changed.wait()
        finally:
            await client.close()

    def _compare(self, group: asyncio.TaskGroup, client: KubeClient, deployments: Informer, pods: Informer) -> bool:
        """Start and end providers; returns whether one waits for its node, of whose kubelet nobody tells."""
        waits = False
        for name in self._providers:
            deployment = deployments.items.get((f"{name}-system", f"{name}-controller-manager"))
            available = deployment is not None and _is_available(deployment)
            if not available:
                self._down.discard(name)  # kubelet has seen the crash: when it is back, it may run again
            may_start = name not in self._tasks and name not in self._down
            if available and may_start and not self._has_place(name, pods):
                waits = True
            elif available and may_start:
                self._tasks[name] = group.create_task(self._keep(name, client))
            elif not available and name in self._tasks:
                self._tasks[name].cancel()
        return waits

    def _has_place(self, name: str, pods: Informer) -> bool:
        """True unless every Pod is on a node that is gone, as in an API server whose etcd came from a snapshot."""
        own = [pod for (namespace, _), pod in pods.items.items() if namespace == f"{name}-system"]
        return not own or any(self._alive(pod["spec"].get("nodeName", "")) for pod in own)

    async def _keep(self, name: str, client: KubeClient) -> None:
        own = self._connect(AGENTS[name])
        try:
            await build(name, own, self._clock, self._hetzner, self._source).run()
        except* ProviderCrashed as crash:
            reason = _first(crash)
            log.info("%s crashed: %s", name, reason)
            await self._crash(name, client, str(reason))
        finally:
            await own.close()
            self._tasks.pop(name, None)
            self._changed.set()

    async def _crash(self, name: str, client: KubeClient, text: str) -> None:
        """Show the crash where kubelet shows it; where there is no Pod, wait as kubelet would."""
        crashes = self._crashes[name] = self._crashes.get(name, 0) + 1
        self._down.add(name)
        try:
            pods = await client.list("Pod", f"{name}-system")
            for pod in pods:
                await client.update(_crashed(pod, timestamp(self._clock), text), "status")
        except (KubeRefused, *UNREACHABLE):
            pods = []
        if not pods:
            await self._clock.sleep(min(FIRST_RESTART * 2 ** (crashes - 1), LONGEST_RESTART))
            self._down.discard(name)


def _first(error: BaseException) -> BaseException:
    """Return the first exception inside groups of groups."""
    return _first(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error


def _is_available(deployment: Object) -> bool:
    listed = deployment.get("status", {}).get("conditions", [])
    return any(each["type"] == "Available" and each["status"] == "True" for each in listed)


def _crashed(pod: Object, now: str, text: str) -> Object:
    """Return the Pod as kubelet reports it between a crash and the next start."""
    crashed: Object = copy_json(pod)
    ended = {"exitCode": 2, "reason": "Error", "message": text, "finishedAt": now}
    for status in crashed["status"].get("containerStatuses", []):
        waiting = {"reason": "CrashLoopBackOff", "message": "back-off restarting failed container"}
        count = status.get("restartCount", 0) + 1
        status |= {"ready": False, "restartCount": count, "state": {"waiting": waiting}}
        status["lastState"] = {"terminated": ended}
    for condition in crashed["status"].get("conditions", []):
        if condition["type"] in ("Ready", "ContainersReady"):
            condition |= {"status": "False", "reason": "ContainersNotReady", "lastTransitionTime": now}
    return crashed
