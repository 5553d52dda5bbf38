"""What a machine's services say of themselves, and the machine as a whole."""

from __future__ import annotations

from dataclasses import dataclass

import yaml

from tallship.lab.clock import LabClock, wall
from tallship.lab.talos import durations
from tallship.lab.talos.machine import Machine
from tallship.talosproto import machine_pb2

EVERYWHERE = ("apid", "auditd", "containerd", "cri", "dashboard", "kubelet", "machined", "syslogd", "udevd")
CONTROL_PLANE = ("etcd", "trustd")
UNCHECKED = ("dashboard",)
"""Services that never have a health check."""
NO_QUORUM = "context deadline exceeded: etcdserver: no leader"
LEARNING = "etcdserver: rpc not supported for learner"
NO_CLUSTER = "Failed to run pre stage: failed to build etcd join list: no cluster to join"
REMOVED = "the member has been permanently removed from the cluster"


@dataclass(frozen=True)
class Health:
    """What the last health check of a service found; `healthy` is None before the first one."""

    healthy: bool | None
    message: str = ""


def service_list(machine: Machine, clock: LabClock, etcd: Health) -> list[machine_pb2.ServiceInfo]:
    """Return every service of a machine; `etcd` is the health of that service."""
    names = sorted(EVERYWHERE + CONTROL_PLANE if machine.is_control_plane else EVERYWHERE)
    return [_etcd(machine, clock, etcd) if name == "etcd" else _running(machine, clock, name) for name in names]


def etcd_health(machine: Machine, now: float, has_quorum: bool, is_sick: bool) -> Health:
    """Return what etcd's health check says: a read that needs a quorum."""
    state = machine.etcd_state
    if machine.refusal:
        return Health(False, machine.refusal)
    if state == "Failed":
        return Health(False, _why_failed(machine))
    if state != "Running" or machine.etcd_at is None or now < machine.etcd_at + durations.ETCD_FIRST_CHECK:
        return Health(None)
    if machine.member and machine.member.is_learner:
        return Health(False, LEARNING)
    return Health(True) if has_quorum and not is_sick else Health(False, NO_QUORUM)


def machine_status(machine: Machine, etcd: Health, node_is_ready: bool) -> str:
    """Return the spec of the resource MachineStatus as YAML. Talos v1.12: only a machine that is up has conditions."""
    unmet = []
    if machine.stage in ("booting", "running"):
        if machine.is_control_plane and etcd.healthy is not True:
            unmet.append({"name": "services", "reason": "etcd not healthy"})
        if not node_is_ready:
            unmet.append({"name": "nodeReady", "reason": f'node "{machine.hostname}" is not ready'})
    return yaml.safe_dump({"stage": machine.stage, "status": {"ready": not unmet, "unmetConditions": unmet}})


def _why_failed(machine: Machine) -> str:
    if machine.recovery_problem:
        return f"Failed to run pre stage: {machine.recovery_problem}"
    return REMOVED if machine.has_etcd_data else NO_CLUSTER


def _running(machine: Machine, clock: LabClock, name: str) -> machine_pb2.ServiceInfo:
    info = machine_pb2.ServiceInfo(id=name, state="Running")
    if name == "kubelet" and machine.refusal:
        info.health.last_message = f"node cannot register: {machine.refusal}"
        _event(info, clock, machine.api_at, "Running", f"Health check failed: {info.health.last_message}")
        return info
    info.health.unknown = name in UNCHECKED
    info.health.healthy = name not in UNCHECKED
    _event(info, clock, machine.api_at, "Running", f"Started task {name}")
    if not info.health.unknown:
        _event(info, clock, machine.api_at, "Running", "Health check successful")
    return info


def _etcd(machine: Machine, clock: LabClock, health: Health) -> machine_pb2.ServiceInfo:
    state = machine.etcd_state
    info = machine_pb2.ServiceInfo(id="etcd", state=state)
    info.health.unknown = health.healthy is None
    info.health.healthy = health.healthy is True
    info.health.last_message = health.message
    _event(info, clock, machine.api_at, "Preparing", "Running pre state")
    if state == "Preparing":
        return info
    since = machine.etcd_at if machine.etcd_at is not None else machine.api_at
    _event(info, clock, since, "Running", "Started task etcd")
    if state != "Running":
        message = "Service finished successfully" if state == "Finished" else _why_failed(machine)
        _event(info, clock, clock.now(), state, message)
    elif health.healthy is not None:
        checked = "Health check successful" if health.healthy else f"Health check failed: {health.message}"
        _event(info, clock, since + durations.ETCD_FIRST_CHECK, "Running", checked)
    return info


def _event(info: machine_pb2.ServiceInfo, clock: LabClock, at: float, state: str, message: str) -> None:
    event = info.events.events.add(msg=message, state=state)
    event.ts.FromDatetime(wall(clock, at - clock.now()))
