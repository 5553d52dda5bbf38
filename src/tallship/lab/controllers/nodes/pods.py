"""Pods: scheduled, mounted, pulled, started, ready, or crashed, by the clock.

Where a Pod is in its life is told by its own status, so that a lab that was killed goes on where it was.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from tallship.lab.clock import timestamp
from tallship.lab.controllers.nodes import durations, scheduling
from tallship.lab.controllers.nodes.mirror import (
    Mirror,
    condition,
    record_event,
    seconds_left,
    with_condition,
)
from tallship.lab.controllers.patch import copy_json
from tallship.lab.kubeclient import Object
from tallship.lab.pulls import pull_seconds

WriteLog = Callable[[str, str, str], None]
"""Sets what `kubectl logs` shows: namespace, Pod, text. Kubelets keep logs, no API object does."""


class Program(Protocol):
    """A program that stands in for what a container runs."""

    async def problem(self, pod: Object) -> str:
        """Return why the program cannot start in this Pod, as its last log line; empty when it can."""


class Pods:
    """The scheduler, and what every kubelet of a cluster does with Pods."""

    def __init__(
        self,
        mirror: Mirror,
        programs: dict[str, Program],
        alive: Callable[[str], bool],
        network_ready: Callable[[str], bool],
        write_log: WriteLog,
    ) -> None:
        self._mirror = mirror
        self._client = mirror.client
        self._clock = mirror.clock
        self._programs = programs
        self._alive = alive
        self._network_ready = network_ready
        self._write_log = write_log

    async def run(self) -> None:
        """Keep at it until cancelled."""
        await self._mirror.keep(self._look)

    async def _look(self) -> float | None:
        dues = []
        for pod in self._mirror.list("Pod"):
            if pod["metadata"].get("deletionTimestamp"):
                await self._end(pod)
            elif not pod["spec"].get("nodeName"):
                await self._schedule(pod)
            elif self._alive(pod["spec"]["nodeName"]) and not scheduling.is_ready(pod):
                dues.append(await self._advance({"status": {}, **copy_json(pod)}))
        return min((due for due in dues if due is not None), default=None)

    async def _end(self, pod: Object) -> None:
        """Let a Pod go that somebody has given time to end: its containers take none."""
        if self._alive(pod["spec"].get("nodeName", "")) and not pod["metadata"].get("finalizers"):
            await self._client.delete("Pod", pod["metadata"]["name"], pod["metadata"]["namespace"])
            self._mirror.drop(pod)

    async def _schedule(self, pod: Object) -> None:
        nodes = self._mirror.list("Node")
        load: dict[str, int] = {}
        for each in self._mirror.list("Pod"):
            name = each["spec"].get("nodeName", "")
            load[name] = load.get(name, 0) + 1
        node, message = scheduling.choose(pod["spec"], nodes, load)
        if node:
            await self._client.bind(pod, node)
            return
        pod = copy_json(pod)
        if condition(pod, "PodScheduled").get("message") != message:
            self._set(pod, "PodScheduled", "False", "Unschedulable", message)
            await self._write(pod, "Pending")

    async def _advance(self, pod: Object) -> float | None:
        """Take a Pod one step further; returns after how many seconds the next step may be due."""
        if not pod["status"].get("startTime"):
            return await self._accept(pod)
        state = _state(pod)
        if "running" in state:
            return await self._become_ready(pod, state["running"]["startedAt"])
        reason = state.get("waiting", {}).get("reason")
        if reason == "CrashLoopBackOff":
            return await self._start_again(pod)
        if condition(pod, "PodReadyToStartContainers").get("status") != "True":
            return await self._make_sandbox(pod)
        return await self._pull_and_start(pod)

    async def _accept(self, pod: Object) -> float:
        self._set(pod, "PodScheduled", "True")
        self._set(pod, "Ready", "False", "ContainersNotReady")
        pod["status"]["startTime"] = timestamp(self._clock)
        pod["status"]["containerStatuses"] = [
            {
                "name": container["name"],
                "image": container.get("image", ""),
                "ready": False,
                "restartCount": 0,
                "state": {"waiting": {"reason": "ContainerCreating"}},
            }
            for container in pod["spec"]["containers"]
        ]
        await self._write(pod, "Pending")
        return durations.SANDBOX

    async def _make_sandbox(self, pod: Object) -> float | None:
        left = seconds_left(self._clock, pod["status"]["startTime"], durations.SANDBOX)
        if left > 0:
            return left
        missing = scheduling.missing_volume(pod["spec"], self._names("Secret", pod), self._names("ConfigMap", pod))
        if missing:
            await self._warn(pod, "FailedMount", missing)
            return None
        if not pod["spec"].get("hostNetwork") and not self._network_ready(pod["spec"]["nodeName"]):
            await self._warn(pod, "NetworkNotReady", "network is not ready: cni plugin not initialized")
            return None
        self._set(pod, "PodReadyToStartContainers", "True")
        await self._write(pod, "Pending")
        return 0

    async def _pull_and_start(self, pod: Object) -> float | None:
        since = condition(pod, "PodReadyToStartContainers")["lastTransitionTime"]
        unknown = self._images_to_pull(pod)
        left = seconds_left(self._clock, since, sum(pull_seconds(image) for image in unknown))
        if left > 0:
            return left
        if unknown:
            await self._remember_images(pod, unknown)
        missing = scheduling.missing_value(pod["spec"], pod["metadata"]["namespace"], self._values(pod))
        if missing:
            if _state(pod).get("waiting", {}).get("message") != missing:
                _set_state(pod, {"waiting": {"reason": "CreateContainerConfigError", "message": missing}})
                await self._write(pod, "Pending")
            return None
        return await self._start(pod)

    async def _start(self, pod: Object) -> float | None:
        problem = await self._problem(pod)
        if problem:
            return await self._crash(pod, problem)
        _set_state(pod, {"running": {"startedAt": timestamp(self._clock)}})
        await self._write(pod, "Running")
        return 0

    async def _crash(self, pod: Object, problem: str) -> float:
        now = timestamp(self._clock)
        ended = {"exitCode": 1, "reason": "Error", "message": problem, "startedAt": now, "finishedAt": now}
        crashes = pod["status"]["containerStatuses"][0]["restartCount"] + 1
        wait = durations.back_off_seconds(crashes)
        name = f"{pod['metadata']['name']}_{pod['metadata']['namespace']}"
        message = f"back-off {wait:.0f}s restarting failed container={pod['spec']['containers'][0]['name']} pod={name}"
        _set_state(pod, {"waiting": {"reason": "CrashLoopBackOff", "message": message}})
        for status in pod["status"]["containerStatuses"]:
            status |= {"lastState": {"terminated": ended}, "restartCount": crashes}
        self._set(pod, "Ready", "False", "ContainersNotReady")
        await self._write(pod, "Running")
        self._write_log(pod["metadata"]["namespace"], pod["metadata"]["name"], f"{problem}\n")
        await record_event(self._client, self._clock, pod, "kubelet", "BackOff", problem)
        return wait

    async def _start_again(self, pod: Object) -> float | None:
        status = pod["status"]["containerStatuses"][0]
        ended = status["lastState"]["terminated"]["finishedAt"]
        left = seconds_left(self._clock, ended, durations.back_off_seconds(status["restartCount"]))
        return left if left > 0 else await self._start(pod)

    async def _become_ready(self, pod: Object, started: str) -> float | None:
        slowest = max(durations.start_seconds(each["name"]) for each in pod["spec"]["containers"])
        left = seconds_left(self._clock, started, slowest)
        if left > 0:
            return left
        for status in pod["status"]["containerStatuses"]:
            status["ready"] = True
        self._set(pod, "ContainersReady", "True")
        self._set(pod, "Ready", "True")
        await self._write(pod, "Running")
        return None

    async def _problem(self, pod: Object) -> str:
        for container in pod["spec"]["containers"]:
            program = self._programs.get(container["name"])
            if program is not None and (problem := await program.problem(pod)):
                return problem
        return ""

    async def restart_on(self, node: str) -> None:
        """Begin the Pods of a node anew, as after a boot: images stay, containers and their network do not."""
        for pod in self._mirror.list("Pod"):
            if pod["spec"].get("nodeName") != node or not pod.get("status", {}).get("startTime"):
                continue
            pod = copy_json(pod)
            self._set(pod, "PodReadyToStartContainers", "False")
            self._set(pod, "Ready", "False", "ContainersNotReady")
            pod["status"]["startTime"] = timestamp(self._clock)
            for status in pod["status"]["containerStatuses"]:
                status |= {"ready": False, "restartCount": status["restartCount"] + 1}
            _set_state(pod, {"waiting": {"reason": "ContainerCreating"}})
            await self._write(pod, "Running")

    def _images_to_pull(self, pod: Object) -> list[str]:
        node = self._mirror.get("Node", pod["spec"]["nodeName"]) or {}
        known = {name for image in node.get("status", {}).get("images", []) for name in image["names"]}
        return [image for image in _images(pod) if image not in known]

    async def _remember_images(self, pod: Object, images: list[str]) -> None:
        node = copy_json(self._mirror.get("Node", pod["spec"]["nodeName"]) or {})
        if node:
            old = node["status"].get("images", [])
            node["status"]["images"] = [*old, *({"names": [image], "sizeBytes": 0} for image in images)]
            self._mirror.put(await self._client.update(node, "status"))

    def _names(self, kind: str, pod: Object) -> set[str]:
        return {each["metadata"]["name"] for each in self._mirror.list(kind, pod["metadata"]["namespace"])}

    def _values(self, pod: Object) -> dict[tuple[str, str], Object]:
        return {
            (kind, each["metadata"]["name"]): each.get("data") or {}
            for kind in ("Secret", "ConfigMap")
            for each in self._mirror.list(kind, pod["metadata"]["namespace"])
        }

    async def _warn(self, pod: Object, reason: str, message: str) -> None:
        await record_event(self._client, self._clock, pod, "kubelet", reason, message)

    def _set(self, pod: Object, kind: str, status: str, reason: str = "", message: str = "") -> None:
        conditions = pod.setdefault("status", {}).get("conditions", [])
        pod["status"]["conditions"] = with_condition(self._clock, conditions, kind, status, reason, message)

    async def _write(self, pod: Object, phase: str) -> None:
        pod["status"]["phase"] = phase
        self._mirror.put(await self._client.update(pod, "status"))


def environment(pod: Object, container: str, values: Callable[[str, str, str], str | None]) -> dict[str, str]:
    """Return a container's environment; `values(kind, name, key)` looks into Secrets and ConfigMaps."""
    found = next(each for each in pod["spec"]["containers"] if each["name"] == container)
    return {
        variable["name"]: text for variable in found.get("env", []) if (text := _value(variable, values)) is not None
    }


def _value(variable: Object, values: Callable[[str, str, str], str | None]) -> str | None:
    if "value" in variable:
        return str(variable["value"])
    for field, kind in (("secretKeyRef", "Secret"), ("configMapKeyRef", "ConfigMap")):
        reference = variable.get("valueFrom", {}).get(field)
        if reference:
            return values(kind, reference["name"], reference["key"])
    return None


def _images(pod: Object) -> list[str]:
    return list(dict.fromkeys(container.get("image", "") for container in pod["spec"]["containers"]))


def _state(pod: Object) -> Object:
    statuses = pod["status"].get("containerStatuses") or [{}]
    state: Object = statuses[0].get("state", {})
    return state


def _set_state(pod: Object, state: Object) -> None:
    for status in pod["status"]["containerStatuses"]:
        status["state"] = state
